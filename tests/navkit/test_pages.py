"""Pages made from what a benchmark run has written: each number stands in its own row and column."""

from itertools import product

from navkit.figures import registration, speed


def one(name, params, seconds=1.0, **told):
    return {"name": f"{name}[...]", "params": params, "stats": {"min": seconds}, "extra_info": told}


def speed_run():
    """Numbers that tell where they come from."""
    half = [
        one(
            "test_half_a_millimetre",
            {"method": m, "compounding": c, "orientation": o, "threads": t},
            mpixel_per_s=100 * a + 10 * b + t,
            of_copy_bandwidth=0.01 * a + 0.001 * t,
        )
        for (a, (m, c)), (b, o), t in product(
            enumerate([("pnn", "mean"), ("splat", "mean")], 1), enumerate(["middle", "reference"], 1), (2, 1)
        )
    ]
    grows = [
        one(
            "test_cost_grows_with_pixels_and_voxels",
            {"frames": f, "spacing_mm": s},
            mpixel_per_s=f + 4 * s,
        )
        for s, f in product((0.25, 0.5, 1.0), (100, 400, 1600))
    ]
    two = [
        one("test_two_channels", {"method": m, "passes": n}, mpixel_per_s=1000 * (m == "splat") + n)
        for m, n in product(("pnn", "splat"), (1, 2))
    ]
    by_voxel = [one("test_voxel_by_voxel", {"method": "dw"}, 2.345, voxels=16_600_000)]
    fills = [
        one(
            "test_holes_per_second",
            {"method": method, "reach": 2},
            sweep="plain",
            spacing_mm=0.5,
            holes=3_400_000,
            holes_per_s=41_300_000,
            times_plus=times,
        )
        for method, times in (("nearest", 5.8), ("convolution", None))
    ]
    cpu = {"brand_raw": "Some processor", "count": 2}
    return {"benchmarks": [*half, *grows, *two, *by_voxel, *fills], "machine_info": {"cpu": cpu}}


def test_the_speed_page_puts_every_number_where_it_belongs():
    lines = speed.page(speed_run()).splitlines()
    assert "| pnn, mean | 111 | 112 | 121 | 122 | 0.012 |" in lines
    assert "| splat, mean | 211 | 212 | 221 | 222 | 0.022 |" in lines
    assert "| splat | 1001 | 1002 |" in lines
    assert "| 400 | 401 | 402 | 404 |" in lines
    assert "| dw | 2.35 |" in lines or "| dw | 2.34 |" in lines
    assert "| plain | 0.5 | nearest | 2 | 3.4 | 41 | 5.8 |" in lines
    assert "| plain | 0.5 | convolution | 2 | 3.4 | 41 |  |" in lines
    assert any("16.6 million voxels" in line for line in lines)
    assert any("Some processor, 2 cores" in line for line in lines)


def test_the_registration_page_puts_every_number_where_it_belongs():
    runs = [
        one(
            "test_thirty_starts_of_5_4_mm",
            {"metric": "lc2"},
            9.0,
            mean_mm=0.57,
            worst_mm=0.58,
            back="30 of 30",
        ),
        one("test_lc2_at_clinical_size", {"threads": 1}, 8.0),
        one("test_lc2_at_clinical_size", {"threads": 2}, 6.4),
        one("test_point_to_plane", {"n": 5000, "rounds": 15}, 0.0141, ratio=0.49),
        one("test_closest_points_on_50000_triangles", None, 0.0099),
        one("test_simulated_registrations", None, 0.0388),
        one("test_a_map_of_256_cubed", None, 0.075),
    ]
    for (metric, search), (start, back) in product(
        (("lc2", 0), ("lc2", None), ("ssc", None)), ((15, 3), (2, 10))
    ):
        back = back - (metric == "ssc") - (search == 0)
        given = {"metric": metric, "search_mm": search, "start_mm": start}
        runs.append(one("test_capture_range", given, back=f"{back} of 10"))
    page, figure = registration.page({"benchmarks": runs})
    lines = page.splitlines()
    assert "| lc2 | 0.57 | 0.58 | 30 of 30 |" in lines
    assert "| start, mm | 2 | 15 |" in lines
    assert "| LC2 | 10 | 3 |" in lines
    assert "| LC2 without its search | 9 | 2 |" in lines
    assert "| SSC | 9 | 2 |" in lines
    assert "| LC2, rigid, 128 x 128 x 128 voxels of 2 mm | 6.4 s |" in lines
    assert "| LC2, the neuro case | 0.30 s |" in lines
    assert "| ICP to planes, 5,000 points | 14 ms, 0.49 of numpy with cKDTree beside it |" in lines
    assert "| 10,000 closest points, 50,000 triangles | 10 ms |" in lines
    drawn = {line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].lines}
    assert drawn["LC2"] == [[2, 10], [15, 3]]
    assert drawn["SSC"] == [[2, 9], [15, 2]]
