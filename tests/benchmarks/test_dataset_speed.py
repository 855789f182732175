"""Every data set from nothing, and all 200 learners of the phantoms that take longer (`make bench`).

The aims: two minutes on two cores, 1 GB.
"""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from navkit.datasets import _patients, _sweeps

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "navkit"))
from test_dataset_cases import COHORT, assert_solvable, learner


@pytest.mark.parametrize("kind", ["neuro", "liver", "kidney"])
def test_every_patient_can_be_solved(kind):
    for k in COHORT:
        rng = learner(k, kind)
        patient = _patients.drawn_patient(kind, rng)
        assert_solvable(kind, patient, _sweeps.trajectory(kind, patient, rng))


def test_every_set_from_nothing(benchmark, tmp_path, root, monkeypatch):
    (tmp_path / "registry.toml").write_bytes((root / "datasets" / "registry.toml").read_bytes())
    monkeypatch.setenv("NAVKIT_DATASETS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    command = [sys.executable, "-m", "navkit", "datasets"]
    benchmark.pedantic(subprocess.run, ([*command, "--make-all"],), {"check": True}, rounds=1)
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
    benchmark.extra_info["peak_mb"] = round(peak_mb)
    assert benchmark.stats.stats.max < 120
    assert peak_mb < 1000
    subprocess.run([*command, "--verify"], check=True)
