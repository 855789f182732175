"""Voxels are made where a picture needs them, and no picture depends on when."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter

from navkit.geometry import pose_from
from navkit.phantoms import TISSUES, Part, Phantom, ellipsoid, thicker, tube
from navkit.ultrasound import ProbeSector, SimulationSettings, simulate_frame
from navkit.ultrasound._bmode import prepare
from navkit.ultrasound._brick_kernels import ALONE
from navkit.ultrasound._bricks import _made, bricks_of

SECTOR = ProbeSector("sector", 1.0, (8.0, 50.0), (70.0, 3.0), (0.35, 0.35), (0, 139, 0, 139), (140, 140))
FAST = SimulationSettings.fast()


def phantom() -> Phantom:
    vessel = tube([[-40, -9, 25], [10, 4, 31], [40, 12, 40]], 4.0)
    parts = (
        Part("wall", thicker(vessel, 0.8), TISSUES["vessel wall"]),
        Part("vessel", vessel, TISSUES["blood"]),
        Part("cyst", ellipsoid([0, 12, 45], [7, 6, 5]), TISSUES["bile"]),
    )
    return Phantom(
        "bricks", parts, TISSUES["liver"], np.array([-33.0, -37, 1]), np.array([31.0, 35, 63]), seed=3
    )


def poses(n: int) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("xyz", np.linspace([-8, 12, 20], [10, -15, 31], n), degrees=True)
    return pose_from(turn, np.linspace([-14.0, 3, -6], [13.0, -5, 4], n)) @ SECTOR.t_M_p()


def frame(case: Phantom, m: np.ndarray, threads: int = 1) -> np.ndarray:
    return simulate_frame(case, SECTOR, m, rng=np.random.default_rng(5), settings=FAST, threads=threads)


def test_a_picture_does_not_depend_on_what_was_made_before():
    places = poses(5)
    one, other, whole = phantom(), phantom(), phantom()
    forwards = [frame(one, m) for m in places]
    backwards = [frame(other, m, threads=3) for m in places[::-1]][::-1]
    # every brick of the grid, so that a frame that read one which was not made would differ
    x, y, z = np.meshgrid(np.arange(-36, 37, 4.0), [-24.0, 0, 24], [-20.0, 10], indexing="ij")
    at = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    prepare(whole, SECTOR, pose_from([np.eye(3)] * len(at), at) @ SECTOR.t_M_p())
    (bricks,) = [b for key, b in _made.items() if key[0] == id(whole)]
    assert bricks.ready.mean() > 0.9
    assert np.array_equal(forwards, backwards)
    assert np.array_equal(forwards, [frame(whole, m) for m in places])
    assert len({f.tobytes() for f in forwards}) == 5


def test_only_what_a_picture_needs_is_made():
    case = phantom()
    prepare(case, SECTOR, poses(2)[:1])
    (bricks,) = [b for key, b in _made.items() if key[0] == id(case)]
    assert 0.05 < bricks.ready.mean() < 0.6


def test_bricks_hold_the_labels_a_smooth_impedance_and_what_is_alone():
    case = phantom()
    prepare(case, SECTOR, poses(9))
    (bricks,) = [b for key, b in _made.items() if key[0] == id(case)]
    ready = bricks.ready.repeat(16, 0).repeat(16, 1).repeat(16, 2)
    z, y, x = np.nonzero(ready)
    at = case.low + bricks.spacing_mm * np.stack([x, y, z], axis=1)
    labels = bricks.labels & (ALONE - 1)
    assert np.array_equal(labels[ready], case.labels(at))

    size = labels.shape
    zyx = np.stack(np.meshgrid(*(np.arange(n) for n in size), indexing="ij"), axis=-1)
    everywhere = case.labels(case.low + bricks.spacing_mm * zyx[..., ::-1])
    table = np.log([t.impedance_mrayl for t in case.tissues])
    smooth = gaussian_filter(table[everywhere], 0.8, mode="nearest", truncate=3.0)
    assert np.abs(bricks.impedance - smooth)[ready].max() < 1e-6

    alone = (bricks.labels >= ALONE) & ready
    wide = 2 * int(np.ceil(bricks.reach_mm / bricks.spacing_mm)) + 3
    truly = minimum_filter(everywhere, wide) == maximum_filter(everywhere, wide)
    assert not (alone & ~truly).any()
    assert alone.sum() > 0.5 * (truly & ready).sum()


def test_a_phantom_with_too_many_parts_is_refused():
    many = tuple(Part(f"p{k}", ellipsoid([0, 0, k], [1, 1, 1]), TISSUES["liver"]) for k in range(128))
    with pytest.raises(ValueError, match="has 128 parts; expected at most 127"):
        bricks_of(Phantom("many", many), 1.0, 2.0)
