"""From a tracked sweep to a volume.

`output_grid` lays the voxels and `reconstruct` fills them from the frames; `reconstruct_dual` does so for
B-mode and angio at once, a `Reconstructor` with frames as they come. `fill_holes` fills what is left open.
`quality_report` tells what the result is worth from the recording alone, by frames left out and by halves of
the sweep; `measure_wire_cross`, `edge_width_mm`, `measure_structure` and `distance_mm` compare with a known
truth. A voxel that no pixel reached is NaN, never a silent 0.
"""

from navkit.reconstruction._compare import Disagreement, disagreement, even_and_odd
from navkit.reconstruction._fill import fill_holes
from navkit.reconstruction._grid import Grid, Volume, limited_size, output_grid
from navkit.reconstruction._leave_out import LeaveOutResult, leave_out_error, sample
from navkit.reconstruction._live import Reconstructor
from navkit.reconstruction._pixelwise import reconstruct, reconstruct_dual
from navkit.reconstruction._quality import (
    StructureVolume,
    bright_centre,
    distance_mm,
    edge_width_mm,
    measure_structure,
    sharpness_per_mm,
)
from navkit.reconstruction._report import QualityReport, frame_spacing_mm, quality_report
from navkit.reconstruction._wires import WireCross, measure_wire_cross

__all__ = [
    "Disagreement",
    "Grid",
    "LeaveOutResult",
    "QualityReport",
    "Reconstructor",
    "StructureVolume",
    "Volume",
    "WireCross",
    "bright_centre",
    "disagreement",
    "distance_mm",
    "edge_width_mm",
    "even_and_odd",
    "fill_holes",
    "frame_spacing_mm",
    "leave_out_error",
    "limited_size",
    "measure_structure",
    "measure_wire_cross",
    "output_grid",
    "quality_report",
    "reconstruct",
    "reconstruct_dual",
    "sample",
    "sharpness_per_mm",
]
