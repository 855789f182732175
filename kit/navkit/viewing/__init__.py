"""Every figure and every scene.

A figure is shown with `show` or saved with `save`, and both demand a description in words: it is the
picture's text alternative and stands visibly below it. Colour never carries meaning alone. Figures are
drawn with matplotlib; PyVista's scenes are for who asks for them and has OpenGL.
"""

from navkit.viewing._figure import MARKS, new_figure, save, show
from navkit.viewing._gallery import gallery, save_gallery
from navkit.viewing._quality import quality_figure, quality_words
from navkit.viewing._reconstruction import (
    compare_slices,
    frames_in_space,
    slices_through_wires,
    voxel_shares,
    wires_in_their_plane,
)
from navkit.viewing._registration import error_maps, error_scatter
from navkit.viewing._slices import frame_gallery, orthogonal_slices, sweep_and_volume
from navkit.viewing._tracking import curves, point_clouds
from navkit.viewing._views import VIEWS, View

__all__ = [
    "MARKS",
    "VIEWS",
    "View",
    "compare_slices",
    "curves",
    "error_maps",
    "error_scatter",
    "frame_gallery",
    "frames_in_space",
    "gallery",
    "new_figure",
    "orthogonal_slices",
    "point_clouds",
    "quality_figure",
    "quality_words",
    "save",
    "save_gallery",
    "show",
    "slices_through_wires",
    "sweep_and_volume",
    "voxel_shares",
    "wires_in_their_plane",
]
