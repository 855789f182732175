"""From a tracked sweep to a volume.

`output_grid` lays the voxels and `reconstruct` fills them from the frames; `reconstruct_dual` does so for
B-mode and angio at once, a `Reconstructor` with frames as they come. `fill_holes` fills what is left open.
`measure_wire_cross` and `leave_out_error` tell what the result is worth. A voxel that no pixel reached is
NaN, never a silent 0.
"""

from navkit.reconstruction._fill import fill_holes
from navkit.reconstruction._grid import Grid, Volume, limited_size, output_grid
from navkit.reconstruction._leave_out import LeaveOutResult, leave_out_error, sample
from navkit.reconstruction._live import Reconstructor
from navkit.reconstruction._pixelwise import reconstruct, reconstruct_dual
from navkit.reconstruction._quality import WireCross, measure_wire_cross

__all__ = [
    "Grid",
    "LeaveOutResult",
    "Reconstructor",
    "Volume",
    "WireCross",
    "fill_holes",
    "leave_out_error",
    "limited_size",
    "measure_wire_cross",
    "output_grid",
    "reconstruct",
    "reconstruct_dual",
    "sample",
]
