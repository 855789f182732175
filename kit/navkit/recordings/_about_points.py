"""Named points, plain numbers in text, transforms and registration parameters."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from navkit.files import FileError, read_points, read_transform
from navkit.recordings import _health as health
from navkit.recordings._about import Description, Findings, described

Array = NDArray[np.float64]
MOST_TEXT = 20_000_000
PATIENCE_S = 60
ELASTIX = re.compile(r'^\(Transform\s+"(\w+)"\)', re.MULTILINE)


def named_points(path: Path) -> Description:
    """Slicer's markups, FCSV, and MNI tags."""
    points = read_points(path)
    named = sum(bool(label) for label in points.labels)
    found = Findings(
        (("points", f"{len(points.points_r)}, {named} with a name"),),
        {"points": float(len(points.points_r)), "named": float(named)},
        tuple(f"{note}." for note in points.notes),
    )
    kind = {".tag": "MNI tag points", ".fcsv": "Slicer points (FCSV)"}.get(
        path.suffix.lower(), "Slicer points (markups)"
    )
    return described(path, kind, found + _extent(points.points_r))


def _extent(points: Array) -> Findings:
    """Where points lie, and whether a registration can rest on them."""
    extent = np.ptp(points, axis=0)
    facts = (("extent", " x ".join(f"{e:.4g}" for e in extent) + " mm"),)
    numbers = {f"extent_{a}_mm": float(e) for a, e in zip("xyz", extent, strict=True)}
    warnings = []
    if len(np.unique(points, axis=0)) < len(points):
        warnings.append(
            "two points have the same coordinates: a registration counts that place double. Was one stored "
            "twice?"
        )
    if 0 < extent.max() < 1 and len(points) > 3:
        warnings.append(
            f"the points lie within {extent.max():.2g} mm: are they in metres? Multiply by 1000 if so."
        )
    if 3 <= len(points) <= 30 and extent.max() > 0:
        spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
        if spread[1] < 0.02 * spread[0]:
            warnings.append(
                "the points lie on one line: a registration cannot find the turn about it. Add a point "
                "beside it."
            )
    return Findings(facts, numbers, tuple(warnings))


def table(text: str) -> Array | None:
    """Rows of as many numbers each, (n, m), or None."""
    rows = [line.replace(",", " ").split() for line in text.splitlines() if line.strip()]
    if not rows or len({len(row) for row in rows}) != 1:
        return None
    try:
        return np.array(rows, dtype=float)
    except ValueError:
        return None


def read_text(path: Path) -> str:
    if path.stat().st_size > MOST_TEXT:
        raise FileError(f"{path.name} has {path.stat().st_size} bytes of text; expected at most {MOST_TEXT}.")
    return path.read_text(encoding="latin-1")


def numbers_in_text(path: Path) -> Description:
    """A matrix, poses, points, or another table of numbers."""
    values = table(read_text(path))
    if values is None:
        raise FileError(f"{path.name}: the lines hold unequal counts of numbers. Was the file cut off?")
    if not np.isfinite(values).all():
        raise FileError(f"{path.name}: some numbers are not finite; leave them out.")
    if values.shape in ((4, 4), (3, 4)):
        m = np.eye(4)
        m[: len(values)] = values
        return described(path, "4 x 4 matrix", _matrix(m, path.name))
    if values.shape[1] == 16:
        poses = values.reshape(-1, 4, 4)
        found = Findings((("poses", str(len(poses))),), {"poses": float(len(poses))})
        return described(path, "list of poses", found + _poses(poses, path.name))
    if values.shape == (1, 3):
        length = float(np.linalg.norm(values))
        facts = (("point", " ".join(f"{v:g}" for v in values[0])), ("length", f"{length:.2f} mm"))
        return described(path, "one point", Findings(facts, {"points": 1.0, "length_mm": length}))
    if values.shape[1] == 3:
        found = Findings((("points", str(len(values))),), {"points": float(len(values))})
        return described(path, "list of points", found + _extent(values))
    n, m = values.shape
    return described(
        path,
        "table of numbers",
        Findings((("size", f"{n} rows of {m}"),), {"rows": float(n), "columns": float(m)}),
    )


def _matrix(m: Array, name: str) -> Findings:
    if not np.allclose(m[3], [0, 0, 0, 1], atol=1e-6):
        return Findings(
            warnings=(
                f"{name} does not end in the row 0 0 0 1: it is no transform, or transposed. Transpose it "
                "if the translation is in the last row.",
            )
        )
    turn = float(np.degrees(np.arccos(np.clip((np.trace(m[:3, :3]) - 1) / 2, -1, 1))))
    facts = (
        ("translation", " ".join(f"{v:.6g}" for v in m[:3, 3]) + " mm"),
        ("turn", f"{turn:.2f} deg"),
    )
    numbers = {
        "turn_deg": turn,
        "translation_mm": float(np.linalg.norm(m[:3, 3])),
        "determinant": float(np.linalg.det(m[:3, :3])),
    }
    found = Findings(facts, numbers) + health.check_rigid(m[None], [True], name)
    if np.allclose(m, np.eye(4), atol=1e-9):
        found += Findings(
            warnings=(f"{name} is the identity: it moves nothing. Was it written before it was found?",)
        )
    return found


def _poses(poses: Array, name: str) -> Findings:
    """How far poses move and turn: a pivot calibration needs a wide turn."""
    found = health.check_rigid(poses, np.ones(len(poses), dtype=bool), name)
    if found.warnings:
        return found
    relative = poses[:, :3, :3] @ poses[0, :3, :3].T
    turn = np.degrees(np.arccos(np.clip((np.trace(relative, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    moved = float(np.linalg.norm(np.ptp(poses[:, :3, 3], axis=0)))
    return found + Findings(
        (("motion", f"within {moved:.1f} mm, turned by up to {turn.max():.1f} deg from the first"),),
        {"moved_mm": moved, "turned_deg": float(turn.max())},
    )


def matrix_folder(path: Path, files: list[Path]) -> Description:
    """A folder of 4 x 4 text matrices, one a file: poses, in the order of their names."""
    poses, found = [], Findings()
    for file in files:
        values = table(read_text(file))
        if values is not None and values.shape == (4, 4):
            poses.append(values)
    found = Findings((("poses", f"{len(poses)}, one a file"),), {"poses": float(len(poses))})
    if len(poses) < len(files):
        found += Findings(
            warnings=(
                f"{len(files) - len(poses)} of {len(files)} files beside the matrices are none: they are "
                "left out.",
            )
        )
    return described(path, "folder of poses", found + _poses(np.array(poses), path.name))


def elastix(path: Path) -> Description:
    """An elastix parameter file."""
    text = read_text(path)
    entries = dict(re.findall(r"^\((\w+)\s+(.*?)\)\s*(?://.*)?$", text, re.MULTILINE))
    wanted = ("Transform", "Metric", "Optimizer", "NumberOfResolutions", "MaximumNumberOfIterations")
    facts = tuple((name, entries[name].replace('"', "")) for name in wanted if name in entries)
    numbers = {"parameters": float(len(entries))}
    return described(path, "elastix parameter file", Findings(facts, numbers))


def transform(path: Path) -> Description:
    """An ITK transform; HDF5 in a process of its own, since a damaged one may take Python down."""
    if path.suffix.lower() == ".h5":
        code = "import sys, SimpleITK; SimpleITK.ReadTransform(sys.argv[1])"
        try:
            done = subprocess.run(
                [sys.executable, "-c", code, str(path)], capture_output=True, timeout=PATIENCE_S
            )
        except subprocess.TimeoutExpired:
            raise FileError(f"{path.name} was not read in {PATIENCE_S} s. Is the file damaged?") from None
        if done.returncode not in (0, 1):  # 1: Python's own error, which comes again below
            raise FileError(
                f"{path.name}: the HDF5 library crashed on it. Is the file damaged? Ask for a .tfm."
            )
    m, notes = read_transform(path)
    found = Findings(warnings=tuple(f"{note}: a volume moved by it is deformed." for note in notes))
    told = _matrix(m, path.name)
    return described(path, "ITK transform", Findings(told.facts, told.numbers) + found)
