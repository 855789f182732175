"""Volumes through SimpleITK: MetaImage, NRRD, NIfTI by the ending of the name."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from navkit.files._errors import FileError, written_whole
from navkit.files._image_headers import check_image_header
from navkit.reconstruction import Grid, Volume

if TYPE_CHECKING:
    import SimpleITK as sitk

ENDINGS = (".mha", ".mhd", ".nrrd", ".nii", ".nii.gz")
SKEW = 1e-3  # of the axes, and their lengths from 1: six digits are 1e-6
WholeNumbers = Literal["uint8", "int8", "uint16", "int16", "uint32", "int32"]


def write_volume(
    volume: Volume,
    path: str | Path,
    *,
    dtype: WholeNumbers | Literal["float32"] | None = None,
    no_data: float | None = None,
) -> None:
    """Write grey values by the ending: .mha, .mhd, .nrrd, .nii, .nii.gz.

    Origin and direction put the volume in the patient reference; an existing file is replaced when
    the new one is complete.

    Parameters
    ----------
    dtype : of the values in the file, which are written as they are. None for ultrasound: 8 bit by
        CustusX's rule, 0 is no data and 1 the darkest value
    no_data : what a voxel without data (NaN) is in the file; float32 needs none and keeps NaN. It must be no
        voxel's value

    Raises
    ------
    ValueError
        If a value has no place in `dtype`, or is `no_data`, or there are voxels without data and no such
        value.

    >>> import tempfile
    >>> grid = Grid((1, 2, 3), (0.5, 0.4, 2.0), np.eye(4))
    >>> values = np.array([[[-1024, 40, 3071], [np.nan, 0, 7]]], dtype=np.float32)
    >>> volume = Volume(values, np.isfinite(values), np.zeros(values.shape, dtype=bool), grid)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_volume(volume, f"{folder}/ct.nrrd", dtype="int16", no_data=-2048)
    ...     read_volume(f"{folder}/ct.nrrd", no_data=-2048).values.tolist()
    [[[-1024.0, 40.0, 3071.0], [nan, 0.0, 7.0]]]
    """
    import SimpleITK as sitk

    path = Path(path)
    _check_ending(path)
    known = np.isfinite(volume.values)
    if dtype is None and no_data not in (None, 0):
        raise ValueError(
            f"no_data is {no_data:g}; expected a dtype with it: CustusX's rule has 0 for no data."
        )
    if dtype is None:
        values = np.where(known, np.clip(np.rint(np.where(known, volume.values, 0)), 1, 255), 0)
        image = sitk.GetImageFromArray(values.astype(np.uint8))
    else:
        image = sitk.GetImageFromArray(_as_they_are(volume.values, known, np.dtype(dtype), no_data))
    grid = volume.grid
    image.SetSpacing(grid.spacing_mm)
    image.SetOrigin([float(v) for v in grid.pr_M_d[:3, 3]])
    image.SetDirection([float(v) for v in grid.pr_M_d[:3, :3].ravel()])
    write_image(image, path)


def _as_they_are(
    values: NDArray[np.float32], known: NDArray[np.bool_], dtype: np.dtype[np.generic], no_data: float | None
) -> NDArray[np.generic]:
    if no_data is not None and (values == no_data).any():
        raise ValueError(f"a voxel has the value {no_data:g}, which is to mean no data; choose another.")
    if dtype.kind == "f" and no_data is None:
        return values.astype(dtype)
    if no_data is None and not known.all():
        raise ValueError(
            f"{np.count_nonzero(~known)} voxels have no data, which {dtype} cannot say; name a value for it."
        )
    full = np.where(known, values, 0 if no_data is None else no_data)
    with np.errstate(invalid="ignore"):
        written = full.astype(dtype)
    wrong = written.astype(np.float64) != full.astype(np.float64)
    if wrong.any():
        raise ValueError(
            f"the value {full[wrong][0]:g} has no place in {dtype}; choose a larger type, or round."
        )
    return written


def read_volume(path: str | Path, *, no_data: float | None = None) -> Volume:
    """Read a 3-D grey image; voxels equal to `no_data` become NaN (CustusX's ultrasound: 0).

    ``weight`` is 1 where there is data: a file does not tell how many pixels a voxel had. If the file's axes
    are left-handed, its last axis is turned round: the voxels are in the other order then, and each of them
    where it was. (CustusX takes the third axis from the other two, which moves the voxels.) Values are
    float32: whole numbers above 16 million are rounded.

    Raises
    ------
    FileError
        If the file is no image, or has colour or vectors, other than three dimensions, or axes that are not
        at right angles.
    """
    import SimpleITK as sitk

    path = Path(path)
    image, _ = read_image(path)
    with np.errstate(over="ignore"):  # a double that float32 does not hold is refused below
        values = sitk.GetArrayFromImage(image).astype(np.float32)
    if np.isinf(values).any():
        raise FileError(f"{path.name} has infinite values, or beyond 3e38; expected grey values of float32.")
    if no_data is not None:
        values[values == no_data] = np.nan
    pr_M_d = np.eye(4)
    pr_M_d[:3, :3] = np.array(image.GetDirection()).reshape(3, 3)
    pr_M_d[:3, 3] = image.GetOrigin()
    nz, ny, nx = values.shape
    sx, sy, sz = image.GetSpacing()
    return volume_of(values, Grid((nz, ny, nx), (sx, sy, sz), pr_M_d))


def volume_of(values: NDArray[np.float32], grid: Grid) -> Volume:
    known = np.isfinite(values)
    return Volume(values, known.astype(np.uint32), np.zeros(values.shape, dtype=bool), grid)


def read_image(path: Path) -> "tuple[sitk.Image, tuple[str, ...]]":
    """A 3-D grey image with right-handed axes, of the file's own type; what was done for it, in words."""
    import SimpleITK as sitk

    if not path.is_file():
        raise FileError(f"{path} is not a file.")
    check_image_header(path)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as reason:
        last = str(reason).strip().splitlines()[-1]
        raise FileError(f"{path.name} cannot be read as an image: {last}") from None
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise FileError(
            f"{path.name} has {image.GetDimension()} dimensions and {image.GetNumberOfComponentsPerPixel()} "
            "components; expected a 3-D grey image."
        )
    if image.GetPixelID() in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64):
        raise FileError(f"{path.name} has complex numbers; expected a 3-D grey image.")
    axes = np.array(image.GetDirection()).reshape(3, 3)
    skew = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if not skew <= SKEW:
        raise FileError(
            f"{path.name}: its axes are not at right angles and of length 1: off by {skew:.2g}, expected "
            "0.001 at most. Was the gantry tilted? Resample it first."
        )
    if np.linalg.det(axes) > 0:
        return image, ()
    turned = sitk.Flip(image, [False, False, True])  # the order of the slices, and each where it was
    told = f"{path.name}: the axes are left-handed; the last was turned round, with every voxel where it was"
    return turned, (told,)


def write_image(image: "sitk.Image", path: Path) -> None:
    import SimpleITK as sitk

    _check_ending(path)
    with written_whole(path) as folder:
        sitk.WriteImage(image, str(folder / path.name), useCompression=True)


def _check_ending(path: Path) -> None:
    if not path.name.lower().endswith(ENDINGS):
        raise FileError(f"{path.name} ends in {path.suffix!r}; expected one of {', '.join(ENDINGS)}.")
