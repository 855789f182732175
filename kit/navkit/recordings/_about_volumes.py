"""Volumes and pictures that SimpleITK knows, DICOM folders, meshes, and sets of arrays."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from navkit.files import FileError
from navkit.files._metaimage import read_header
from navkit.recordings._about import UNREADABLE, Description, Findings, amount, described, several
from navkit.recordings._about_pictures import MOST_BYTES

UNEVEN = 1.05
MOST_SLICES = 600
MODALITIES = {"CT": "CT", "MR": "MR", "US": "ultrasound", "PT": "PET", "XA": "X-ray"}


def image(path: Path) -> Description:
    """A picture or volume: size, spacing, axes and, unless it is very large, its values."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as reason:
        raise FileError(f"{path.name} cannot be read as an image: {_last(reason)}") from None
    size, spacing = reader.GetSize(), reader.GetSpacing()
    channels = reader.GetNumberOfComponents()
    name = sitk.GetPixelIDValueAsString(reader.GetPixelID()).replace("vector of ", "")
    depth = {"8": 1, "16": 2, "32": 4, "64": 8}[(re.search(r"8|16|32|64", name) or ["64"])[0]]
    if name.endswith("float"):
        depth = 4
    nbytes = math.prod(size) * channels * depth
    direction = np.array(reader.GetDirection()).reshape(len(size), len(size))
    found = _geometry(path, size, spacing, direction, np.array(reader.GetOrigin()))
    told = "grey" if channels == 1 else several(channels, "channel")
    found = (
        Findings((("values", f"{name}, {told}, {amount(nbytes)}"),), {"channels": float(channels)}) + found
    )
    kind = "volume" if len(size) == 3 and size[2] > 1 else "picture"
    if len(size) > 3:
        kind = "series of volumes"
    if nbytes > MOST_BYTES:
        return described(path, kind, found + Findings(not_checked=(f"values: {amount(nbytes)} is much",)))
    try:
        values = sitk.GetArrayViewFromImage(whole := reader.Execute())
        found += _values(values)
        del values, whole
    except RuntimeError as reason:
        told = f"{path.name}: the pixels cannot be read ({_last(reason)}). Was the copy cut off?"
        return described(path, f"damaged {kind}", found + Findings(warnings=(told,)))
    return described(path, kind, found)


def _last(reason: BaseException) -> str:
    return (str(reason).strip().splitlines() or ["no reason given"])[-1].strip()


def _geometry(
    path: Path,
    size: tuple[int, ...],
    spacing: tuple[float, ...],
    direction: NDArray[Any],
    origin: NDArray[Any],
) -> Findings:
    """Size, spacing and the axes of patient LPS along which the voxels run."""
    facts = [
        ("size", " x ".join(map(str, size))),
        ("spacing", " x ".join(f"{s:.6g}" for s in spacing) + " mm"),
        ("extent", " x ".join(f"{n * s:.1f}" for n, s in zip(size, spacing, strict=True)) + " mm"),
        ("origin", " ".join(f"{o:.6g}" for o in origin) + " mm"),
    ]
    numbers = {f"size_{a}": float(n) for a, n in zip("xyzt", size, strict=False)}
    numbers |= {f"spacing_{a}_mm": float(s) for a, s in zip("xyzt", spacing, strict=False)}
    warnings = []
    if len(size) >= 3:
        axes = direction[:3, :3]
        handed = float(np.linalg.det(axes))
        letters = ", ".join(_letter(axes[:, k]) for k in range(3))
        side = "right-handed" if handed > 0 else "left-handed"
        facts.append(("axes", f"voxels run towards {letters} of the patient; {side}"))
        numbers["handedness"] = handed
        if handed < 0 or _left_handed(path):
            warnings.append(
                f"{path.name} is left-handed: its slices run against its rows and columns. CustusX makes it "
                "right-handed without a word, and the volume appears mirrored there. Turn the order of the "
                "slices and write it again."
            )
        elif np.allclose(axes, np.diag([-1.0, -1, 1]), atol=1e-3) and not path.name.lower().endswith(
            (".nii", ".nii.gz")
        ):
            warnings.append(
                f"{path.name} has x and y turned, as left after taking RAS for LPS: if a registered volume "
                "lies on the wrong side of the patient, this is why. Compare with a known landmark before "
                "using it."
            )
        ratio = max(spacing[:3]) / min(spacing[:3])
        if ratio > 4:
            warnings.append(
                f"voxels are {ratio:.1f} times longer one way than another: small structures vanish between "
                "the slices, and a registration is that much less certain that way. Ask for thinner slices."
            )
    return Findings(tuple(facts), numbers, tuple(warnings))


def _left_handed(path: Path) -> bool:
    """As the header has it: SimpleITK's reader may have turned it."""
    if path.suffix.lower() not in (".mha", ".mhd"):
        return False
    try:
        m = np.array(read_header(path).numbers("TransformMatrix", 9)[:9]).reshape(3, 3)
    except UNREADABLE:
        return False
    return bool(np.linalg.det(m) < 0)


def _letter(axis: NDArray[Any]) -> str:
    k = int(np.argmax(np.abs(axis)))
    return (("left", "right"), ("back", "front"), ("head", "feet"))[k][int(axis[k] < 0)]


def _values(values: NDArray[Any]) -> Findings:
    low, high = float(values.min()), float(values.max())
    zero = float((values == 0).mean())
    facts = (("value range", f"{low:g} to {high:g}; {100 * zero:.0f} % are 0"),)
    numbers = {"value_min": low, "value_max": high, "share_zero": zero}
    warnings = []
    if low == high:
        warnings.append(
            f"all values are {low:g}: the picture is empty. Was it written before it was reconstructed?"
        )
    if not (math.isfinite(low) and math.isfinite(high)):
        warnings.append("some values are not finite: take them out before registering or resampling.")
    return Findings(facts, numbers, tuple(warnings))


def is_dicom(path: Path) -> bool:
    """By the four letters that DICOM files have after their preamble."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def dicom_folder(path: Path) -> Description:
    """A folder of DICOM files by series; nothing that names the patient is told."""
    import SimpleITK as sitk

    names = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(path))
    found = Findings((("series", str(len(names))),), {"series": float(len(names))})
    for k, name in enumerate(names):
        files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path), name)
        found += _series(f"series {k + 1}", files)
    return described(path, "DICOM folder", found)


def dicom_file(path: Path) -> Description:
    """One DICOM file."""
    found = _series("picture", (str(path),))
    return described(path, "DICOM file", found)


def _series(what: str, files: tuple[str, ...]) -> Findings:
    """Size, spacing and whether the slices lie evenly."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    places: list[float] = []
    skipped: tuple[str, ...] = ()
    for file in files[:MOST_SLICES]:
        reader.SetFileName(file)
        try:
            reader.ReadImageInformation()
        except RuntimeError as reason:
            raise FileError(f"{Path(file).name} cannot be read as DICOM: {_last(reason)}") from None
        d = np.array(reader.GetDirection()).reshape(len(reader.GetSize()), -1)
        across = d[:3, 2] if len(d) >= 3 else np.array([0.0, 0.0, 1.0])
        places.append(float(across @ np.array(reader.GetOrigin())[:3]) if len(d) >= 3 else 0.0)
    if len(files) > MOST_SLICES:
        skipped = (f"{what}: places of {len(files) - MOST_SLICES} slices",)
    tag = "0008|0060"
    modality = reader.GetMetaData(tag).strip() if tag in reader.GetMetaDataKeys() else "?"
    size, spacing = reader.GetSize(), reader.GetSpacing()
    steps = np.diff(np.sort(places))
    told = f"{MODALITIES.get(modality, modality)}, {several(len(files), 'slice')} of {size[0]} x {size[1]}, "
    told += f"pixel {spacing[0]:.5g} x {spacing[1]:.5g} mm"
    numbers = {f"{what} slices": float(len(files))}
    if len(steps):
        told += f", slices {np.median(steps):.5g} mm apart"
        numbers[f"{what} slice_step_mm"] = float(np.median(steps))
    warnings: tuple[str, ...] = ()
    if len(steps) and (steps.max() > UNEVEN * np.median(steps) or steps.min() < np.median(steps) / UNEVEN):
        warnings = (
            f"{what}: slices are {steps.min():.3g} to {steps.max():.3g} mm apart: one is missing or two lie "
            "in one place, and a volume with even spacing would be bent there. Export the series again.",
        )
    return Findings(((what, told),), numbers, warnings, skipped)
