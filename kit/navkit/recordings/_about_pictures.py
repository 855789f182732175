"""The pictures of a recording: as many as can be looked at quickly, and what they tell."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from navkit.files._errors import FileError
from navkit.files._pixels import Frames, Stored
from navkit.recordings._about import Findings, amount, several

MOST_BYTES = 2**27
"""Pictures of a larger recording are sampled: describing it must not take its reading."""
SMALL = 200
CHANGING = 4.0
BRIGHT = 20.0


@dataclass(frozen=True)
class Look:
    """What was looked at.

    Parameters
    ----------
    number : (k,) increasing, which frames
    small : (k, h, w) grey, every `step`-th pixel of them
    step : pixels
    flat, repeated : (k,) bool: all one value; every byte as in the frame before, which was looked at too
    count : of all frames
    extremes : the darkest and the brightest pixel of all that was looked at
    """

    number: NDArray[np.intp]
    small: NDArray[np.float32]
    step: int
    flat: NDArray[np.bool_]
    repeated: NDArray[np.bool_]
    count: int
    extremes: tuple[float, float]

    def change(self) -> NDArray[np.float64]:
        """Mean absolute difference of each frame from the one before, (k - 1,)."""
        return np.array(
            [np.abs(b - a).mean() for a, b in zip(self.small[:-1], self.small[1:], strict=True)], dtype=float
        )


def look_at(parts: Sequence[Stored], *, most_bytes: int = MOST_BYTES) -> tuple[Look, Findings]:
    """Frames of a recording in one or many files, all of them if they are few.

    Of a long recording that is not compressed: the first, the last, and a run in the middle; of a compressed
    one, which must be read from its start, the first ones.

    Raises
    ------
    FileError
        If the pixels are too few, too many or damaged, as far as they were read.
    """
    counts = [part.shape[0] for part in parts]
    n, frame = sum(counts), parts[0].nbytes // parts[0].shape[0]
    many = max(2, most_bytes // frame)
    height, width = parts[0].shape[1:3]
    step = max(1, round(max(height, width) / SMALL))
    if n <= many:
        wanted = np.arange(n)
    elif any(part.compressed for part in parts):
        wanted = np.arange(many)
    else:
        start = (n - many) // 2
        wanted = np.unique(np.r_[0, start + np.arange(many), n - 1])
    small, low, high, repeated = [], [], [], []
    before: tuple[int, Frames] | None = None
    for k, picture in _frames(parts, wanted):
        small.append(_grey(picture[::step, ::step]))
        low.append(float(picture.min()))
        high.append(float(picture.max()))
        repeated.append(before is not None and before[0] == k - 1 and np.array_equal(before[1], picture))
        before = k, picture.copy()
    left = n - len(wanted)
    flat = np.array(low) == np.array(high)
    look = Look(wanted, np.array(small, np.float32), step, flat, np.array(repeated), n, (min(low), max(high)))
    skipped = (f"pixels of {left} of {n} frames ({amount(left * frame)})",) if left else ()
    return look, Findings(not_checked=skipped)


def _frames(parts: Sequence[Stored], wanted: NDArray[np.intp]) -> Iterator[tuple[int, Frames]]:
    """Frames by number; what a block holds is overwritten by the next one."""
    first = 0
    for part in parts:
        here = wanted[(wanted >= first) & (wanted < first + part.shape[0])] - first
        if not len(here):
            if not part.compressed:
                part.mapped()  # its size is checked
        elif part.compressed:
            done = 0
            blocks = part.blocks()
            for block in blocks:
                for k in here[(here >= done) & (here < done + len(block))]:
                    yield first + int(k), block[k - done]
                done += len(block)
                if done > here[-1] and done < part.shape[0]:
                    break  # enough; a whole file is read to its end, which tells whether it is damaged
        else:
            pixels = part.mapped()
            for k in here:
                yield first + int(k), np.asarray(pixels[k])
        first += part.shape[0]


def _grey(picture: Frames) -> NDArray[np.float32]:
    values = picture.astype(np.float32)
    return values if values.ndim == 2 else values[..., :3].mean(axis=-1, dtype=np.float32)


def check_pictures(look: Look) -> Findings:
    """Flat frames and frames that repeat the one before."""
    flat, repeated = int(look.flat.sum()), int((look.repeated & ~look.flat).sum())
    pairs = int((np.diff(look.number) == 1).sum())
    seen = len(look.number)
    numbers = {
        "flat_frames": float(flat),
        "repeated_frames": float(repeated),
        "darkest": look.extremes[0],
        "brightest": look.extremes[1],
    }
    facts = (("grey values", f"{look.extremes[0]:g} to {look.extremes[1]:g}, mean {look.small.mean():.1f}"),)
    warnings = []
    if flat:
        warnings.append(
            f"{flat} of {seen} frames looked at are flat (one value all over), the first is frame "
            f"{look.number[np.argmax(look.flat)]}: they paint black or grey into the volume. Was the scanner "
            "frozen or unplugged? Mark them as not valid before reconstructing."
        )
    if repeated > 0.02 * max(pairs, 1):
        warnings.append(
            f"{repeated} of {pairs} frames looked at repeat the frame before them, byte by byte: the "
            "grabber ran faster than the scanner or the picture was frozen, and the same picture is put in "
            "two places. Drop the repeats, keep the first of each."
        )
    return Findings(facts, numbers, tuple(warnings))


def check_sector(look: Look, mask: NDArray[np.bool_]) -> Findings:
    """Does the picture live inside the sector (height, width), and only there?

    What the scanner writes beside the picture stays as it is from frame to frame; echoes do not. So pixels
    that change outside the mask are echoes that a wrong clip cuts off.
    """
    inside = mask[:: look.step, :: look.step]
    share = float(mask.mean())
    facts = [("sector's share", f"{100 * share:.0f} % of the picture")]
    numbers = {"sector_share": share}
    if inside.shape != look.small.shape[1:] or not inside.any():
        return Findings(
            tuple(facts),
            numbers,
            ("the sector covers no pixel: nothing would be reconstructed. Are clip and origin in pixels?",),
        )
    outside = float(look.small[:, ~inside].mean()) if (~inside).any() else 0.0
    numbers["brightness_outside"] = outside
    facts.append(
        ("brightness", f"{look.small[:, inside].mean():.1f} inside the sector, {outside:.1f} outside")
    )
    if len(look.number) < 3:
        return Findings(tuple(facts), numbers, (), ("echoes outside the sector: too few frames",))
    # a quarter of the frames at least, so that one noisy frame is no echo
    changing = (look.small.std(axis=0) > CHANGING) & (np.quantile(look.small, 0.75, axis=0) > BRIGHT)
    lost = float((changing & ~inside).sum() / max(int(changing.sum()), 1))
    numbers["echoes_outside_share"] = lost
    warnings: tuple[str, ...] = ()
    if lost > 0.1 and changing.sum() >= 20:
        warnings = (
            f"{100 * lost:.0f} % of the pixels that change from frame to frame lie outside the sector: "
            "echoes are cut off, so the clip, depth or origin does not fit these pictures. Was another "
            "depth or probe set on the scanner? Compare the sector's outline with a frame before "
            "reconstructing.",
        )
    return Findings(tuple(facts), numbers, warnings)


def size_of(parts: Sequence[Stored]) -> Findings:
    """Number and size of the frames."""
    n = sum(part.shape[0] for part in parts)
    height, width = parts[0].shape[1:3]
    channels = parts[0].shape[3] if len(parts[0].shape) > 3 else 1
    told = "grey" if channels == 1 else several(channels, "channel")
    text = f"{n} of {width} x {height} pixels, {told}, {parts[0].dtype.name}"
    numbers = {"frames": n, "width_px": width, "height_px": height, "channels": channels}
    for part in parts:
        if part.shape[1:] != parts[0].shape[1:] or part.dtype != parts[0].dtype:
            raise FileError(
                f"{part.path.name}: a frame of another size or kind than in {parts[0].path.name}; expected "
                "all alike. Are two recordings mixed in one folder?"
            )
    return Findings((("frames", text),), {k: float(v) for k, v in numbers.items()})
