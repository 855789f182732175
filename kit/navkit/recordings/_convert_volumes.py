"""Volumes and DICOM series to other formats of volumes."""

import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from navkit.files._dicom import fields_in, read_dicom
from navkit.files._metaimage import read_header
from navkit.files._volumes import read_image, write_image, write_volume

if TYPE_CHECKING:
    import SimpleITK as sitk

TOLERANCE_MM = 1e-9
OF_METAIMAGE = {
    "ObjectType", "NDims", "BinaryData", "BinaryDataByteOrderMSB", "CompressedData", "CompressedDataSize",
    "TransformMatrix", "Rotation", "Orientation", "Offset", "Position", "Origin", "CenterOfRotation",
    "AnatomicalOrientation", "ElementSpacing", "ElementSize", "DimSize", "ElementType", "ElementDataFile",
    "ElementNumberOfChannels", "ElementByteOrderMSB", "HeaderSize", "Kinds",
}  # fmt: skip
OF_NIFTI = ("descrip", "aux_file", "intent_name", "intent_code", "cal_min", "cal_max", "toffset")


def to_other_volume(source: Path, target: Path) -> tuple[str, ...]:
    """Values, their type and their place as they are; what else a header says is lost."""
    import SimpleITK as sitk

    image, notes = read_image(source)
    lost = [*notes]
    for key in image.GetMetaDataKeys():
        image.EraseMetaData(key)
    write_image(image, target)
    again, _ = read_image(target)
    if again.GetPixelID() != image.GetPixelID():
        lost.append(f"values: {image.GetPixelIDTypeAsString()} became {again.GetPixelIDTypeAsString()}")
    ours, theirs = sitk.GetArrayViewFromImage(image), sitk.GetArrayViewFromImage(again)
    if not np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f"):
        lost.append(f"values: they change by up to {np.abs(ours.astype(float) - theirs).max():.3g}")
    off = float(np.abs(_corners(again) - _corners(image)).max())
    if off > TOLERANCE_MM:
        lost.append(f"{target.name}: the positions of voxels move by up to {off:.2g} mm (fewer digits)")
    keys = _own_keys(source)
    if keys:
        lost.append(f"{source.name}: {', '.join(sorted(keys))} of its header")
    return tuple(lost)


def _corners(image: "sitk.Image") -> NDArray[np.float64]:
    ends = itertools.product(*((0, n - 1) for n in image.GetSize()))
    return np.array([image.TransformIndexToPhysicalPoint(corner) for corner in ends])


def _own_keys(path: Path) -> set[str]:
    """What a header says beside values and places."""
    low = path.name.lower()
    if low.endswith((".mha", ".mhd")):
        return {key for key, value in read_header(path).fields.items() if key not in OF_METAIMAGE and value}
    if low.endswith(".nrrd"):
        with path.open("rb") as file:
            head = file.read(2**20).split(b"\n\n")[0]
        own = re.findall(rb"(?m)^([^#:\n]+):=", head)
        return {key.decode("utf-8", "replace") for key in own} | (
            {"content"} if re.search(rb"(?m)^content:", head) else set()
        )
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    there = set(reader.GetMetaDataKeys())
    return {key for key in OF_NIFTI if key in there and reader.GetMetaData(key).strip(" 0.\0")}


def from_dicom(source: Path, target: Path, series: str | None) -> tuple[str, ...]:
    volume = read_dicom(source, series=series)
    values: NDArray[Any] = volume.values
    whole = bool(np.array_equal(values, np.rint(values)))
    low, high = float(values.min()), float(values.max())
    lost = []
    if whole and low >= -32768 and high <= 32767:
        write_volume(volume, target, dtype="int16")
    elif whole and low >= 0 and high <= 65535:
        write_volume(volume, target, dtype="uint16")
    else:
        write_volume(volume, target, dtype="float32")
        lost.append("precision: the values are not whole numbers of 16 bit, and are kept as float32")
    tags, named = fields_in(source, series)
    lost.append(
        f"{tags} DICOM fields{', the name of the patient among them' if named else ''}: a volume has values "
        "and places only"
    )
    return tuple(lost)
