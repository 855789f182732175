"""DICOM in, for volumes, through SimpleITK (GDCM): one series whose slices are a regular stack.

A volume has one distance between slices and axes at right angles. A stack that has not (a missing slice, a
tilted gantry) is refused: read as if it had, every structure would lie elsewhere.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from navkit.files._errors import FileError
from navkit.files._pixels import MOST_INFLATION
from navkit.files._volumes import volume_of
from navkit.reconstruction import Grid, Volume

if TYPE_CHECKING:
    import SimpleITK as sitk

Array = NDArray[np.float64]

OFF_MM = 0.1  # how far a slice may lie from where the volume puts it, or a quarter of their distance
HEAD_BYTES = 2**24
# Media that hold no picture: directory, reports, presentation, waveforms, registrations, documents, plans.
NO_PICTURE = re.compile(r"1\.2\.840\.10008\.(1\.3\.10|5\.1\.4\.1\.1\.(88|11|9|66|66\.[12356]|104|481)\b)")
TAGS = {
    "series": "0020|000e",
    "description": "0008|103e",
    "position": "0020|0032",
    "orientation": "0020|0037",
    "pixel": "0028|0030",
    "between": "0018|0088",
    "modality": "0008|0060",
}


@dataclass(frozen=True)
class Slice:
    """The header of a file: its series, and the place of its one picture, or of its pictures."""

    path: Path
    said: dict[str, str]
    size: tuple[int, int, int]
    channels: int

    def numbers(self, name: str, count: int) -> Array:
        text = self.said[name]
        try:
            found = np.array([float(v) for v in text.split("\\")])
        except ValueError:
            found = np.empty(0)
        if len(found) != count or not np.isfinite(found).all():
            keyword = {"position": "Image Position (Patient)", "orientation": "Image Orientation (Patient)"}
            raise FileError(
                f"{self.path.name}: {keyword.get(name, 'Pixel Spacing')} is {text!r}; expected {count} "
                "numbers. Is it a projection, a screenshot or a film?"
            )
        return found


def read_dicom(path: str | Path, *, series: str | None = None) -> Volume:
    """Read one DICOM series as a volume in patient LPS, with rescale slope and intercept applied.

    Slices are put in order by their positions, whatever the files are called. Names, dates and identities
    of the patient stay in the files: the volume has none.

    Parameters
    ----------
    path : a folder of files, one of those files for its series, or one file with all slices
    series : which, where a folder has several: its Series Instance UID, or its description

    Raises
    ------
    FileError
        No DICOM pictures; several series (they are named); slices of unequal size or direction; one slice;
        two at one place; a slice more than 0.1 mm (or a quarter of their distance) from where equal
        distances along the normal put it: one is missing, or the gantry was tilted; colour; a compression
        that GDCM does not know.

    References
    ----------
    DICOM PS3.3 C.7.6.2, Image Plane Module: position, orientation and pixel spacing (rows first).
    """
    path = Path(path)
    if path.is_file():
        one = _header(path)
        if one is None:
            raise FileError(f"{path.name} is no DICOM picture; expected one, or the folder of a series.")
        if one.size[2] > 1:
            return _volume([one], series)
        path, series = path.parent, series or one.said["series"]
    if not path.is_dir():
        raise FileError(f"{path} does not exist.")
    slices = [one for file in sorted(path.iterdir()) if file.is_file() and (one := _header(file))]
    if not slices:
        inside = sorted(p.name for p in path.iterdir() if p.is_dir())
        hint = f" Its folders are {', '.join(inside[:5])}: name one." if inside else ""
        raise FileError(f"{path.name}/ has no DICOM picture; expected those of a series.{hint}")
    return _volume(slices, series)


def series_in(folder: str | Path) -> dict[str, tuple[str, str, int]]:
    """The series of a folder: UID -> (modality, description, number of pictures)."""
    found = [one for file in sorted(Path(folder).iterdir()) if file.is_file() and (one := _header(file))]
    return {uid: _told(group) for uid, group in _by_series(found).items()}


def is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _header(path: Path) -> Slice | None:
    """None for what is no DICOM, or DICOM without a picture such as a report."""
    if not is_dicom(path):
        return None
    reader = _reader(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError as reason:
        with path.open("rb") as file:
            start = file.read(2048)
        kind = re.search(rb"\x02\0\x02\0UI..([0-9.]+)", start, re.DOTALL)
        if kind and NO_PICTURE.match(kind[1].decode()):
            return None
        raise FileError(f"{path.name} is DICOM but cannot be read as a picture: {_last(reason)}") from None
    keys = set(reader.GetMetaDataKeys())
    said = {name: reader.GetMetaData(tag).strip(" \0") if tag in keys else "" for name, tag in TAGS.items()}
    width, height, n = (*reader.GetSize(), 1, 1)[:3]
    if width * height * n > MOST_INFLATION * path.stat().st_size:
        held = path.stat().st_size
        raise FileError(f"{path.name} says {width} x {height} x {n} pixels, which {held} bytes cannot hold.")
    return Slice(path, said, (width, height, n), reader.GetNumberOfComponents())


def _reader(path: Path) -> "sitk.ImageFileReader":
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    return reader


def _last(reason: Exception) -> str:
    lines = [line for line in str(reason).strip().splitlines() if line.strip()] or ["no reason given"]
    return re.sub(r"^.*?\): ", "", lines[-1])


def _by_series(slices: list[Slice]) -> dict[str, list[Slice]]:
    groups = defaultdict(list)
    for one in slices:
        groups[one.said["series"]].append(one)
    return dict(groups)


def _told(group: list[Slice]) -> tuple[str, str, int]:
    return group[0].said["modality"], group[0].said["description"], sum(one.size[2] for one in group)


def _volume(slices: list[Slice], series: str | None) -> Volume:
    groups = _by_series(slices)
    told = {uid: _told(group) for uid, group in groups.items()}
    names = "; ".join(f"{uid} ({kind} {what!r}, {n} pictures)" for uid, (kind, what, n) in told.items())
    if series is not None:
        wanted = {k: g for k, g in groups.items() if series in (k, g[0].said["description"])}
        if not wanted:
            raise FileError(f"no series {series!r} here; there are {names}.")
        groups = wanted
    if len(groups) > 1:
        raise FileError(f"{len(groups)} series: {names}; expected one. Name it: series=its UID.")
    (group,) = groups.values()
    if colour := next((one.path.name for one in group if one.channels != 1), None):
        raise FileError(f"{colour} is in colour; expected grey slices.")
    if group[0].size[2] > 1:
        if len(group) > 1:
            raise FileError(f"{len(group)} files of several pictures each in one series; name one of them.")
        return _of_one_file(group[0])
    first = group[0]
    for one in group[1:]:
        for name, limit, count in (("orientation", 1e-4, 6), ("pixel", 1e-5, 2)):
            if np.abs(one.numbers(name, count) - first.numbers(name, count)).max() > limit:
                raise FileError(
                    f"{one.path.name} has {one.said[name]} where {first.path.name} has {first.said[name]} "
                    f"({name}); expected all slices alike. Is a planning picture among them?"
                )
        if one.size != first.size:
            raise FileError(f"{one.path.name} is {one.size[:2]} pixels, {first.path.name} {first.size[:2]}.")
    position = np.array([one.numbers("position", 3) for one in group])
    order, spacing = _stacked(
        position, first.numbers("orientation", 6), [one.path.name for one in group], first.path.parent.name
    )
    values = np.stack([_pixels(group[k])[0] for k in order])
    return _placed(
        values, first.numbers("orientation", 6), first.numbers("pixel", 2), position[order[0]], spacing
    )


def _of_one_file(one: Slice) -> Volume:
    """Enhanced CT and MR have a position for each frame; older objects one, and a distance."""
    n = one.size[2]
    data = one.path.read_bytes()[:HEAD_BYTES]
    head = data[: data.find(b"\xe0\x7f\x10\x00")]
    position = _everywhere(head, b"\x20\0\x32\0", 3)
    orientation, pixel = _everywhere(head, b"\x20\0\x37\0", 6), _everywhere(head, b"\x28\0\x30\0", 2)
    if len(position) == 1 and len(orientation) == 1 and one.said["between"]:
        normal = np.cross(orientation[0, :3], orientation[0, 3:])
        position = position + np.arange(n)[:, None] * float(one.said["between"]) * normal
    if len(position) != n or not len(orientation) or not len(pixel):
        raise FileError(
            f"{one.path.name} has {n} pictures and {len(position)} positions; expected one each. Is it a "
            "film?"
        )
    if np.ptp(orientation, axis=0).max() > 1e-4 or np.ptp(pixel, axis=0).max() > 1e-5:
        raise FileError(
            f"{one.path.name}: its pictures have different directions or pixels; expected one stack."
        )
    names = [f"picture {k + 1}" for k in range(n)]
    order, spacing = _stacked(position, orientation[0], names, one.path.name)
    values = _pixels(one)
    if len(values) != n:
        raise FileError(f"{one.path.name} gave {len(values)} of {n} pictures.")
    return _placed(values[order], orientation[0], pixel[0], position[order[0]], spacing)


def _everywhere(head: bytes, tag: bytes, count: int) -> Array:
    """The numbers of a tag wherever it stands in a header, explicit or implicit: (k, count)."""
    found = re.findall(re.escape(tag) + rb"(?:DS..|..\0\0)([-+0-9.eE \\]+)", head, re.DOTALL)
    rows = []
    for text in found:
        try:
            row = [float(word) for word in text.split(b"\\")]
        except ValueError:
            continue
        if len(row) == count:
            rows.append(row)
    return np.array(rows, dtype=float).reshape(-1, count)


def _stacked(position: Array, orientation: Array, names: list[str], where: str) -> tuple[list[int], float]:
    """The order of the slices along their normal, and their one distance, mm."""
    normal = np.cross(orientation[:3], orientation[3:])
    size = np.linalg.norm([orientation[:3], orientation[3:], normal], axis=1)
    if np.abs(size - 1).max() > 1e-3:
        raise FileError(
            f"{where}: the orientation {orientation} is not two axes at right angles of length 1."
        )
    if len(position) < 2:
        raise FileError(f"{where}: one slice; expected two or more of a volume.")
    along = position @ normal
    order = [int(k) for k in np.argsort(along)]
    steps = np.diff(along[order])
    usual = float(np.median(steps))
    if steps.min() < 1e-3:
        k = int(steps.argmin())
        raise FileError(
            f"{where}: {names[order[k]]} and {names[order[k + 1]]} are at one place; expected a slice each. "
            "Several times, echoes or copies in one series?"
        )
    spacing = float((along[order[-1]] - along[order[0]]) / (len(order) - 1))
    most = min(OFF_MM, usual / 4)
    off = position[order] - position[order[0]] - np.arange(len(order))[:, None] * spacing * normal
    if np.abs(off @ normal).max() > most:
        k = int(np.abs(steps - usual).argmax())
        missing = "a slice is missing" if steps[k] > 1.5 * usual else "the distances are not equal"
        raise FileError(
            f"{where}: {missing}: {steps[k]:.3f} mm from {names[order[k]]} to {names[order[k + 1]]}, usually "
            f"{usual:.3f} mm; expected equal distances. Copy the series again, or resample it."
        )
    beside = np.linalg.norm(off - np.outer(off @ normal, normal), axis=1)
    if beside.max() > most:
        stack = position[order[-1]] - position[order[0]]
        angle = np.degrees(np.arccos(min(1.0, float(stack @ normal) / float(np.linalg.norm(stack)))))
        k = int(beside.argmax())
        raise FileError(
            f"{where}: the stack leans {angle:.2f} degrees from the slices' normal (gantry tilt), "
            f"{names[order[k]]} by {beside[k]:.2f} mm; expected {most:.2g} mm at most. Resample it first."
        )
    return order, spacing


def _pixels(one: Slice) -> NDArray[np.float32]:
    import SimpleITK as sitk

    try:
        image = _reader(one.path).Execute()
    except RuntimeError as reason:
        raise FileError(
            f"{one.path.name}: the pixels cannot be read: {_last(reason)}. Is their compression one that "
            "GDCM does not know? Write the series uncompressed."
        ) from None
    values = sitk.GetArrayFromImage(image).astype(np.float32)
    pictures: NDArray[np.float32] = values.reshape(-1, *values.shape[-2:])
    return pictures


def _placed(
    values: NDArray[np.float32], orientation: Array, pixel: Array, corner: Array, spacing: float
) -> Volume:
    across, down = orientation[:3], orientation[3:]
    pr_M_d = np.eye(4)
    pr_M_d[:3, :3] = np.stack([across, down, np.cross(across, down)], axis=1)
    pr_M_d[:3, 3] = corner
    nz, ny, nx = values.shape
    return volume_of(values, Grid((nz, ny, nx), (float(pixel[1]), float(pixel[0]), spacing), pr_M_d))


def fields_in(path: Path, series: str | None) -> tuple[int, bool]:
    """How many fields the header of a series' first picture has, and whether the patient is named."""
    files = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file())
    heads = (head for file in files if (head := _header(file)))
    one = next(h for h in heads if series in (None, h.said["series"], h.said["description"]))
    reader = _reader(one.path)
    reader.ReadImageInformation()
    keys = reader.GetMetaDataKeys()
    return len(keys), "0010|0010" in keys and bool(reader.GetMetaData("0010|0010").strip())
