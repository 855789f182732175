"""Every figure and every scene.

A figure is shown with `show` or saved with `save`, and both demand a description in words: it is the
picture's text alternative and stands visibly below it. Colour never carries meaning alone. Figures are
drawn with matplotlib; PyVista's scenes are for who asks for them and has OpenGL.
"""

from navkit.viewing._figure import MARKS, new_figure, save, show
from navkit.viewing._slices import frame_gallery, orthogonal_slices, sweep_and_volume

__all__ = ["MARKS", "frame_gallery", "new_figure", "orthogonal_slices", "save", "show", "sweep_and_volume"]
