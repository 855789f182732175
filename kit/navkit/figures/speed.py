"""How fast reconstruction is: makes ``speed.md`` beside this file from what a benchmark run has written. ::

    pytest tests/benchmarks/test_reconstruction_speed.py tests/benchmarks/test_fill_speed.py \\
        -p benchmark --benchmark-json=speed.json
    python -m navkit.figures.speed speed.json
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Run = dict[str, Any]

PAGE = """\
# How fast reconstruction is

`make_benchmark_sweep`: frames of 640 x 480 pixels of 0.2 mm over 110 mm, tilted by up to 10 deg and yawed
by 5 deg. The best of several rounds, in Mpixel/s, with everything that `reconstruct` does: allocation,
insertion, and values with counts or weights. {cpu}, {cores} cores that others use too: medians are 10-50 %
lower. Copying 128 MB by one thread moved {copy:.0f} GB/s (read and written) in the same run.

PLUS's C++ (IGSIO) was measured on two cores with 200 frames: nearest neighbour, mean, at 0.5 mm 121 Mpixel/s
with its fixed-point weights and 53 in its exact mode, 81 at 0.25 mm; linear 16.6. It was not run beside ours:
times of two days are compared.

## Pixel by pixel: 200 frames, voxels of 0.5 mm

Axes of the middle frame, and of the reference. The last column: "middle, 2 threads" over copying.

{pixels}
## B-mode and angio: Mpixel/s of both channels, two threads

{channels}
## Frames and spacing: "pnn", mean, two threads

{grows}
With few frames and small voxels, taking and unpacking the voxels' memory takes the time.

## Voxel by voxel: 400 frames by a trembling hand, {voxels:.1f} million voxels, two threads

{voxelwise}
## Holes filled a second, two threads, and over PLUS's rate

A hole that is out of reach counts too, with PLUS as with us. "Plain" is the sweep above; the "wobbling" one
has more of its holes between frames, as PLUS's had.

{fills}"""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def page(run: Run) -> str:
    """The page, from the JSON that pytest-benchmark writes."""
    found: dict[str, list[Run]] = {}
    for one in run["benchmarks"]:
        found.setdefault(one["name"].split("[")[0], []).append(one)

    def rates(test: str, *keys: str) -> dict[tuple[Any, ...], str]:
        return {
            tuple(b["params"][key] for key in keys): f"{b['extra_info']['mpixel_per_s']:.0f}"
            for b in found[test]
        }

    half = rates("test_half_a_millimetre", "method", "compounding", "orientation", "threads")
    copied = {
        (b["params"]["method"], b["params"]["compounding"]): f"{b['extra_info']['of_copy_bandwidth']:.3f}"
        for b in found["test_half_a_millimetre"]
        if (b["params"]["orientation"], b["params"]["threads"]) == ("middle", 2)
    }
    kinds = list(dict.fromkeys(kind[:2] for kind in half))
    ways = [(axes, threads) for axes in ("middle", "reference") for threads in (1, 2)]
    two = rates("test_two_channels", "method", "passes")
    grows = rates("test_cost_grows_with_pixels_and_voxels", "frames", "spacing_mm")
    by_voxel = found["test_voxel_by_voxel"]
    fills = []
    for one in found["test_holes_per_second"]:
        told, given = one["extra_info"], one["params"]
        where = told["sweep"], f"{told['spacing_mm']:g}", given["method"], str(given["reach"])
        over = "" if told["times_plus"] is None else f"{told['times_plus']:.1f}"
        fills.append([*where, f"{told['holes'] / 1e6:.1f}", f"{told['holes_per_s'] / 1e6:.0f}", over])
    cpu, info = run["machine_info"]["cpu"], found["test_half_a_millimetre"][0]["extra_info"]
    return PAGE.format(
        cpu=cpu.get("brand_raw", "An unknown processor"),
        cores=cpu.get("count", "some"),
        copy=info["mpixel_per_s"] / info["of_copy_bandwidth"] / 1e3,
        pixels=table(
            ["method", *(f"{axes}, {n} thread{'s' * (n > 1)}" for axes, n in ways), "of copying"],
            [[", ".join(kind), *(half[*kind, *way] for way in ways), copied[kind]] for kind in kinds],
        ),
        channels=table(
            ["method", "in one pass", "two calls"],
            [[method, two[method, 1], two[method, 2]] for method in ("pnn", "splat")],
        ),
        grows=table(
            ["frames", "0.25 mm", "0.5 mm", "1 mm"],
            [[str(n), *(grows[n, mm] for mm in (0.25, 0.5, 1.0))] for n in (100, 400, 1600)],
        ),
        voxels=by_voxel[0]["extra_info"]["voxels"] / 1e6,
        voxelwise=table(
            ["method", "s"], [[b["params"]["method"], f"{b['stats']['min']:.2f}"] for b in by_voxel]
        ),
        fills=table(["sweep", "mm", "method", "reach", "million holes", "million/s", "over PLUS"], fills),
    )


if __name__ == "__main__":
    made = page(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(__file__).with_suffix(".md").write_text(made, encoding="utf-8")
