"""A PLUS sequence and its configuration as a sweep that can be reconstructed."""

import numpy as np

from navkit.files._errors import FileError
from navkit.files._plus_config import PlusConfig
from navkit.files._sequences import Sequence
from navkit.ultrasound import ProbeSector, Sweep


def plus_sweep(sequence: Sequence, config: PlusConfig, *, name: str = "sequence") -> Sweep:
    """The frames where they were in Reference, clipped as the configuration's reconstruction says.

    PLUS's fan is a circle in the picture, in pixels; here it is one in mm, of pixels as large as they are on
    average. A frame is valid if its picture and every transform on the way are OK.

    Parameters
    ----------
    sequence : with frames, and transforms that lead to Reference
    config : with Image to the probe, and the attributes of its VolumeReconstruction
    name : of the sweep

    Raises
    ------
    FileError
        If there are no pictures, no way from Image to Reference, or a clip or fan that is no set of numbers.

    References
    ----------
    PLUS user manual, VolumeReconstruction: ClipRectangleOrigin, ClipRectangleSize, FanAnglesDeg,
    FanOriginPixel, FanRadiusStartPixel, FanRadiusStopPixel.
    """
    if sequence.frames is None:
        raise FileError("the sequence has no pictures; expected frames to place.")
    if sequence.frames.ndim != 3:
        raise FileError("the sequence is of volumes; expected pictures, one plane each.")
    try:
        here = sequence.spaces(config).get("Reference", "Image")
    except (KeyError, ValueError) as reason:
        raise FileError(f"no way from Image to Reference: {reason.args[0]}") from None
    pr_M_p = np.array(np.broadcast_to(here, (len(sequence), 4, 4)))
    placed = np.isfinite(pr_M_p).all(axis=(1, 2))
    if not placed.any():
        raise FileError("no frame has all its transforms; was the probe or the reference never seen?")
    height, width = sequence.frames.shape[1:]
    sx, sy = (float(s) for s in np.linalg.norm(pr_M_p[placed][0, :3, :2], axis=0))

    said = config.reconstruction

    def numbers(key: str, count: int, otherwise: tuple[float, ...]) -> tuple[float, ...]:
        text = said.get(key)
        if text is None:
            return otherwise
        try:
            found = tuple(float(v) for v in text.split())
        except ValueError:
            found = ()
        if len(found) != count:
            raise FileError(f"VolumeReconstruction has {key}={text!r}; expected {count} numbers.")
        return found

    x, y = (int(v) for v in numbers("ClipRectangleOrigin", 2, (0, 0)))
    wide, high = (int(v) for v in numbers("ClipRectangleSize", 2, (width - x, height - y)))
    clip = (max(x, 0), min(x + wide, width) - 1, max(y, 0), min(y + high, height) - 1)
    if "FanAnglesDeg" in said:
        left, right = numbers("FanAnglesDeg", 2, ())
        if abs(left + right) > 1e-6:
            raise FileError(f"FanAnglesDeg is {left:g} {right:g}; only fans about the middle are read.")
        pixel = (sx + sy) / 2
        start, stop = (
            numbers(f"FanRadius{end}Pixel", 1, (r,))[0] for end, r in (("Start", 0.0), ("Stop", 1e4))
        )
        origin_x, origin_y = numbers("FanOriginPixel", 2, (width / 2, 0.0))
        sector = ProbeSector(
            "sector", float(np.radians(right - left)), (start * pixel, stop * pixel), (origin_x, origin_y),
            (pixel, pixel), clip, (height, width),
        )  # fmt: skip
    else:
        middle = (clip[0] + clip[1]) / 2
        sector = ProbeSector(
            "linear", (clip[1] - clip[0]) * sx, (0.0, (clip[3] - clip[2]) * sy), (middle, float(clip[2])),
            (sx, sy), clip, (height, width),
        )  # fmt: skip
    frames = np.asarray(sequence.frames)
    if frames.dtype != np.uint8:
        raise FileError(f"the pictures are {frames.dtype}; expected 8 bit grey.")
    return Sweep(frames, sequence.time_s, pr_M_p, sector, sequence.image_valid & placed, name)
