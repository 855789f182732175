"""Healthy recordings and files, made for the tests, and small ways to spoil them."""

import functools
import json
import struct
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from navkit import files
from navkit.geometry import pose_from
from navkit.tracking import PoseStream
from navkit.ultrasound import ProbeSector, Sweep

BASE = "US-Acq_07_20260301T101112"
SECTOR = ProbeSector("linear", 30.0, (0.0, 36.0), (38.5, 4.25), (0.5, 0.5), (8, 68, 5, 76), (84, 90))


def assert_only(found, *phrases):
    """The warnings are those with these phrases, one each."""
    assert len(found.warnings) == len(phrases), found.warnings
    for phrase in phrases:
        assert any(phrase in w for w in found.warnings), (phrase, found.warnings)
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["kind"] == found.kind
    assert found.lines()[0].endswith(found.kind)
    return found


@functools.cache
def made_sweep() -> tuple[Sweep, PoseStream]:
    """A sweep through a speckled block, and the tracking that ran beside it at another rate."""
    rng = np.random.default_rng(701)
    t = np.cumsum(rng.normal(0.025, 0.001, 340))
    way = 12 * np.sin(1.25 * t) + 7 * np.sin(0.53 * t + 1) + 2 * np.sin(2.9 * t)
    turn = Rotation.from_euler(
        "xyz", np.stack([25 + 0.2 * way, -40 + 0 * way, 10 + 0 * way], axis=1), degrees=True
    )
    place = np.stack([131 + 0.2 * way, -42 + way, 77 + 0.1 * way], axis=1) + rng.normal(0, 0.02, (len(t), 3))
    stream = PoseStream(100 + t, pose_from(turn, place))
    frame_s = np.arange(100.2, 100 + t[-1] - 0.2, 0.05)
    pose, valid = stream.at(frame_s)
    assert valid.all()
    block = gaussian_filter(rng.normal(size=(90, 80, 120)), (1.2, 1.2, 1.0))
    block *= 45 / block.std()
    rows, columns = np.nonzero(SECTOR.mask())
    frames = np.zeros((len(frame_s), *SECTOR.shape), np.uint8)
    across = np.interp(frame_s, 100 + t, way)  # the pictures change as the probe moves along its sweep
    for k, y in enumerate(across):
        at = np.stack([rows, columns, np.full(len(rows), 60 + 2.2 * y)]).astype(float)
        frames[k, rows, columns] = np.clip(100 + map_coordinates(block, at, order=1, mode="mirror"), 1, 255)
    frames[:, 1:4, 10:40] = 255  # what a scanner writes above its picture
    return Sweep(frames, frame_s, pose @ SECTOR.t_M_p(), SECTOR, valid, BASE), stream


def written(folder: Path, sweep: Sweep, stream: PoseStream, *, layout="stack", late_s=0.0) -> Path:
    """An acquisition with the tracking's own samples, frames stamped `late_s` late."""
    files.write_acquisition(sweep, folder, layout=layout)
    write_rows(folder / f"{BASE}.tts", 1000 * stream.time_s[:, None])
    write_rows(folder / f"{BASE}.tp", stream.pose[:, :3].reshape(-1, 4))
    write_rows(folder / f"{BASE}.fts", 1000 * (sweep.time_s[:, None] + late_s))
    return folder


def write_rows(path: Path, rows: np.ndarray) -> None:
    path.write_text(
        "".join(" ".join(f"{v:.9g}" if abs(v) < 1e4 else f"{v:.4f}" for v in r) + "\n" for r in rows),
        encoding="utf-8",
    )


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def kept(stream: PoseStream, keep: np.ndarray) -> PoseStream:
    return PoseStream(stream.time_s[keep], stream.pose[keep])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def matrix_text(m: np.ndarray) -> str:
    return "\n".join(" ".join(map(repr, row)) for row in m.tolist()) + "\n"


def sequence(made, *, pictures=True) -> files.Sequence:
    sweep, _ = made
    n = len(sweep.frames)
    pose = sweep.pr_M_p @ np.linalg.inv(SECTOR.t_M_p())
    reference = np.tile(pose_from(Rotation.from_euler("z", 50, degrees=True), [300, 20, 9]), (n, 1, 1))
    transforms = {
        "ProbeToTracker": files.Transform(pose, np.ones(n, dtype=bool)),
        "ReferenceToTracker": files.Transform(reference, np.ones(n, dtype=bool)),
    }
    return files.Sequence(
        sweep.frames if pictures else None, sweep.time_s, transforms, np.full(n, pictures), {}, {}
    )


def tool_text(**more: str) -> str:
    said = {"type": "usprobe", "dof": "6", "rom": "", "cal": "p.cal"} | more
    return (
        f"<tool><type>{said['type']}</type><id>P</id><clinical_app>Neurology</clinical_app><instrument/>"
        f"<sensor><type>polaris</type><DOF>{said['dof']}</DOF><rom_file>{said['rom']}</rom_file></sensor>"
        f"<calibration><cal_file>{said['cal']}</cal_file></calibration></tool>"
    )


def image(
    tmp_path: Path, name: str, *, direction=(1, 0, 0, 0, 1, 0, 0, 0, 1), spacing=(0.5, 0.6, 0.7), values=None
):
    import SimpleITK as sitk

    if values is None:
        values = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    picture = sitk.GetImageFromArray(values)
    picture.SetSpacing(spacing)
    picture.SetOrigin((-12, 40, 7.5))
    picture.SetDirection(direction)
    sitk.WriteImage(picture, str(tmp_path / name))
    return tmp_path / name


def stl(points: np.ndarray) -> bytes:
    triangles = b"".join(struct.pack("<12fH", *([0.0] * 3), *corner.ravel(), 0) for corner in points)
    return bytes(80) + struct.pack("<I", len(points)) + triangles
