"""Linear transforms of ITK and 3D Slicer (.tfm, .h5), in and out.

Conventions: 3D Slicer, developer guide, "Transforms": files are LPS, and hold the resampling direction.
"""

import math
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.files._errors import FileError, written_whole
from navkit.files._itk_transform import PROBE_MM, effect, effect_elsewhere
from navkit.files._text import content, decimals, is_file

Array = NDArray[np.float64]

ENDINGS = (".tfm", ".h5")
LARGEST_MM = 1e12
TIMEOUT_S = 20.0
RIGID_TOLERANCE = 1e-5
VERSORS = ("VersorRigid3DTransform", "Similarity3DTransform", "ScaleVersor3DTransform", "VersorTransform")
PARAMETERS = {"AffineTransform": 12, "MatrixOffsetTransformBase": 12, "Euler3DTransform": 6} | {
    "VersorRigid3DTransform": 6,
    "Similarity3DTransform": 7,
    "ScaleVersor3DTransform": 9,
    "TranslationTransform": 3,
    "IdentityTransform": 0,
}


def read_transform(path: str | Path) -> tuple[Array, tuple[str, ...]]:
    """Read a linear transform, in the direction that moves points: Slicer's "to parent".

    An ITK file holds the resampling direction ("from parent"): its ``TransformPoint`` takes a point of the
    fixed image (Slicer: the parent) to the moving image (the transformed node). What is returned is the
    inverse of that: ``to`` is the fixed image or parent, ``from`` the moving image or node, both patient LPS
    in mm. So ``TransformPoint(to_M_from @ p) == p``. Euler, versor, similarity, scale, affine,
    translation and composites of them are read.

    Returns
    -------
    to_M_from : (4, 4)
    notes : what is unusual: a mirror, or not rigid

    Raises
    ------
    FileError
        Another ending, unreadable, cut short, not 3-D, not linear, not invertible; several transforms
        that are no composite, of which ITK would use the first.

    Notes
    -----
    The HDF5 library crashes on some damaged .h5 files (1 of 512 with one changed byte), so that they are read
    in a process of their own, which takes about half a second.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "moved.tfm"
    >>> write_transform([[1, 0, 0, 5], [0, 1, 0, -6], [0, 0, 1, 7], [0, 0, 0, 1]], path)
    >>> read_transform(path)[0][:3, 3].tolist()
    [5.0, -6.0, 7.0]
    """
    path = Path(path)
    _check_ending(path)
    if not is_file(path):
        raise FileError(f"{path} is not a file.")
    if path.suffix.lower() == ".tfm":
        _check_text(path)
        found = effect(str(path))
    else:
        _check_hdf5(path)
        found = effect_elsewhere(path, TIMEOUT_S)
    if "error" in found:
        raise FileError(f"{path.name} {found['error']}")
    ends = np.array(found["ends"], dtype=float)
    if not (np.abs(ends) <= LARGEST_MM).all():
        raise FileError(
            f"{path.name} moves points by more than {LARGEST_MM:g} mm; expected a transform in mm."
        )
    from_M_to = np.eye(4)
    from_M_to[:3, :3] = (ends[1:4] - ends[4:]).T / (2 * PROBE_MM)
    from_M_to[:3, 3] = ends[0]
    to_M_from = _inverted(from_M_to, path.name)
    return to_M_from, _notes(to_M_from, path.name)


def write_transform(to_M_from: ArrayLike, path: str | Path) -> None:
    """Write a linear transform as ITK's AffineTransform, by the ending .tfm (text) or .h5.

    Parameters
    ----------
    to_M_from : (4, 4) patient LPS in mm, in the direction that moves points. The file gets its inverse:
        Slicer then shows the matrix given (in RAS) as "to parent", ITK resamples a moving image (``from``)
        onto a fixed one (``to``)

    Raises
    ------
    ValueError
        A matrix that is not (4, 4), finite, ending in 0 0 0 1 and invertible.
    FileError
        Another ending.
    """
    import SimpleITK as sitk

    path = Path(path)
    _check_ending(path)
    matrix = np.asarray(to_M_from, dtype=float)
    if matrix.shape != (4, 4):
        raise ValueError(f"to_M_from has shape {matrix.shape}; expected (4, 4).")
    if not np.array_equal(matrix[3], [0, 0, 0, 1]):
        raise ValueError(f"to_M_from ends in the row {matrix[3]}; expected 0 0 0 1. Is it transposed?")
    from_M_to = _inverted(matrix, "to_M_from")
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(from_M_to[:3, :3].ravel().tolist())
    transform.SetTranslation(from_M_to[:3, 3].tolist())
    with written_whole(path) as folder:
        sitk.WriteTransform(transform, str(folder / path.name))


def _check_ending(path: Path) -> None:
    if not path.name.lower().endswith(ENDINGS):
        raise FileError(f"{path.name} ends in {path.suffix!r}; expected .tfm or .h5.")


def _check_hdf5(path: Path) -> None:
    data = content(path)
    if not data.startswith(b"\x89HDF\r\n\x1a\n"):
        raise FileError(f"{path.name} does not begin as an HDF5 file; expected an ITK transform.")
    kinds = data.count(b"TransformType")
    if kinds > 1 and b"CompositeTransform_" not in data:
        raise FileError(
            f"{path.name} holds {kinds} transforms; expected one, or a CompositeTransform of them."
        )


def _check_text(path: Path) -> None:
    """What ITK's reader lets pass: a missing last line (a centre of 0), several transforms, more numbers."""
    try:
        text = content(path).decode()
    except UnicodeDecodeError as reason:
        raise FileError(f"{path.name} byte {reason.start}: not text; expected an ITK text file.") from None
    lines = [line.strip() for line in text.splitlines()]
    if not lines or not lines[0].startswith("#Insight Transform File"):
        raise FileError(f"{path.name} line 1: {lines[:1]}; expected '#Insight Transform File V1.0'.")
    kinds: list[str] = []
    wanted = "Transform"
    for number, line in enumerate(lines[1:], start=2):
        if not line or line.startswith("#"):
            continue
        key, _, value = line.partition(":")
        where = f"{path.name} line {number}"
        after_composite = key == "Transform" and kinds[-1:] and kinds[-1].startswith("CompositeTransform")
        if key != wanted and not after_composite:
            raise FileError(f"{where}: {line[:60]!r}; expected '{wanted}:'. Was the file cut short?")
        if key == "Transform":
            kinds.append(value.strip())
            wanted = "Parameters"
        else:
            numbers = _finite_numbers(value, where)
            size = PARAMETERS.get(kinds[-1].partition("_")[0], len(numbers))
            if key == "Parameters" and len(numbers) != size:
                raise FileError(f"{where}: {len(numbers)} numbers; expected {size} for {kinds[-1]}.")
            most = (
                4 if kinds[-1].startswith("Euler3DTransform") else 3
            )  # of a centre; Euler has a flag as well
            if key == "FixedParameters" and len(numbers) > most:
                raise FileError(f"{where}: {len(numbers)} numbers; expected the 3 of a centre.")
            if key == "Parameters" and kinds[-1].startswith(VERSORS) and math.hypot(*numbers[:3]) > 1 + 1e-6:
                raise FileError(
                    f"{where}: a versor longer than 1, {numbers[:3]}; expected sines of half angles."
                )
            wanted = "FixedParameters" if key == "Parameters" else "Transform"
    composite = kinds[:1] != [] and kinds[0].startswith("CompositeTransform")
    whole = text.endswith("\n") and wanted == "Transform"
    if not kinds or not whole or (composite and len(kinds) == 1):
        raise FileError(
            f"{path.name} ends before its last '{wanted}:' line is whole. Was the file cut short?"
        )
    if len(kinds) > 1 and not composite:
        raise FileError(
            f"{path.name} holds {len(kinds)} transforms; expected one, or a CompositeTransform of them."
        )


def _finite_numbers(value: str, where: str) -> list[float]:
    numbers = decimals(value)
    if numbers is None:
        word = next((word for word in value.split() if decimals(word) is None), value)
        raise FileError(f"{where}: {word[:40]!r}; expected a finite number.")
    return numbers


def _inverted(matrix: Array, name: str) -> Array:
    linear = matrix[:3, :3]
    if not np.isfinite(matrix).all() or np.linalg.cond(linear) > 1e12:
        raise FileError(f"{name} cannot be inverted: its 3 x 3 part is flat or not finite.")
    inverse = np.eye(4)
    inverse[:3, :3] = np.linalg.inv(linear)
    inverse[:3, 3] = -inverse[:3, :3] @ matrix[:3, 3]
    return inverse


def _notes(matrix: Array, name: str) -> tuple[str, ...]:
    linear = matrix[:3, :3]
    notes = []
    if np.linalg.det(linear) < 0:
        notes.append(f"{name} mirrors: its determinant is {np.linalg.det(linear):.6g}")
    if np.abs(linear.T @ linear - np.eye(3)).max() > RIGID_TOLERANCE:
        stretch = np.linalg.svd(linear, compute_uv=False)
        notes.append(f"{name} is not rigid: it stretches by {stretch[-1]:.6g} to {stretch[0]:.6g}")
    return tuple(notes)
