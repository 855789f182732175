"""Registering ultrasound to MR: makes ``registration.md`` and its picture from benchmarks. ::

    pytest tests/benchmarks/test_image_registration_speed.py tests/benchmarks/test_icp_speed.py \\
        tests/benchmarks/test_registration_speed.py -p benchmark --benchmark-json=registration.json
    python -m navkit.figures.registration registration.json
"""

import json
import sys
from pathlib import Path
from typing import Any

from navkit import viewing
from navkit.figures.speed import table

WAYS = {
    ("lc2", None): ("LC2", "result"),
    ("lc2", 0): ("LC2 without its search", "measured"),
    ("ssc", None): ("SSC", "other"),
    ("mattes", None): ("mutual information (Mattes)", "truth"),
}
WORDS = (
    "How many of ten registrations came back, over how far off they began, from 2 to 15 mm. LC2 comes back "
    "nearly always; without its search, and SSC, fewer and fewer from 10 mm on; mutual information never."
)
PAGE = """\
# Registration: from how far it comes back, and how fast it is

For teaching and research; not a medical device. The simulated neuro case: MR of 2.7 x 2.7 x 4.4 mm,
ultrasound reconstructed with voxels of 1 mm, no brain shift; errors are mean distances of landmarks. No
recording with known truth was at hand.

## From 5.4 mm, the mean initial error of RESECT, 30 starts

| metric | mean, mm | worst, mm | below 1.8 mm |
|---|---|---|---|
{thirty}
Mutual information is higher some 34 mm away than at the truth, so it leaves even the truth: what speckle and
shadow show is not in the MR. From MR to MR it ends within 0.5 mm.

## Capture range: ten starts each

![{words}](capture_range.png)

{capture}
## Time

{times}"""


def page(run: dict[str, Any]) -> tuple[str, Any]:
    """The page and the figure, from the JSON that pytest-benchmark writes."""
    found: dict[str, list[dict[str, Any]]] = {}
    for one in run["benchmarks"]:
        found.setdefault(one["name"].split("[")[0], []).append(one)
    thirty = "".join(
        f"| {b['params']['metric']} | {b['extra_info']['mean_mm']:.2f} | {b['extra_info']['worst_mm']:.2f} | "
        f"{b['extra_info']['back']} |\n"
        for b in found["test_thirty_starts_of_5_4_mm"]
    )
    back: dict[tuple[str, int | None], dict[int, int]] = {}
    for one in found["test_capture_range"]:
        given = one["params"]
        row = back.setdefault((given["metric"], given["search_mm"]), {})
        row[given["start_mm"]] = int(one["extra_info"]["back"].split()[0])
    starts = sorted(next(iter(back.values())))
    lines = {WAYS[way][0]: ([row[mm] for mm in starts], WAYS[way][1]) for way, row in back.items()}
    figure = viewing.curves(
        starts, lines, xlabel="Landmark error at the start (mm)", ylabel="Below 1.8 mm at the end (of ten)"
    )
    capture = table(
        ["start, mm", *map(str, starts)], [[name, *map(str, counts)] for name, (counts, _) in lines.items()]
    )

    def ms(name: str, **params: Any) -> float:
        matching = [b for b in found[name] if params.items() <= (b["params"] or {}).items()]
        return 1e3 * float(min(b["stats"]["min"] for b in matching))

    clinical = ms("test_lc2_at_clinical_size", threads=2) / 1e3
    neuro = ms("test_thirty_starts_of_5_4_mm", metric="lc2") / 3e4
    times = [
        ["LC2, rigid, 128 x 128 x 128 voxels of 2 mm", f"{clinical:.1f} s"],
        ["LC2, the neuro case", f"{neuro:.2f} s"],
    ]
    for one in found["test_point_to_plane"]:
        n, ratio = one["params"]["n"], one["extra_info"]["ratio"]
        took = f"{ms('test_point_to_plane', n=n):.0f} ms, {ratio:.2f} of numpy with cKDTree beside it"
        times.append([f"ICP to planes, {n:,} points", took])
    for name, test in (
        ("10,000 closest points, 50,000 triangles", "test_closest_points_on_50000_triangles"),
        ("10,000 simulated registrations of 6 fiducials", "test_simulated_registrations"),
        ("TRE in 256 x 256 x 256 voxels", "test_a_map_of_256_cubed"),
    ):
        times.append([name, f"{ms(test):.0f} ms"])
    made = PAGE.format(thirty=thirty, words=WORDS, capture=capture, times=table(["what", "best"], times))
    return made, figure


if __name__ == "__main__":
    text, drawn = page(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    folder = Path(__file__).parent
    (folder / "registration.md").write_text(text, encoding="utf-8")
    viewing.save(drawn, folder / "capture_range.png", WORDS)
