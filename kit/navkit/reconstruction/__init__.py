"""From a tracked sweep to a volume.

`output_grid` lays the voxels, `reconstruct` fills them from the pixels, `measure_wire_cross` tells what
the result is worth on the wire phantom. A voxel that no pixel reached is NaN, never a silent 0.
"""

from navkit.reconstruction._grid import Grid, Volume, limited_size, output_grid
from navkit.reconstruction._pixelwise import reconstruct
from navkit.reconstruction._quality import WireCross, measure_wire_cross

__all__ = [
    "Grid",
    "Volume",
    "WireCross",
    "limited_size",
    "measure_wire_cross",
    "output_grid",
    "reconstruct",
]
