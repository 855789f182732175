"""Volumes through SimpleITK: MetaImage, NRRD, NIfTI by the ending of the name."""

from pathlib import Path

import numpy as np

from navkit.files._errors import FileError, written_whole
from navkit.reconstruction import Grid, Volume

ENDINGS = (".mha", ".mhd", ".nrrd", ".nii", ".nii.gz")


def write_volume(volume: Volume, path: str | Path) -> None:
    """Write grey values as 8 bit by CustusX's rule: 0 is no data, 1 is the darkest value.

    Origin and direction put the volume in the patient reference; an existing file is replaced when
    the new one is complete.
    """
    import SimpleITK as sitk

    path = Path(path)
    if not path.name.lower().endswith(ENDINGS):
        raise FileError(f"{path.name} ends in {path.suffix!r}; expected one of {', '.join(ENDINGS)}.")
    known = np.isfinite(volume.values)
    grey = np.where(known, np.clip(np.rint(np.where(known, volume.values, 0)), 1, 255), 0)
    image = sitk.GetImageFromArray(grey.astype(np.uint8))
    grid = volume.grid
    image.SetSpacing(grid.spacing_mm)
    image.SetOrigin([float(v) for v in grid.pr_M_d[:3, 3]])
    image.SetDirection([float(v) for v in grid.pr_M_d[:3, :3].ravel()])
    with written_whole(path) as folder:
        sitk.WriteImage(image, str(folder / path.name), useCompression=True)


def read_volume(path: str | Path, *, no_data: float | None = None) -> Volume:
    """Read a 3-D grey image; voxels equal to `no_data` become NaN (CustusX's ultrasound: 0).

    ``weight`` is 1 where there is data: a file does not tell how many pixels a voxel had.
    """
    import SimpleITK as sitk

    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path} is not a file.")
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
    values = sitk.GetArrayFromImage(image).astype(np.float32)
    if no_data is not None:
        values[values == no_data] = np.nan
    pr_M_d = np.eye(4)
    pr_M_d[:3, :3] = np.array(image.GetDirection()).reshape(3, 3)
    pr_M_d[:3, 3] = image.GetOrigin()
    nz, ny, nx = values.shape
    sx, sy, sz = image.GetSpacing()
    grid = Grid((nz, ny, nx), (sx, sy, sz), pr_M_d)
    known = np.isfinite(values)
    return Volume(values, known.astype(np.uint32), np.zeros(values.shape, dtype=bool), grid)
