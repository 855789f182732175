"""The images of a patient: MetaImage with CustusX's own keys, and with its way to read a pose."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from navkit.files._errors import FileError
from navkit.files._metaimage import Header, read_header, stored_pixels
from navkit.files._pixels import gathered
from navkit.files._volumes import read_volume
from navkit.geometry import check_poses
from navkit.reconstruction import Grid, Volume

Array = NDArray[np.float64]

TYPES: dict[str, np.dtype[Any]] = {"MET_UCHAR": np.dtype("u1"), "MET_SHORT": np.dtype("<i2")}
MODALITIES = ("UNKNOWN", "CT", "MR", "US", "PET", "SC")


def header_pose(path: str | Path) -> Array:
    """``r_M_d`` (4, 4) of a MetaImage header as CustusX reads it: z is x cross y, whatever the file says.

    ``TransformMatrix`` stands column by column. The document of a patient overrides this pose.

    Raises
    ------
    FileError
        If x and y are no unit vectors at right angles.
    """
    return _pose(read_header(Path(path)))


def _pose(header: Header) -> Array:
    keys = [key for key in ("TransformMatrix", "Rotation", "Orientation") if key in header.fields]
    axes = header.numbers(keys[0], 9)[:9] if keys else [1, 0, 0, 0, 1, 0, 0, 0, 1]
    places = [key for key in ("Offset", "Position", "Origin") if key in header.fields]
    pose = np.eye(4)
    x, y = np.array(axes[:3]), np.array(axes[3:6])
    with np.errstate(all="ignore"):
        pose[:3, :3] = np.stack([x, y, np.cross(x, y)], axis=1)
    pose[:3, 3] = header.numbers(places[0], 3)[:3] if places else 0
    try:
        checked: Array = check_poses(pose[None], "pose")[0]
    except ValueError as reason:
        line = header.lines.get(keys[0] if keys else places[0] if places else "", "?")
        told = str(reason).replace("pose[0]", "the pose")
        raise FileError(f"{header.path.name} line {line}: {told}") from None
    return checked


def read_image(path: Path, r_M_d: Array, *, no_data: float | None = None) -> Volume:
    """The voxels of an image, placed by `r_M_d` (see `patient_volume`)."""
    if path.suffix.lower() != ".mhd":
        volume = read_volume(path, no_data=no_data)
        grid = Grid(volume.grid.shape, volume.grid.spacing_mm, r_M_d)
        return Volume(volume.values, volume.weight, volume.filled, grid)
    header = read_header(path)
    spacing = header.numbers("ElementSpacing", 3)[:3]
    if min(spacing) <= 0:
        raise header.refusal("ElementSpacing", "three numbers above 0")
    values = _values(header)
    if no_data is not None:
        values[values == no_data] = np.nan
    nz, ny, nx = values.shape
    grid = Grid((nz, ny, nx), (spacing[0], spacing[1], spacing[2]), r_M_d)
    known = np.isfinite(values).astype(np.uint32)
    return Volume(values, known, np.zeros(values.shape, dtype=bool), grid)


def _values(header: Header) -> NDArray[np.float32]:
    stored = stored_pixels(header)
    if len(stored.shape) != 3:
        raise FileError(f"{header.path.name}: {stored.shape[3]} channels; expected a grey image.")
    stored.check_size()
    if not stored.compressed:
        return np.array(stored.mapped(), dtype=np.float32)
    return gathered(stored.blocks(), stored.shape, np.float32, on_disk=False)


def write_image(volume: Volume, r_M_d: Array, path: Path, *, modality: str, image_type: str) -> None:
    """A volume as ``.mhd`` and ``.raw``: 8 bit where its whole numbers allow, else 16 bit.

    Of a volume with NaN the rule is CustusX's for ultrasound: 0 is no data, 1 the darkest value.

    Raises
    ------
    ValueError
        Values that are not whole numbers of 16 bit: rounding is the caller's choice.
    """
    values = volume.values
    if np.isnan(values).any():
        values = np.where(np.isnan(values), 0, np.clip(np.rint(values), 1, 255))
    low, high = float(values.min()), float(values.max())
    name = next((n for n, t in TYPES.items() if np.iinfo(t).min <= low and high <= np.iinfo(t).max), "")
    if not name or not np.array_equal(values, np.rint(values)):
        raise ValueError(
            f"the voxels of {path.stem} go from {low:g} to {high:g}; expected whole numbers of 16 bit. "
            "Round first."
        )
    nz, ny, nx = values.shape
    axes = " ".join(map(repr, r_M_d[:3, :3].T.ravel().tolist()))  # column by column
    keys = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": axes,
        "Offset": " ".join(map(repr, r_M_d[:3, 3].tolist())),
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": " ".join(repr(float(s)) for s in volume.grid.spacing_mm),
        "DimSize": f"{nx} {ny} {nz}",
        "ElementType": name,
        "Modality": modality if modality in MODALITIES else "UNKNOWN",
        "ImageType3": image_type,
        "ElementDataFile": f"{path.stem}.raw",
    }
    text = "".join(f"{key} = {value}\n" for key, value in keys.items() if value)
    path.with_suffix(".raw").write_bytes(values.astype(TYPES[name]).tobytes())
    path.write_text(text, encoding="utf-8", newline="\n")
