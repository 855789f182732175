"""Simulated B-mode against the physics: speckle, interfaces, shadows, distances, in known scenes."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from navkit.geometry import pose_from, transform_points
from navkit.phantoms import TISSUES, Part, Phantom, Shape, box, half_space, sphere
from navkit.ultrasound import (
    ProbeSector,
    SimulationSettings,
    scan_lines,
    simulate_envelope,
    simulate_frame,
    simulate_sweep,
)
from navkit.ultrasound._bmode import prepare
from navkit.ultrasound._bricks import bricks_of
from navkit.ultrasound._plan import plan_frame

LINEAR = ProbeSector("linear", 36.0, (0.5, 44.0), (90.5, 4.0), (0.21, 0.12), (0, 180, 0, 380), (384, 182))
CURVED = ProbeSector("sector", 1.1, (15.0, 62.0), (149.0, -60.0), (0.23, 0.2), (0, 299, 0, 259), (260, 300))
BARE = {"noise_db": -300.0, "clutter_db": -np.inf, "ring_down_mm": 1e-3, "reverberation_db": -np.inf}
FAST = replace(SimulationSettings.fast(focus_mm=20.0), **BARE)
FINE = replace(SimulationSettings.fine(focus_mm=20.0), **BARE)
FWHM = 2 * np.sqrt(2 * np.log(2))


def block(*parts: tuple[str, Shape], background: str = "agar", size: float = 60.0, seed: int = 5) -> Phantom:
    """A phantom of size x 50 x 70 mm; the tissues by name."""
    solids = [Part(f"{k} {name}", shape, TISSUES[name]) for k, (name, shape) in enumerate(parts)]
    nothing = Part("nothing", sphere([999.0, 999.0, 999.0], 1.0), TISSUES[background])
    return Phantom(
        "block",
        (nothing, *solids),
        TISSUES[background],
        low=np.array([-size / 2, -25.0, -5.0]),
        high=np.array([size / 2, 25.0, 65.0]),
        seed=seed,
    )


@cache
def agar(seed: int = 5) -> Phantom:
    return block(seed=seed)


def looking_down(sector: ProbeSector, *, at=(0.0, 0.0, 0.0), tilt=(0.0, 0.0, 0.0)) -> np.ndarray:
    """d_M_p of a probe whose face is at z = 0 of the phantom, the beam along z."""
    d_M_t = pose_from(Rotation.from_rotvec(tilt), np.asarray(at) - [0, 0, sector.depth_mm[0]])
    return d_M_t @ sector.t_M_p()


def envelope_of(phantom, sector=LINEAR, *, settings=FINE, m=None, threads=1) -> np.ndarray:
    m = looking_down(sector) if m is None else m
    rng = np.random.default_rng(0)
    e = simulate_envelope(phantom, sector, m, rng=rng, settings=settings, threads=threads).amplitude
    return np.where(np.arange(e.shape[1]) > 0, e.astype(float), 0.0)  # without the probe's own face


def along(depths, sector=LINEAR, settings=FINE):
    """The sample at each depth."""
    return np.searchsorted(scan_lines(sector, settings).depth_mm, depths)


def db(x) -> float:
    return float(20 * np.log10(x))


# ---- speckle ---------------------------------------------------------------------------------------------


@cache
def speckle(kind: str, preset: str) -> tuple[np.ndarray, ProbeSector, SimulationSettings]:
    """Envelopes (frames, lines, samples) of homogeneous tissue, seen from places far apart."""
    sector = LINEAR if kind == "linear" else CURVED
    settings = FINE if preset == "fine" else FAST
    tilts = [(0.1 * k, -0.07 * k, 0.3 * k) for k in range(6)]
    frames = [
        envelope_of(agar(), sector, settings=settings, m=looking_down(sector, at=(3 * k, 2 * k, k), tilt=t))
        for k, t in enumerate(tilts)
    ]
    return np.array(frames)[:, 8:-8, 8:-8], sector, settings


@pytest.mark.parametrize("preset", ["fast", "fine"])
@pytest.mark.parametrize("kind", ["linear", "sector"])
def test_speckle_is_fully_developed(kind, preset):
    """Rayleigh: mean over standard deviation 1.913, log-envelope 5.57 dB (Wagner 1983)."""
    envelope, *_ = speckle(kind, preset)
    flat = envelope / envelope.mean(axis=(0, 1))
    assert flat.mean() / flat.std() == pytest.approx(1.913, abs=0.05)
    assert (20 * np.log10(flat)).std() == pytest.approx(5.57, abs=0.3)


@pytest.mark.parametrize("preset", ["fast", "fine"])
@pytest.mark.parametrize("kind", ["linear", "sector"])
def test_homogeneous_tissue_is_equally_bright_everywhere(kind, preset):
    """Not brighter near a curved apex or at the focus: the TGC is the tissue's own attenuation."""
    envelope, _, settings = speckle(kind, preset)
    bands = np.array_split(np.sqrt((envelope**2).mean(axis=(0, 1))), 8)
    level = np.array([20 * np.log10(b.mean()) for b in bands])
    expected = -20 + settings.gain_db + db(np.sqrt(4 / np.pi))
    assert np.abs(level - expected).max() < 0.7
    lines = 10 * np.log10((envelope**2).mean(axis=(0, 2)))
    assert np.ptp(np.convolve(lines, np.ones(20) / 20, "valid")) < 1.5


def half_width(covariance: np.ndarray, step: float) -> float:
    """Full width at half maximum of an autocovariance given from lag 0."""
    c = covariance / covariance[0]
    k = int(np.argmax(c < 0.5))
    return 2 * step * (k - 1 + (c[k - 1] - 0.5) / (c[k - 1] - c[k]))


def autocovariance(x: np.ndarray, axis: int, lags: int) -> np.ndarray:
    x = np.moveaxis(x - x.mean(), axis, 0)
    return np.array([np.mean(x[: len(x) - k] * x[k:]) for k in range(lags)])


@pytest.mark.parametrize("preset", ["fast", "fine"])
@pytest.mark.parametrize("kind", ["linear", "sector"])
def test_the_speckles_size_is_the_stated_resolution(kind, preset):
    envelope, sector, settings = speckle(kind, preset)
    lines = scan_lines(sector, settings)
    intensity = envelope**2
    axial = half_width(autocovariance(intensity, 2, 20), lines.depth_mm[1])
    assert axial == pytest.approx(FWHM * lines.axial_mm, rel=0.1)
    for depth in (8.0, 20.0, 36.0):
        s = int(along(depth, sector, settings))
        band = intensity[:, :, s - 40 : s + 24]
        wide = half_width(autocovariance(band, 1, 30), lines.line_spacing_mm[s])
        assert wide == pytest.approx(FWHM * lines.lateral_mm[s], rel=0.1), depth


def test_speckle_decorrelates_across_the_slice_as_its_thickness_says():
    """The correlation of intensity at shift x is exp(-x^2 / (2 sd^2)) for a Gaussian slice of sd."""
    settings = replace(FINE, focus_zone_mm=1e9)
    first = envelope_of(agar(), settings=settings)[:, 20:] ** 2
    for shift in (0.3, 0.6, 1.2):
        there = envelope_of(agar(), settings=settings, m=looking_down(LINEAR, at=(shift, 0, 0)))[:, 20:] ** 2
        r = np.corrcoef(first.ravel(), there.ravel())[0, 1]
        assert r == pytest.approx(np.exp(-(shift**2) / (2 * settings.elevation_mm**2)), abs=0.08), shift


@pytest.mark.parametrize("settings", [FAST, FINE])
def test_frames_that_see_the_same_place_agree(settings):
    """A probe moved and turned within its own plane: the same voxels have the same speckle."""
    settings = replace(settings, focus_zone_mm=1e9)
    turned = looking_down(LINEAR, at=(0.0, 2.37, 1.71), tilt=(0.06, 0.0, 0.0))
    still = looking_down(LINEAR)
    one, two = (envelope_of(agar(), settings=settings, m=m) for m in (still, turned))
    lines = scan_lines(LINEAR, settings)
    d_M_t = still @ np.linalg.inv(LINEAR.t_M_p())
    points_d = transform_points(d_M_t, lines.points_t()[20:-20, 60:-60])
    points_t = transform_points(LINEAR.t_M_p() @ np.linalg.inv(turned), points_d)
    where = [
        (-points_t[..., 1] - lines.across[0]) / (lines.across[1] - lines.across[0]),
        (points_t[..., 2] - LINEAR.depth_mm[0]) / lines.depth_mm[1],
    ]
    seen = map_coordinates(two, where, order=3)
    assert np.corrcoef(one[20:-20, 60:-60].ravel(), seen.ravel())[0, 1] > 0.9
    other = envelope_of(agar(6), settings=settings)
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.06


def test_the_speckle_does_not_repeat():
    """At no shift does a frame look like itself, although the tile of the field is 10 mm wide."""
    e = envelope_of(agar())[:, 20:]
    f = np.fft.rfft2(e - e.mean(), s=(2 * e.shape[0], 2 * e.shape[1]))
    pattern = np.fft.irfft2(np.abs(f) ** 2)
    overlap = np.fft.irfft2(np.abs(np.fft.rfft2(np.ones_like(e), s=pattern.shape)) ** 2)
    r = np.where(overlap > 0.15 * e.size, pattern / np.maximum(overlap, 1) / e.var(), 0)
    r[:12, :24] = r[-12:, :24] = r[:12, -24:] = r[-12:, -24:] = 0
    assert r.max() < 0.35


# ---- interfaces ------------------------------------------------------------------------------------------


def echo_of_interface(above: str, below: str, *, tilt: float = 0.0, **changed: float) -> float:
    """Amplitude of the echo of one plane at 20.3 mm, weakened by nothing above it."""
    quiet = replace(TISSUES[above], echo_db=-np.inf, attenuation_db_cm_mhz=0.0, specular=0.2)
    deep = replace(TISSUES[below], echo_db=-np.inf, specular=0.2)
    plane = half_space([0, 0, 20.3], [0, 0, -1.0])
    phantom = Phantom(
        "plane", (Part("deep", plane, deep),), quiet, np.array([-5, -25, -5.0]), np.array([5, 25, 45.0])
    )
    settings = replace(FINE, **{"tgc_db_cm_mhz": 0.0, "gain_db": 0.0, "specular_db": 0.0, **changed})
    m = looking_down(LINEAR, at=(0, 20.3 * np.sin(tilt), 20.3 * (1 - np.cos(tilt))), tilt=(tilt, 0, 0))
    e = envelope_of(phantom, settings=settings, m=m)
    middle = len(e) // 2
    return float(e[middle, slice(*along((18.0, 23.0)))].max())


@pytest.mark.parametrize(
    ("above", "below", "level_db"),
    [("white matter", "csf", -29.0), ("liver", "fat", -20.0), ("grey matter", "bone", -3.7)],
)
def test_interfaces_reflect_as_their_impedances_say(above, below, level_db):
    total = echo_of_interface("muscle", "air")
    assert db(total) == pytest.approx(-20.0, abs=0.3), "as a tissue of 0 dB where specular_db is 0"
    assert db(echo_of_interface(above, below) / total) == pytest.approx(level_db, abs=1.0)
    a, b = TISSUES[above].impedance_mrayl, TISSUES[below].impedance_mrayl
    assert db(echo_of_interface(above, below) / total) == pytest.approx(db(abs(a - b) / (a + b)), abs=0.4)


def test_an_oblique_interface_is_darker_and_a_mirror_more_so():
    """By the cosines, and because a wide beam meets an oblique plane at many depths at once."""
    straight, oblique = (echo_of_interface("liver", "fat", tilt=t) for t in (0.0, 0.4))
    cos, lines = np.cos(0.4), scan_lines(LINEAR, FINE)
    spread = np.hypot(1, lines.lateral_mm[along(20.3)] * np.tan(0.4) / lines.axial_mm)
    assert oblique / straight == pytest.approx((0.2 * cos**16 + 0.8 * cos**2) / spread, rel=0.1)


# ---- shadow, enhancement, tails --------------------------------------------------------------------------


def band(e: np.ndarray, mm: tuple[float, float], depth: tuple[float, float]) -> float:
    """Mean amplitude between two places across and two depths."""
    lines = scan_lines(LINEAR, FINE)
    a, b = np.searchsorted(lines.across, mm)
    return float(e[a:b, slice(*along(depth))].mean())


@pytest.mark.parametrize(("tissue", "at_least_db"), [("bone", 40.0), ("air", 60.0)])
def test_bone_and_air_cast_a_shadow(tissue, at_least_db):
    e = envelope_of(block((tissue, box([-40, -4, 14], [40, 5, 19]))))
    assert db(band(e, (-14, -9), (24, 40)) / band(e, (-2, 2), (24, 40))) > at_least_db
    assert e[len(e) // 2, slice(*along((13, 15)))].max() > 1.0, "its face is white"


def test_behind_fluid_tissue_is_brighter_by_the_attenuation_that_was_not():
    """8 mm of bile instead of agar: 2 x 0.8 cm x 5 MHz x 0.49 dB."""
    e = envelope_of(block(("bile", box([-40, -5, 12], [40, 5, 20])))) ** 2
    gained = 10 * np.log10(band(e, (-3, 3), (22, 42)) / band(e, (9, 15), (22, 42)))
    assert gained == pytest.approx(2 * 0.8 * 5 * 0.49, abs=0.7)
    assert db(band(np.sqrt(e), (-3, 3), (14, 18)) / band(np.sqrt(e), (9, 15), (14, 18))) < -40


def test_steel_has_a_comets_tail_with_the_period_of_its_thickness():
    """Echoes to and fro in 6 mm of steel: 6 mm x 1540 / 5900 = 1.57 mm apart, each weaker."""
    e = envelope_of(block(("steel", box([-40, -9, 14], [40, 9, 20])), background="water"))
    line = e[len(e) // 2]
    lines = scan_lines(LINEAR, FINE)
    tail = line[slice(*along((16.5, 30)))]
    power = np.abs(np.fft.rfft(tail - tail.mean(), 8192))
    period = 1 / np.fft.rfftfreq(8192, lines.depth_mm[1])[40:][np.argmax(power[40:])]
    assert period == pytest.approx(6 * 1540 / 5900, rel=0.03)
    near, far = (line[slice(*along(d))].max() for d in ((16.5, 19), (26, 30)))
    assert 0.01 * near < far < 0.7 * near
    bone = envelope_of(block(("bone", box([-40, -9, 14], [40, 9, 20])), background="water"))
    assert bone[len(e) // 2, slice(*along((16.5, 30)))].max() < 0.01 * near


def test_a_strong_echo_comes_again_at_twice_its_depth():
    settings = replace(FINE, reverberation_db=-20.0, tgc_db_cm_mhz=0.0)
    scene = block(("air", half_space([0, 0, 17.0], [0, 0, -1.0])), background="water")
    line = envelope_of(scene, settings=settings)[20]
    depth = scan_lines(LINEAR, settings).depth_mm
    again = slice(*along((30, 38)))
    assert depth[again][np.argmax(line[again])] == pytest.approx(34.0, abs=0.2)
    assert db(line[again].max() / line.max()) == pytest.approx(-20.0, abs=0.5)
    assert envelope_of(scene)[20, again].max() < 1e-3, "and never where it is switched off"


def test_clutter_noise_and_the_face_are_switches():
    water = block(background="water")
    assert envelope_of(water)[:, 1:].max() < 1e-6
    hazy = envelope_of(water, settings=replace(FINE, clutter_db=-30.0))
    assert db(hazy[:, 5:12].mean()) == pytest.approx(-31.5, abs=1.5)
    assert hazy[:, slice(*along((18, 19)))].mean() < 0.01 * hazy[:, 5:12].mean()
    noisy = envelope_of(water, settings=replace(FINE, noise_db=-50.0))
    assert 10 * np.log10((noisy[:, -9:] ** 2).mean()) == pytest.approx(-50.0, abs=0.3)
    assert noisy[:, 1:9].mean() < 0.1 * noisy[:, -9:].mean(), "the TGC amplifies it"


def test_a_wire_is_where_it_is_and_may_have_a_tail():
    y, z = 3.3, 21.7
    wire = np.array([[[-20.0, y, z], [20.0, y, z]]])
    phantom = replace(block(background="water"), wires=wire)
    settings = replace(FINE, gain_db=0.0, tgc_db_cm_mhz=0.0)
    e = envelope_of(phantom, settings=settings)
    lines = scan_lines(LINEAR, settings)
    line, sample = np.unravel_index(np.argmax(e), e.shape)
    assert lines.across[line] == pytest.approx(-y, abs=0.1)
    assert lines.depth_mm[sample] == pytest.approx(z, abs=0.05)
    assert e.max() == pytest.approx(1.0, abs=0.05)
    wide = (e[:, sample] > e.max() / 2).sum() * (lines.across[1] - lines.across[0])
    assert wide == pytest.approx(FWHM * lines.lateral_mm[sample], abs=0.25)
    tailed = envelope_of(phantom, settings=replace(settings, comet_mm=1.5, comet_decay=0.6))
    third = np.searchsorted(lines.depth_mm, z + 3.0)
    assert tailed[line, third - 2 : third + 3].max() == pytest.approx(0.36, abs=0.03)


# ---- texture ---------------------------------------------------------------------------------------------


@cache
def textured(seed: int = 5) -> Phantom:
    flesh = replace(TISSUES["agar"], texture_db=4.0, texture_mm=(9.0, 2.0, 4.0))
    plain = block(("agar", box([-99, 10, -99], [99, 99, 99])), seed=seed)
    return replace(plain, background=flesh, parts=(*plain.parts[:1], *plain.parts[1:]))


def texture_of(phantom: Phantom, voxel_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """The level (z, y, x) of texture in dB on all voxels, and the voxels' labels."""
    settings = replace(FAST, voxel_mm=voxel_mm)
    plan = plan_frame(LINEAR, settings)
    x, y = np.meshgrid(np.arange(-30, 31, 3.0), [-14.0, 14.0], indexing="ij")
    at = np.stack([x, y, 0 * x], axis=-1).reshape(-1, 3)
    prepare(phantom, LINEAR, np.stack([looking_down(LINEAR, at=p) for p in at]), settings=settings)
    bricks = bricks_of(phantom, voxel_mm, plan.slice_mm)
    n = np.floor(np.array([44.0, 50, 60]) / voxel_mm).astype(int)  # z, y, x that all frames reach
    z = int(5 / voxel_mm) + 1
    inner = (slice(z, n[0]), slice(0, n[1]), slice(0, n[2]))
    return bricks.texture[inner] * 0.1, bricks.labels[inner] & 127


def test_a_texture_has_its_tissues_strength_and_grain():
    level, label = texture_of(textured(), 0.4)
    flesh = label == 0
    assert 0.6 < flesh.mean() < 0.8
    assert not level[~flesh].any(), "agar has none"
    assert level[flesh].std() == pytest.approx(4.0, rel=0.06)
    assert (10 ** (level[flesh] / 10)).mean() == pytest.approx(1.0, abs=0.15), "of power the mean is kept"
    solid = level[:, : int(30 / 0.4)]
    for axis, size in ((2, 9.0), (1, 2.0), (0, 4.0)):
        assert half_width(autocovariance(solid, axis, 40), 0.4) == pytest.approx(size, rel=0.15), axis


def test_a_texture_belongs_to_the_phantom_and_not_to_the_grid():
    fine, _ = texture_of(textured(), 0.4)
    fine = fine[1::2, ::2, ::2][:, :30]  # 5.2 mm is the first coarse plane that is read
    coarse, _ = texture_of(textured(), 0.8)
    z = round((0.4 * (int(5 / 0.4) + 2) - 0.8 * (int(5 / 0.8) + 1)) / 0.8)
    n = min(len(fine), len(coarse) - z)
    same = coarse[z : z + n, : fine.shape[1], : fine.shape[2]]
    assert np.array_equal(fine[:n, :, : same.shape[2]], same)
    assert same.std() > 3
    other, _ = texture_of(textured(6), 0.8)
    assert abs(np.corrcoef(other.ravel(), coarse.ravel())[0, 1]) < 0.1


def test_a_picture_shows_the_texture_beside_even_tissue():
    """Of levels averaged over many speckles: as the texture where there is one, and no more where not."""
    settings = replace(FAST, focus_zone_mm=1e9, elevation_mm=0.2)
    e = envelope_of(textured(), settings=settings)
    even = envelope_of(agar(), settings=settings)
    lines = scan_lines(LINEAR, settings)
    textured_lines = lines.points_t()[:, 0, 1] < 8  # y of the phantom: looking down, d_M_t turns nothing
    assert 0.6 < textured_lines.mean() < 0.9
    assert np.array_equal(e[~textured_lines][:1], even[~textured_lines][:1])
    ratio = 20 * np.log10(np.maximum(e[textured_lines, 20:], 1e-9) / even[textured_lines, 20:])
    assert np.median(np.abs(ratio)) > 1.5
    d = lines.points_t()[textured_lines, 20:] - [0, 0, LINEAR.depth_mm[0]]
    bricks = bricks_of(textured(), settings.voxel_mm, plan_frame(LINEAR, settings).slice_mm)
    i = np.rint(transform_points(bricks.v_M_d, d)).astype(int)
    truth = bricks.texture[i[..., 2], i[..., 1], i[..., 0]] * 0.1
    assert np.corrcoef(ratio.ravel(), truth.ravel())[0, 1] > 0.8


# ---- every switch does what it says ------------------------------------------------------------------------


def mean_level(depth: tuple[float, float], phantom: Phantom | None = None, **changed: float) -> float:
    """Mean power, dB, of agar in a band of depths."""
    settings = replace(FAST, **changed)
    e = envelope_of(phantom or agar(), settings=settings)
    return 10 * np.log10((e[:, slice(*along(depth, settings=settings))] ** 2).mean())


def test_gain_is_added():
    assert mean_level((15, 25), gain_db=1.5) - mean_level((15, 25), gain_db=-8.0) == pytest.approx(9.5)


@pytest.mark.parametrize(("frequency", "tgc"), [(5.0, 0.0), (2.5, 0.0), (5.0, 0.8), (2.5, 0.8)])
def test_frequency_and_tgc_make_the_slope_over_depth(frequency, tgc):
    """There and back over 20 mm: 2 x 2 cm x MHz x (TGC - 0.5 dB), beside the same tissue without."""
    change = {"frequency_mhz": frequency, "tgc_db_cm_mhz": tgc}
    steep = mean_level((30, 32), **change) - mean_level((10, 12), **change)
    level = mean_level((30, 32)) - mean_level((10, 12))
    assert steep - level == pytest.approx(4 * frequency * (tgc - 0.5), abs=0.3)


def test_the_beam_is_narrowest_at_the_focus():
    lines = scan_lines(LINEAR, replace(FINE, focus_mm=18.0, focus_zone_mm=15.0))
    for width, least in ((lines.lateral_mm, FINE.lateral_mm), (lines.elevation_mm, FINE.elevation_mm)):
        assert lines.depth_mm[width.argmin()] == pytest.approx(18.0, abs=0.1)
        assert width.min() == pytest.approx(least, rel=1e-3)
        assert np.interp(33.0, lines.depth_mm, width) == pytest.approx(np.sqrt(2) * least, rel=1e-3)


def test_interfaces_are_as_bright_as_specular_db_says():
    usual, bright = (echo_of_interface("liver", "fat", specular_db=level) for level in (0.0, 13.0))
    assert db(bright / usual) == pytest.approx(13.0, abs=0.01)


@pytest.mark.parametrize(("rough", "mirror"), [(2.0, 16.0), (6.0, 16.0), (2.0, 40.0)])
def test_rough_and_mirror_power_darken_an_oblique_interface(rough, mirror):
    powers = {"rough_power": rough, "mirror_power": mirror}
    flat = echo_of_interface("liver", "fat", tilt=0.4, rough_power=0.0, mirror_power=0.0)
    oblique = echo_of_interface("liver", "fat", tilt=0.4, **powers)
    cos = np.cos(0.4)
    assert oblique / flat == pytest.approx(0.2 * cos**mirror + 0.8 * cos**rough, rel=0.01)


def test_clutter_fades_over_clutter_mm_and_the_face_over_ring_down_mm():
    water, m = block(background="water"), looking_down(LINEAR)
    for name, other in (("clutter_mm", {"clutter_db": -20.0}), ("ring_down_mm", {})):
        settings = replace(FINE, **{name: 2.5}, **other)
        rng = np.random.default_rng(0)
        e = simulate_envelope(water, LINEAR, m, rng=rng, settings=settings).amplitude.mean(axis=0)
        near, far = (e[slice(*along(d))].mean() for d in ((3, 4), (8, 9)))
        assert near / far == pytest.approx(np.exp(5 / 2.5), rel=0.12), name


@pytest.mark.parametrize("edge", [0.4, 1.6])
def test_a_shadows_edge_is_as_wide_as_it_says(edge):
    """Dark to bright as a Gaussian's integral: 10 to 90 % in 2.56 standard deviations."""
    settings = replace(FINE, shadow_edge_mm=edge)
    scene = block(("bone", box([-40, -60, 10], [40, 0, 12])))
    shadow = envelope_of(scene, settings=settings)[:, slice(*along((16, 40)))]
    share = (shadow**2).mean(axis=1) / (
        envelope_of(agar(), settings=settings)[:, slice(*along((16, 40)))] ** 2
    ).mean()
    across = scan_lines(LINEAR, settings).across  # to the right is -y
    step = np.sqrt(share)
    a, b = (np.interp(x, np.maximum.accumulate(step[::-1]), across[::-1]) for x in (0.16, 0.84))
    assert abs(a - b) / 2 == pytest.approx(edge, abs=0.35)


@pytest.mark.parametrize("angle", [0.0, 0.25, 0.5])
def test_a_wire_that_is_not_square_to_the_beam_is_darker(angle):
    way = 20 * np.array([np.cos(angle), 0, np.sin(angle)])
    phantom = replace(block(background="water"), wires=np.array([[0, 2.0, 21.0]]) + np.array([[-way, way]]))
    still = {"gain_db": 0.0, "tgc_db_cm_mhz": 0.0}
    usual, blind = (
        envelope_of(phantom, settings=replace(FINE, **still, wire_power=p)).max() for p in (8.0, 0.0)
    )
    assert usual / blind == pytest.approx(np.cos(angle) ** 8, rel=1e-5)


def test_the_dynamic_range_is_what_255_grey_levels_span(rng):
    """A pixel of half the range is 128, whatever the range."""
    m = looking_down(LINEAR)
    for span in (40.0, 70.0):
        settings = replace(FAST, dynamic_range_db=span)
        frame = simulate_frame(agar(), LINEAR, m, rng=rng, settings=settings)
        e = envelope_of(agar(), settings=settings)
        level = np.clip(1 + 20 * np.log10(np.maximum(e[:, 10:], 1e-9)) / span, 0, 1).mean()
        assert frame[30:370, 20:160].mean() / 255 == pytest.approx(level, abs=0.01)


@pytest.mark.parametrize(("true", "assumed"), [(1450.0, 1540.0), (1540.0, 1480.0)])
def test_depths_are_stretched_by_assumed_over_true(true, assumed):
    phantom = replace(block(background="water"), wires=np.array([[[-20.0, 0, 20], [20.0, 0, 20]]]))
    settings = replace(FINE, true_speed_m_s=true, assumed_speed_m_s=assumed, tgc_db_cm_mhz=0.0)
    e = envelope_of(phantom, settings=settings)
    peak = scan_lines(LINEAR, settings).depth_mm[e[len(e) // 2].argmax()]
    assert peak == pytest.approx(20.0 * assumed / true, abs=0.05)


def test_sampling_follows_the_resolution_up_to_its_limits():
    lines = scan_lines(LINEAR, replace(FINE, lateral_mm=1.2, axial_mm=0.3, samples_per_sd=2.0))
    assert np.diff(lines.across)[0] == pytest.approx(1.2 / 2, rel=0.02)
    assert np.diff(lines.depth_mm)[0] == pytest.approx(0.3 / 2, rel=0.02)
    few = scan_lines(LINEAR, replace(FINE, max_lines=20, max_samples=90))
    assert (len(few.across), len(few.depth_mm)) == (20, 90)
    assert few.axial_mm == pytest.approx(43.5 / 89)
    assert few.lateral_mm.min() == pytest.approx(36.0 / 19)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_few_layers_still_give_speckle_of_the_right_level(layers):
    level = mean_level((12, 40), max_slices=layers)
    assert level == pytest.approx(mean_level((12, 40)), abs=0.5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"frequency_mhz": 5e6}, r"frequency_mhz is 5e\+06; expected 0.5 to 100. Is it in another unit\?"),
        ({"true_speed_m_s": 1.54}, "true_speed_m_s is 1.54; expected 300 to 7000"),
        ({"axial_mm": 0.0}, "axial_mm is 0; expected 0.005 to 10"),
        ({"gain_db": np.nan}, "gain_db is nan; expected -200 to 200"),
        ({"reverberation_db": 3.0}, "reverberation_db is 3; expected -inf to -0.1"),
        ({"max_slices": 0}, "max_slices is 0; expected 1 to 64"),
        ({"max_lines": 20.5}, "max_lines is 20.5; expected a whole number"),
    ],
)
def test_impossible_settings_are_one_sentence(wrong, message):
    with pytest.raises(ValueError, match=message):
        SimulationSettings(**wrong)
    with pytest.raises(ValueError, match="another unit"):
        SimulationSettings.fast(frequency_mhz=5e6)


# ---- sizes -----------------------------------------------------------------------------------------------


def faces(settings: SimulationSettings) -> tuple[float, float]:
    """Depths at which the near and far wall of a bile cyst from 12 to 26.4 mm are drawn."""
    e = envelope_of(block(("bile", sphere([0, 0, 19.2], 7.2))), settings=settings)
    row = e[len(e) // 2 - 2 : len(e) // 2 + 3].mean(axis=0)
    depth = scan_lines(LINEAR, settings).depth_mm
    near, far = (np.where(np.abs(depth - z) < 1.5, row, 0).argmax() for z in (12.0, 26.4))
    return float(depth[near]), float(depth[far])


@pytest.mark.parametrize("settings", [FAST, FINE])
def test_a_diameter_is_right_within_the_resolution(settings):
    near, far = faces(settings)
    resolution = FWHM * scan_lines(LINEAR, settings).axial_mm
    assert far - near == pytest.approx(14.4, abs=resolution)
    assert (near + far) / 2 == pytest.approx(19.2, abs=resolution / 2)


@pytest.mark.parametrize("speed", [1450.0, 1620.0])
def test_a_wrong_speed_of_sound_stretches_depths_by_exactly_its_ratio(speed):
    wires = np.array([[[-20.0, 0, z], [20.0, 0, z]] for z in (10.0, 24.0)])
    phantom = replace(block(background="water"), wires=wires)
    settings = replace(FINE, true_speed_m_s=speed, tgc_db_cm_mhz=0.0)
    e = envelope_of(phantom, settings=settings)
    row, depth = e[len(e) // 2], scan_lines(LINEAR, settings).depth_mm
    peaks = []
    for z in (10.0, 24.0):
        near = np.abs(depth - z * 1540 / speed) < 0.6
        peaks.append(np.average(depth[near], weights=row[near] ** 2))
    assert np.diff(peaks)[0] == pytest.approx(14.0 * 1540 / speed, rel=2e-3)


# ---- frames ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sector", [LINEAR, CURVED])
def test_the_picture_puts_a_wire_in_its_pixel(sector, rng):
    wire = np.array([[[-20.0, 5.1, 21.7], [20.0, 5.1, 21.7]]])
    phantom = replace(block(background="water"), wires=wire)
    m = looking_down(sector)
    frame = simulate_frame(phantom, sector, m, rng=rng, settings=replace(FINE, dynamic_range_db=30)).astype(
        float
    )
    rows, columns = np.indices(frame.shape)
    place = transform_points(m, np.stack([columns, rows, 0 * rows], axis=-1).astype(float))
    weight = frame**3 * (np.linalg.norm(place - [0, 5.1, 21.7], axis=-1) < 4)  # not the probe's own face
    peak = [np.average(columns, weights=weight), np.average(rows, weights=weight)]
    found = transform_points(m, [*peak, 0.0])
    assert found[1:] == pytest.approx([5.1, 21.7], abs=0.15)
    assert not frame[~sector.mask()].any()


@pytest.mark.parametrize("sector", [LINEAR, CURVED])
def test_samples_lie_where_the_pixels_about_them_do(sector):
    """The face and the deepest arc end at the mask's corners; the first line is the left one, +y."""
    points = scan_lines(sector).points_t()
    rows, columns = np.nonzero(sector.mask())
    pixels_t = sector.pixels_to_tool(np.stack([columns, rows], axis=-1))
    assert points[0, :, 1].min() > 0 > points[-1, :, 1].max()
    assert not points[..., 0].any()
    inner = points[::9, 5:-5:9].reshape(-1, 3)
    inner = inner[inner[:, 2] < pixels_t[:, 2].max() - 0.3]
    gap = np.array([np.linalg.norm(pixels_t - p, axis=1).min() for p in inner[::7]])
    assert gap.max() < 0.6 * np.hypot(*sector.spacing_mm)
    radius = np.linalg.norm(points[:, -1], axis=1) if sector.kind == "sector" else points[:, -1, 2]
    assert radius == pytest.approx(sector.depth_mm[1])


def test_a_frame_is_a_pure_function_whatever_the_threads():
    scene = block(("bile", sphere([0, 0, 19.2], 7.2)))
    m = looking_down(CURVED)
    frames = [
        simulate_frame(scene, CURVED, m, rng=np.random.default_rng(3), threads=t) for t in (1, 2, 3, None)
    ]
    assert all(np.array_equal(frames[0], f) for f in frames)
    assert frames[0].dtype == np.uint8
    other = simulate_frame(scene, CURVED, m, rng=np.random.default_rng(4))
    assert not np.array_equal(frames[0], other), "the electronic noise is the generator's"


def test_a_sweep_of_tissue_is_its_frames(rng):
    scene = block(("bile", sphere([0, 0, 19.2], 7.2)))
    pr_M_t = np.stack([pose_from(np.eye(3), [0.4 * k, 0, 0]) for k in range(3)])
    told = []
    sweep = simulate_sweep(
        scene, LINEAR, pr_M_t, [0, 1, 2], rng=rng, progress=lambda done, of: told.append((done, of))
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert sweep.frames.shape == (3, *LINEAR.shape)
    a, b = sweep.frames[:2].astype(float)
    assert 0.5 < np.corrcoef(a[LINEAR.mask()], b[LINEAR.mask()])[0, 1] < 0.99


def test_more_tissues_than_labels_is_one_sentence(rng):
    part = Part("x", sphere([0, 0, 0], 1.0), TISSUES["fat"])
    crowd = Phantom("crowd", (part,) * 128, TISSUES["agar"])
    with pytest.raises(ValueError, match="expected at most 127"):
        simulate_frame(crowd, LINEAR, np.eye(4), rng=rng)


def a_frames_hash() -> str:
    scene = block(("bile", sphere([0, 0, 19.2], 7.2)), ("liver", box([-30, 5, 20], [30, 20, 40])))
    scene = replace(scene, wires=np.array([[[-20.0, -9, 24], [20.0, -8, 27]]]))
    m = looking_down(CURVED, at=(1.3, 0.7, 1.1), tilt=(0.1, 0.2, 0.4))
    frame = simulate_frame(scene, CURVED, m, rng=np.random.default_rng(3), threads=1)
    return hashlib.sha256(frame.tobytes()).hexdigest()


@pytest.mark.slow
def test_a_frame_has_the_same_bytes_on_another_processor(tmp_path):
    """Compiled for the plainest processor of its kind, and with BLAS and libm without their newest."""
    plain = {
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_CACHE_DIR": str(tmp_path),
        "OPENBLAS_CORETYPE": "Prescott",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA",
    }
    code = "from test_bmode import a_frames_hash; print(a_frames_hash())"
    here = Path(__file__).parent
    there = subprocess.run(
        [sys.executable, "-c", code], cwd=here, env={**os.environ, **plain}, capture_output=True, text=True
    )
    assert there.stdout.strip() == a_frames_hash(), there.stderr
    assert any(tmp_path.rglob("*.nbc")), "it was compiled anew"
