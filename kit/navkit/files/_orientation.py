"""How PLUS's pictures lie in a file: from there to PLUS's own orientation MF (MFA in 3-D), and back."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from navkit.files._errors import FileError
from navkit.files._pixels import Frames, Stored, gathered, stays_on_disk

AXES = ("MU", "FN", "AD")  # lateral, axial, elevational: PLUS's own direction first
THIRD = {"MF": "A", "UF": "D", "UN": "A", "MN": "D"}  # what PLUS takes a third letter to be

Turn = Callable[[Frames], Frames]


def turn(path: Path, orientation: str, *, back: bool = False, dimension: int = 2) -> Turn:
    """What turns frames so that columns run from the marked side, rows from near to far, and slices upwards.

    The result is a view. With `back`, from there to the orientation. In 2-D a third letter says nothing.
    """
    letters = orientation.strip().upper()
    if letters in ("XX", "XXX"):
        return lambda frames: frames
    if dimension == 2:
        letters = letters[:2]
    else:
        letters += THIRD.get(letters, "")
    order = [k for letter in letters for k, pair in enumerate(AXES) if letter in pair]
    if len(letters) != dimension or sorted(order) != list(range(dimension)):
        wanted = "letters such as MF or UN" if dimension == 2 else "three letters such as MFA or UND"
        raise FileError(f"{path.name}: UltrasoundImageOrientation = {orientation!r}; expected {wanted}.")
    # Pixel axis i of a frame, x first, is the array's axis dimension - i; the frames' own axis is 0.
    if not back:
        sources = (dimension - order.index(k) for k in reversed(range(dimension)))
    else:
        sources = (dimension - order[i] for i in reversed(range(dimension)))
    axes = (0, *sources)
    against = [AXES[k][1] in letters for k in reversed(range(dimension))]
    steps = (slice(None), *(slice(None, None, -1 if flip else 1) for flip in against))

    def turned(frames: Frames) -> Frames:
        return np.transpose(frames[steps], axes) if back else np.transpose(frames, axes)[steps]

    return turned


def turned_frames(stored: Stored, to_mf: Turn, *, on_disk: bool) -> Frames:
    """Frames of a file in MF: in memory, or a read-only view of the file or of a temporary one."""
    on_disk = stays_on_disk(stored.nbytes, on_disk)
    if on_disk and not stored.compressed:
        return to_mf(stored.mapped())
    shape = to_mf(np.broadcast_to(stored.dtype.type(0), stored.shape)).shape
    return gathered(map(to_mf, stored.blocks()), shape, stored.dtype, on_disk=on_disk)
