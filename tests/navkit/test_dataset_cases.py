"""Each learner's case can be solved and is as hard as the others; one seed gives the same bytes anywhere."""

import os
import subprocess
import sys

import numpy as np
import pytest

from navkit import datasets
from navkit.calibration import calibrate_pivot
from navkit.datasets import _calibration, _patients, _sweeps
from navkit.datasets._points import head_fiducials, pointer_pivoting
from navkit.geometry import inverse, transform_points
from navkit.phantoms import nwires, water_tank, wire_target
from navkit.registration import expected_tre, fit_rigid

COHORT = range(200)
QUICK = ("aorta", "airway", "orbit")  # a phantom in less than 20 ms


def learner(k: int, name: str) -> np.random.Generator:
    return datasets.case_rng(name, learner=f"learner {k}", cohort="autumn")


def beside(pixels, sector, margin_px: float = 0.0) -> np.ndarray:
    """Whether pixels lie in the picture's sector."""
    mask = sector.mask()
    columns, rows = np.rint(np.nan_to_num(pixels, nan=-9)).astype(int).T
    ok = (columns >= 0) & (rows >= 0) & (columns < mask.shape[1]) & (rows < mask.shape[0])
    return np.where(
        ok, mask[np.clip(rows, 0, mask.shape[0] - 1), np.clip(columns, 0, mask.shape[1] - 1)], False
    )


def assert_solvable(kind: str, patient: _patients.Patient, way) -> None:
    """Within the bounds, and the target's middle crosses the picture while the probe touches."""
    assert _patients.within(kind, patient.difficulty)
    sector = _sweeps.PROTOCOLS[kind].sector
    d_M_t = inverse(patient.pr_M_r) @ way.pose
    at_t = transform_points(inverse(d_M_t), patient.target_r)
    nearest = np.abs(at_t[:, 0]).argmin()
    assert np.abs(at_t[:, 0]).min() < 1.5, "the sweep passes through the target's middle"
    pixel = transform_points(inverse(sector.t_M_p()), at_t[nearest])[:2]
    assert beside(pixel[None], sector)[0], "and there it is in the sector"
    assert at_t[:, 0].min() < -3 < 3 < at_t[:, 0].max(), "which goes on to both sides"


@pytest.mark.parametrize("kind", QUICK)
def test_a_patient_can_be_solved_by_every_learner(kind):
    seen = set()
    for k in COHORT:
        rng = learner(k, kind)
        patient = _patients.drawn_patient(kind, rng)
        assert_solvable(kind, patient, _sweeps.trajectory(kind, patient, rng))
        seen.add(patient.phantom.seed)
    assert len(seen) == len(COHORT)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "n"), [("neuro", 6), ("liver", 3), ("kidney", 25)])
def test_a_patient_that_takes_longer_can_be_solved(kind, n):
    """The first learners; all 200 are in tests/benchmarks."""
    for k in range(n):
        rng = learner(k, kind)
        patient = _patients.drawn_patient(kind, rng)
        assert_solvable(kind, patient, _sweeps.trajectory(kind, patient, rng))
        if len(patient.phantom.fiducials):
            tre = expected_tre(patient.phantom.fiducials, patient.target_r, 0.7)
            assert 0.2 < tre < 0.6


def test_a_patient_outside_the_bounds_is_drawn_again(monkeypatch):
    first = _patients.drawn_patient("orbit", np.random.default_rng(5)).difficulty["sheath_diameter_3mm_mm"]
    narrow = {"sheath_diameter_3mm_mm": (first + 0.1, first + 1.0)}
    monkeypatch.setitem(_patients.BOUNDS, "orbit", narrow)
    again = _patients.drawn_patient("orbit", np.random.default_rng(5)).difficulty["sheath_diameter_3mm_mm"]
    assert first + 0.1 <= again <= first + 1.0
    monkeypatch.setitem(_patients.BOUNDS, "orbit", {"sheath_diameter_3mm_mm": (90.0, 91.0)})
    with pytest.raises(ValueError, match="none of 40 orbit phantoms lies within its bounds"):
        _patients.drawn_patient("orbit", np.random.default_rng(5))


def test_pointers_can_be_calibrated_by_every_learner():
    errors = []
    for k in COHORT:
        data = pointer_pivoting(learner(k, "pointer_pivoting"))
        found = calibrate_pivot(data["pr_M_s"])
        errors.append(np.linalg.norm(found.tip_s - data["tip_s"]))
    assert max(errors) < 0.35
    assert 0.02 < np.median(errors) < 0.15


def test_heads_can_be_registered_by_every_learner():
    for k in COHORT:
        data = head_fiducials(learner(k, "head_fiducials"))
        tre = [expected_tre(data["fiducials_r"], at, 0.7) for at in data["targets_r"]]
        assert 0.25 < min(tre) < max(tre) < 0.9
        fit = fit_rigid(data["fiducials_pr"], data["fiducials_r"])
        assert 0.1 < fit.fre_rms_mm < 1.3


@pytest.mark.parametrize("version", ["2.0", "1.2", "1.0"])
def test_n_wires_are_in_most_pictures_of_every_learner(version):
    phantom = nwires(version)
    for k in COHORT:
        sector, d_M_t = _calibration.nwires_poses(version, learner(k, "nwires_sweep"))
        pixels = _calibration.wires_in_picture(phantom, sector, d_M_t)
        seen = beside(pixels.reshape(-1, 2), sector).reshape(pixels.shape[:2])
        assert seen.mean() > 0.95
        assert seen.all(axis=1).sum() > 45
        spread = np.ptp(d_M_t[:, :3, 3], axis=0)
        assert (spread > [3, 20, 5]).all()


def test_the_tanks_bottom_is_in_every_picture_of_every_learner():
    latencies = []
    depth = -water_tank().landmarks["bottom"][2]
    for k in COHORT:
        motion = _calibration.water_tank_motion(learner(k, "water_tank_sweep"))
        d_M_t = inverse(motion["pr_M_d"]) @ motion["pr_M_t"]
        height = d_M_t[:, 2, 3]
        tilt = np.degrees(np.arccos(np.clip(-d_M_t[:, 2, 2], -1, 1)))
        assert -8 < height.max() < 0, "the face stays under water"
        assert (height + depth).max() < 60, "the bottom is less deep than the picture"
        assert (height + depth).min() > 20
        assert np.ptp(height) > 16
        assert tilt.max() < 3
        latencies.append(float(motion["latency_s"]))
    assert min(latencies) >= 0.03
    assert max(latencies) <= 0.12
    assert np.ptp(latencies) > 0.08


def test_all_wires_of_the_target_are_in_all_pictures_of_every_learner():
    phantom = wire_target()
    for k in COHORT:
        sector, d_M_t = _calibration.wire_target_poses(learner(k, "wire_target_frames"))
        pixels = _calibration.wires_in_picture(phantom, sector, d_M_t)
        assert beside(pixels.reshape(-1, 2), sector).all()


def test_the_wire_cross_is_passed_by_every_learner(monkeypatch):
    """Where the wires pierce the pictures, without making the pictures."""
    poses = []
    monkeypatch.setattr(_sweeps, "simulate_sweep", lambda p, s, pose, *_, **__: poses.append((p, s, pose)))
    for k in COHORT:
        _sweeps.wire_cross_sweep(learner(k, "wire_cross_sweep"))
        phantom, sector, pr_M_t = poses.pop()
        pixels = _calibration.wires_in_picture(phantom, sector, pr_M_t)
        seen = beside(pixels.reshape(-1, 2), sector).reshape(pixels.shape[:2])
        assert seen[:, 0].sum() > 60, "a dot of the first wire in most pictures"
        assert seen[:, 1].sum() >= 8, "the second one lies almost in the picture's plane"
        off = transform_points(inverse(pr_M_t), [phantom.landmarks["cross"]])[:, 0, 0]
        assert off.min() < -2 < 2 < off.max(), "pictures lie on both sides of the cross"


def test_one_learner_has_one_patient_and_another_has_another():
    """The case is the truth of the sweep."""
    rngs = [datasets.case_rng("orbit", learner=who, cohort="a") for who in ("kari", "kari", "ola")]
    one, same, other = (_patients.drawn_patient("orbit", rng) for rng in rngs)
    case = datasets.load("orbit_case", learner="kari", cohort="a")
    assert int(case["phantom_seed"]) == one.phantom.seed == same.phantom.seed != other.phantom.seed
    assert case["pr_M_r_true"] == pytest.approx(one.pr_M_r, abs=1e-9)
    measures = dict(zip(case["measure_names"].tolist(), case["measures"], strict=True))
    assert measures["sheath_diameter_3mm_mm"] == pytest.approx(
        one.phantom.measures["sheath_diameter_3mm_mm"], abs=1e-4
    )


@pytest.mark.parametrize("kind", _patients.PATIENTS)
def test_the_courses_case_agrees_with_itself(kind):
    """Landmarks lie in the labels that bear their name; pictures, grid and registration fit together."""
    case = datasets.load(f"{kind}_case")
    assert case["ct"].shape == case["mr"].shape == case["labels"].shape
    d_M_index = np.eye(4)
    d_M_index[:3, :3] = case["direction"] * case["spacing_mm"]
    d_M_index[:3, 3] = case["origin_r"]
    assert np.abs(case["direction"] - np.eye(3)).max() > 0.1
    names = case["label_names"].tolist()
    checked = 0
    for name, at in zip(case["landmark_names"].tolist(), case["landmarks_r"], strict=True):
        if name in names:
            x, y, z = np.rint(transform_points(inverse_affine(d_M_index), at)).astype(int)
            assert names[case["labels"][z, y, x]] == name
            checked += 1
    assert checked >= 1 or kind == "aorta"
    back = transform_points(inverse(case["pr_M_r_true"]), case["fiducials_pr"]) - case["fiducials_r"]
    rms = np.sqrt((back**2).sum(axis=1).mean())
    assert 0.2 < rms < 1.3
    assert case["centreline_ends"][-1] == len(case["centrelines_r"])
    assert len(case["centreline_names"]) == len(case["centreline_ends"])
    bone_or_more = case["ct"][
        np.isin(case["labels"], [k for k, n in enumerate(names) if n in ("skull", "spine")])
    ]
    assert bone_or_more.size == 0 or np.median(bone_or_more) > 900


def inverse_affine(m):
    return np.linalg.inv(m)


OTHER_MACHINE = {
    "NUMBA_CPU_NAME": "generic",
    "NUMBA_CPU_FEATURES": "",
    "OPENBLAS_CORETYPE": "Prescott",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "77",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F",
}
MAKE = """
import numpy as np
from navkit.datasets._recipes import RECIPES
from navkit.datasets._store import arrays_digest
from navkit.datasets import _sweeps
from navkit.tracking import Hand
from dataclasses import replace
for name in ("pointer_pivoting", "head_fiducials", "orbit_case", "aorta_case"):
    print(name, arrays_digest(RECIPES[name](np.random.default_rng(7), None)))
short = replace(_sweeps.PROTOCOLS["orbit"], duration_s=0.8)
_sweeps.PROTOCOLS["orbit"] = short
sweep = RECIPES["orbit_sweep"](np.random.default_rng(7), None)
assert sweep.frames.std() > 20
print(arrays_digest({"frames": sweep.frames, "pr_M_p": np.round(sweep.pr_M_p, 6)}))
"""


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_on_two_machines(tmp_path):
    """Another instruction set for numpy, numba, BLAS and libm, one thread, nothing compiled before."""
    simd = np.show_config("dicts")["SIMD Extensions"]["found"]
    plain = {k: v for k, v in os.environ.items() if k not in ("NPY_DISABLE_CPU_FEATURES", *OTHER_MACHINE)}
    other = {
        **plain,
        **OTHER_MACHINE,
        "NUMBA_CACHE_DIR": str(tmp_path),
        "NPY_DISABLE_CPU_FEATURES": " ".join(simd),
    }
    runs = [
        subprocess.Popen([sys.executable, "-c", MAKE], env=env, stdout=subprocess.PIPE, text=True)
        for env in (plain, other)
    ]
    here, there = (run.communicate()[0] for run in runs)
    assert len(here.splitlines()) == 5
    assert here == there
