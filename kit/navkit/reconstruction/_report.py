"""What can be told of a reconstruction from the recording alone, without a known truth."""

from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from navkit.geometry import transform_points
from navkit.reconstruction._compare import Disagreement, disagreement, even_and_odd
from navkit.reconstruction._grid import Volume
from navkit.reconstruction._leave_out import LeaveOutResult, leave_out_error
from navkit.reconstruction._live import Compounding
from navkit.reconstruction._pixelwise import Fill, Method, reconstruct
from navkit.reconstruction._quality import sharpness_per_mm
from navkit.ultrasound import Sweep

Array = NDArray[np.float64]
Row = tuple[str, float, str, str]

SUMMARY = {
    "frames": {"frames used": "{0} used {1}"},
    "spacing": {
        "frame spacing": "{0} (median)",
        "largest gap": "at most {0} {1}",
        "probe speed": "probe at {0}",
    },
    "voxels": {
        "voxels measured": "{0} measured",
        "voxels filled": "{0} filled",
        "voxels empty": "{0} empty",
        "weight, median": "weight {0} (median)",
        "weight, 95 %": "{0} (95 %)",
    },
    "sharpness": {"sharpness": "{0}, {1}"},
    "left out": {"left-out frames": "{0}, {1}"},
    "even, odd": {"even against odd frames": "{0}, {1}", "noise": "noise {0}"},
}
"""The lines of the summary: their rows, and how each is told by its value and its meaning."""

ENOUGH_VOXELS = 2**22
"""Of larger volumes sharpness and weight are those of every second plane, or every third, and so on."""
DISCLAIMER = "For teaching and research; not a medical device."


@dataclass(frozen=True)
class QualityReport:
    """What one recording tells of its volume. Shown as a table, in a notebook too; NaN is what is not known.

    Parameters
    ----------
    name : of the sweep
    frames : (m,) indices of the valid frames
    frames_in_all : how many were recorded
    measured, filled, empty : parts of the volume's voxels; together 1
    weight_median, weight_95 : half and 95 % of the measured voxels have at most this weight: pixels ("pnn"),
        the sum of their shares ("splat"), or frames that the mean is worth (by voxel). This and the sharpness
        of more than 8 million voxels are those of some planes
    spacing_mm : (m - 1,) from the plane of one valid frame to the next one, mean over the picture
    speed_mm_s : (m - 1,) how fast the middle of the picture moved meanwhile
    widest_pr : (3,) the middle of the picture half way across the largest spacing
    sharpness_per_mm : see `navkit.reconstruction.sharpness_per_mm`
    halves : even against odd frames, if asked for
    leave_out : frames left out, if asked for and if the volume covers any of their pixels
    """

    name: str
    frames: NDArray[np.int64]
    frames_in_all: int
    measured: float
    filled: float
    empty: float
    weight_median: float
    weight_95: float
    spacing_mm: Array
    speed_mm_s: Array
    widest_pr: Array
    sharpness_per_mm: float
    halves: Disagreement | None = None
    leave_out: LeaveOutResult | None = None

    @property
    def widest(self) -> int:
        """Which of `spacing_mm` is the largest: between ``frames[widest]`` and the next one."""
        return int(np.argmax(self.spacing_mm)) if len(self.spacing_mm) else 0

    def rows(self) -> list[Row]:
        """Name, value, unit and meaning of each figure; those that are not known are left out."""
        a, b = (self.frames[[self.widest, self.widest + 1]]) if len(self.spacing_mm) else (0, 0)
        found: list[Row] = [
            ("frames used", len(self.frames), "", f"of {self.frames_in_all} recorded"),
            ("voxels measured", 100 * self.measured, "%", "a pixel fell into them, or a frame passed"),
            ("voxels filled", 100 * self.filled, "%", "made of their neighbours"),
            ("voxels empty", 100 * self.empty, "%", "no data, and not black"),
            ("weight, median", self.weight_median, "", "pixels in a measured voxel; by voxel: frames"),
            ("weight, 95 %", self.weight_95, "", "that few voxels exceed"),
            (
                "frame spacing",
                _median(self.spacing_mm),
                "mm",
                "median, from one frame's plane to the next frame",
            ),
            ("largest gap", self.spacing_mm.max(initial=-np.inf), "mm", f"between frames {a} and {b}"),
            ("probe speed", _median(self.speed_mm_s), "mm/s", "median, of the middle of the picture"),
            (
                "sharpness",
                self.sharpness_per_mm,
                "1/mm",
                "slope of the greys over their spread; noise adds to it",
            ),
        ]
        if self.halves is not None:
            covered = f"of {100 * self.halves.covered:.0f} % of the voxels"
            found += [
                ("even against odd frames", self.halves.rms, "grey levels", f"RMS, {covered}"),
                (
                    "noise",
                    self.halves.noise,
                    "grey levels",
                    "of such a half, what lies between frames included",
                ),
            ]
        if self.leave_out is not None:
            left, covered = self.leave_out, f"of {100 * self.leave_out.covered:.0f} % of the pixels"
            meaning = f"mean absolute, across gaps of {left.gap_mm:.2g} mm, {covered}"
            found.append(("left-out frames", left.mae, "grey levels", meaning))
        return [row for row in found if np.isfinite(row[1])]

    def summary(self) -> list[str]:
        """The same in five to seven lines."""
        found = {
            name: (f"{_number(value)} {unit}".strip(), words) for name, value, unit, words in self.rows()
        }
        lines = []
        for head, parts in SUMMARY.items():
            told = [how.format(*found[name]) for name, how in parts.items() if name in found]
            if told:
                lines.append(f"{head:<10} {', '.join(told)}")
        return lines

    def __str__(self) -> str:
        rows = [(name, f"{_number(value)} {unit}".strip(), words) for name, value, unit, words in self.rows()]
        first, second = (max(len(row[k]) for row in rows) for k in (0, 1))
        lines = [f"{name:<{first}}  {value:<{second}}  {words}" for name, value, words in rows]
        return "\n".join([f"Quality of {self.name!r}", *lines, DISCLAIMER])

    def _repr_html_(self) -> str:
        left = "style='text-align:left'"
        body = "".join(
            f"<tr><th scope='row' {left}>{escape(name)}</th><td>{_number(value)}</td>"
            f"<td {left}>{escape(unit)}</td><td {left}>{escape(words)}</td></tr>"
            for name, value, unit, words in self.rows()
        )
        head = "".join(f"<th scope='col'>{word}</th>" for word in ("measure", "value", "unit", "meaning"))
        caption = f"<caption>Quality of {escape(repr(self.name))}. {DISCLAIMER}</caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def quality_report(
    sweep: Sweep,
    volume: Volume,
    *,
    repeat: bool = True,
    every: int = 10,
    method: Method = "pnn",
    compounding: Compounding = "mean",
    fill: Fill = "none",
    fill_steps: int = 3,
    radius_mm: float | None = None,
    threads: int | None = None,
) -> QualityReport:
    """Everything that a sweep and its volume tell of the volume's quality without a known truth.

    Parameters
    ----------
    sweep, volume : a recording and what was made of it
    repeat : also reconstruct from every second frame, from the others, and without some frames: takes about
        three times as long as the volume took. Left out if fewer than four frames are valid
    every : one valid frame is left out in so many; if the sweep has fewer than ``every + 2``, none is
    method, compounding, fill, fill_steps, radius_mm, threads : how the volume was made, for those repeats

    Raises
    ------
    ValueError
        If no frame is valid, `every` is less than 2, or as `reconstruct`, for the repeats.
    """
    if every < 2:
        raise ValueError(f"every is {every}; expected 2 or more.")
    frames = np.flatnonzero(sweep.valid)
    if not len(frames):
        raise ValueError(f"sweep {sweep.name!r} has no valid frame; expected at least one with a pose.")
    middle_pr = transform_points(sweep.pr_M_p[frames], _pixels(sweep).mean(axis=0))
    way, step = np.linalg.norm(np.diff(middle_pr, axis=0), axis=1), np.diff(sweep.time_s[frames])
    spacing = frame_spacing_mm(sweep)
    widest = int(np.argmax(spacing)) if len(spacing) else 0
    voxels = volume.values.size
    every_plane = max(voxels // ENOUGH_VOXELS, 1)
    try:
        sharpness = sharpness_per_mm(volume, every=every_plane)
    except ValueError:  # too sparse, or all of one grey
        sharpness = np.nan
    weight = volume.weight[::every_plane]
    weight = weight[weight > 0]
    median, most = np.percentile(weight, (50, 95)) if weight.size else (np.nan, np.nan)
    halves, leave_out = None, None
    if repeat and len(frames) >= 4:
        one, two = (
            reconstruct(
                half, volume.grid, method=method, compounding=compounding, fill=fill, fill_steps=fill_steps,
                radius_mm=radius_mm, threads=threads,
            )
            for half in even_and_odd(sweep)
        )  # fmt: skip
        if (np.isfinite(one.values) & np.isfinite(two.values)).any():
            halves = disagreement(one, two)
    if repeat and len(frames) >= every + 2:
        try:
            leave_out = leave_out_error(
                sweep, volume.grid, every=every, method=method, compounding=compounding, fill=fill,
                fill_steps=fill_steps, radius_mm=radius_mm, threads=threads,
            )  # fmt: skip
        except ValueError:  # the choices are fine, see above: the volume covers no pixel that was left out
            leave_out = None
    return QualityReport(
        sweep.name,
        frames,
        len(sweep),
        np.count_nonzero(volume.weight) / voxels,
        np.count_nonzero(volume.filled) / voxels,
        np.count_nonzero(np.isnan(volume.values)) / voxels,
        float(median),
        float(most),
        spacing,
        np.divide(way, step, where=step > 0, out=np.full(len(step), np.nan)),
        middle_pr[widest : widest + 2].mean(axis=0),
        sharpness,
        halves,
        leave_out,
    )


def frame_spacing_mm(sweep: Sweep) -> Array:
    """From the plane of each valid frame to the next valid one (m - 1,), mm, mean over the picture.

    What slides along its own plane leaves no gap, so only the distance across counts. Frames that were lost
    make a wide one.
    """
    poses = sweep.pr_M_p[sweep.valid]
    normal = np.cross(poses[:-1, :3, 0], poses[:-1, :3, 1])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    pixels = np.concatenate([_pixels(sweep), np.ones((len(_pixels(sweep)), 1))], axis=1)
    across = np.einsum("ni,nij,pj->np", normal, np.diff(poses, axis=0)[:, :3], pixels)
    spacing: Array = np.abs(across).mean(axis=1)
    return spacing


def _pixels(sweep: Sweep) -> Array:
    """Some 500 pixels (k, 3) all over the picture."""
    rows, columns = np.nonzero(sweep.sector.mask())
    if not len(rows):
        raise ValueError("the sector and the clip rectangle have no pixel in common; expected an overlap.")
    step = max(len(rows) // 500, 1)
    return np.stack([columns, rows, 0 * rows], axis=-1)[::step].astype(float)


def _median(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
