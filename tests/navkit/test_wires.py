"""N-wires found in pictures: labelled as drawn, and as good as PLUS's own points on PLUS's recording."""

import itertools

import numpy as np
import pytest
from nwire_phantom import WIRES, each

from navkit.calibration import best_95, calibrate_probe_nwires, detect_wires, middle_points
from navkit.files import read_plus_config, read_sequence
from navkit.geometry import orthonormalised, transform_points

MM_PER_PX = 0.16


def drawn(rng, *, turn_deg=0.0, stretch=1.0, shares=(0.3, 0.6, 0.45), flip=(1, 1), hidden=(), specks=3):
    """A picture 400 x 300 of the phantom's section, and its dots (3, 3, 2); they have tails, as real ones."""
    outer = WIRES[:, [0, 2], 0][..., [0, 2]] - [45.0, 10.0]
    outer[..., 1] *= -1  # the first layer, z = 20, on top
    middle = outer[:, :1] + np.array(shares)[:, None, None] * (outer[:, 1:] - outer[:, :1])
    section = np.stack([outer[:, 0], middle[:, 0], outer[:, 1]], axis=1)
    c, s = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    dots = (section * flip * [stretch, 1.0]) @ np.array([[c, s], [-s, c]]) / MM_PER_PX + [203.0, 148.0]
    rows, columns = np.mgrid[:300, :400].astype(float)
    picture = np.abs(rng.normal(scale=4, size=rows.shape))

    def dot(column, row, brightness):
        spot = np.exp(-0.5 * (((columns - column) / 5) ** 2 + ((rows - row) / 2.2) ** 2))
        tail = 0.25 * np.exp(-0.5 * ((columns - column) / 3) ** 2) * ((rows > row) & (rows < row + 10))
        return brightness * np.maximum(spot, tail)

    for k, j in itertools.product(range(3), range(3)):
        if (k, j) not in hidden:
            picture += dot(*dots[k, j], rng.uniform(90, 230))
    for _ in range(specks):
        picture += dot(rng.uniform(20, 380), rng.choice([18.0, 285.0]), rng.uniform(60, 200))
    return np.clip(picture, 0, 255).astype(np.uint8), dots


@pytest.mark.parametrize("flip", list(itertools.product((1, -1), (1, -1))))
@pytest.mark.parametrize(("turn_deg", "stretch"), [(0.0, 1.0), (-18.0, 1.12), (24.0, 1.2)])
def test_every_dot_is_found_and_named_however_the_phantom_lies(rng, flip, turn_deg, stretch):
    shares = rng.uniform(0.25, 0.75, 3)
    frame, dots = drawn(rng, turn_deg=turn_deg, stretch=stretch, shares=shares, flip=flip)
    found = detect_wires(frame, WIRES, mm_per_px=MM_PER_PX)
    assert np.linalg.norm(found - dots, axis=-1).max() < 1.2
    assert np.abs(found - dots)[..., 0].max() < 0.7


@pytest.mark.slow
def test_of_100_random_pictures_none_is_misread(rng):
    for _ in range(100):
        frame, dots = drawn(
            rng,
            turn_deg=rng.uniform(-20, 20),
            stretch=rng.uniform(1, 1.15),
            shares=rng.uniform(0.25, 0.75, 3),
            flip=(rng.choice([1, -1]), 1),
            specks=rng.integers(0, 6),
        )
        found = detect_wires(frame, WIRES, mm_per_px=0.95 * MM_PER_PX)
        off = np.linalg.norm(found - dots, axis=-1)
        assert np.nanmax(off) < 2.0
        assert np.isfinite(off).mean() > 0.85


@pytest.mark.parametrize("hidden", [[(0, 1)], [(2, 2)], [(0, 0), (1, 1)], [(1, 0), (1, 1), (1, 2)]])
def test_a_wire_that_does_not_show_is_nan_and_the_others_are_named(rng, hidden):
    frame, dots = drawn(rng, turn_deg=9, flip=(-1, 1), hidden=hidden, specks=0)
    found = detect_wires(frame, WIRES, mm_per_px=MM_PER_PX)
    expected = dots.copy()
    for wire in hidden:
        expected[wire] = np.nan
    np.testing.assert_allclose(found, expected, atol=1.2)


def test_a_speck_near_a_hidden_wire_is_not_that_wire(rng):
    frame, dots = drawn(rng, hidden=[(1, 0)], specks=0)
    column, row = np.round(dots[1, 0] - [2.8 / MM_PER_PX, 0]).astype(int)
    frame[row - 3 : row + 4, column - 5 : column + 6] = 220
    found = detect_wires(frame, WIRES, mm_per_px=MM_PER_PX)
    assert np.isnan(found[1, 0]).all()
    assert np.isfinite(found).sum() == 16


def test_an_outer_dot_is_not_taken_for_a_middle_wire_that_runs_from_one_to_the_other(rng):
    full = WIRES.copy()
    full[:, 1, :, 0] = [[30, 60], [60, 30], [35, 60]]
    frame, dots = drawn(rng, hidden=[(0, 1)], specks=0)
    found = detect_wires(frame, full, mm_per_px=MM_PER_PX)
    assert np.isnan(found[0, 1]).all()
    assert np.linalg.norm(found - dots, axis=-1)[1:].max() < 1.2


def test_one_n_alone_needs_only_left_and_right(rng):
    frame, dots = drawn(rng, hidden=[(k, j) for k in (1, 2) for j in range(3)], flip=(-1, 1), specks=0)
    found = detect_wires(frame, WIRES[:1], mm_per_px=MM_PER_PX, mirrored=True)
    assert np.linalg.norm(found - dots[:1], axis=-1).max() < 1.2
    with pytest.raises(ValueError, match="looks the same"):
        detect_wires(frame, WIRES[:1], mm_per_px=MM_PER_PX)


def test_a_tail_below_a_dot_does_not_pull_its_centre(rng):
    off = []
    for _ in range(8):
        frame, dots = drawn(rng, shares=rng.uniform(0.25, 0.75, 3), specks=0)
        off.append(detect_wires(frame, WIRES, mm_per_px=MM_PER_PX) - dots)
    assert np.abs(np.mean(off, axis=(0, 1, 2))) == pytest.approx([0, 0], abs=0.3)


def test_the_clip_moves_nothing(rng):
    frame, dots = drawn(rng, turn_deg=7, specks=0)
    frame[:, :30] = 255
    found = detect_wires(frame, WIRES, mm_per_px=MM_PER_PX, clip_p=(31, 399, 12, 290))
    assert np.linalg.norm(found - dots, axis=-1).max() < 1.2


def test_a_picture_without_the_phantom_is_all_nan(rng):
    for frame in (np.zeros((300, 400)), rng.integers(0, 15, size=(300, 400))):
        assert np.isnan(detect_wires(frame, WIRES, mm_per_px=MM_PER_PX)).all()
    frame, _ = drawn(rng, hidden=list(itertools.product(range(3), range(3))), specks=5)
    assert np.isnan(detect_wires(frame, WIRES, mm_per_px=MM_PER_PX)).all()


def test_a_section_with_a_symmetry_must_be_told_how_it_lies(rng):
    alike = WIRES[:2].copy()  # two layers of the same width
    frame, dots = drawn(rng, hidden=[(2, 0), (2, 1), (2, 2)], flip=(-1, 1), specks=0)
    with pytest.raises(ValueError, match="looks the same mirrored or upside down"):
        detect_wires(frame, alike, mm_per_px=MM_PER_PX)
    with pytest.raises(ValueError, match="looks the same mirrored or upside down"):
        detect_wires(frame, alike, mm_per_px=MM_PER_PX, mirrored=True)
    found = detect_wires(frame, alike, mm_per_px=MM_PER_PX, mirrored=True, upside_down=False)
    assert np.linalg.norm(found - dots[:2], axis=-1).max() < 1.2
    turned = detect_wires(frame, alike, mm_per_px=MM_PER_PX, mirrored=False, upside_down=False)
    assert np.linalg.norm(turned - dots[:2, ::-1], axis=-1).max() < 1.2


def test_bad_input_is_one_sentence(rng):
    frame, _ = drawn(rng)
    with pytest.raises(ValueError, match=r"expected \(n_wires, 3, 2, 3\)"):
        detect_wires(frame, WIRES[0], mm_per_px=MM_PER_PX)
    with pytest.raises(ValueError, match="mm_per_px is 0"):
        detect_wires(frame, WIRES, mm_per_px=0)
    skew = WIRES.copy()
    skew[0, 2, 1, 0] += 20
    with pytest.raises(ValueError, match="outer wires of wires_phantom are not parallel"):
        detect_wires(frame, skew, mm_per_px=MM_PER_PX)


def test_from_plus_pictures_alone_the_calibration_is_as_good_as_plus_own(navkit_data):
    folder = navkit_data / "plus" / "fcal20"
    config = read_plus_config(folder / "PlusDeviceSet_fCal_Sim_SpatialCalibration_2.0.xml")
    looking = {"mm_per_px": config.mm_per_px, "clip_p": config.clip_p}

    def seen(part):
        sequence = read_sequence(folder / f"fCal_Test_{part}_3NWires_fCal2.0.igs.mha")
        dots = np.array([detect_wires(frame, config.wires, **looking) for frame in sequence.frames])
        return dots, orthonormalised(sequence.spaces(config).get("Probe", "Phantom"))

    dots, s_M_phantom = seen("Calibration")
    assert np.isfinite(dots).all(axis=(1, 2, 3)).mean() >= 0.95
    result = calibrate_probe_nwires(dots, config.wires, s_M_phantom)
    dots, s_M_phantom = seen("Validation")
    assert np.isfinite(dots).all(axis=(1, 2, 3)).mean() >= 0.95
    there = each(s_M_phantom, middle_points(dots, config.wires))
    here = transform_points(result.s_M_p, np.pad(dots[:, :, 1], ((0, 0), (0, 0), (0, 1))))
    mean, _ = best_95(np.linalg.norm(here - there, axis=-1))
    assert mean <= 0.539932 * 1.05
