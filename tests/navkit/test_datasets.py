"""The registry: what is made hashes to what it says, and each learner has a case of their own."""

import tomllib

import numpy as np
import pytest

from navkit import datasets
from navkit.calibration import calibrate_pivot
from navkit.geometry import transform_points
from navkit.reconstruction import measure_wire_cross, output_grid, reconstruct
from navkit.registration import fit_rigid

MADE = ("head_fiducials", "pointer_pivoting", "wire_cross_sweep")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, root):
    """A copy of the registry in an empty folder, so that everything is made anew."""
    path = tmp_path_factory.mktemp("datasets")
    (path / "registry.toml").write_text((root / "datasets" / "registry.toml").read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAVKIT_DATASETS", str(path))
        yield path


@pytest.mark.parametrize("name", MADE)
def test_a_recipe_makes_what_the_registry_says(folder, name):
    path = datasets.make(name)
    registry = tomllib.loads((folder / "registry.toml").read_text())
    parts = sorted(path.iterdir()) if path.is_dir() else [path]
    assert sum(p.stat().st_size for p in parts) == registry[name]["bytes"]
    assert not datasets.verify()
    assert datasets.make(name) == path


def test_a_damaged_data_set_is_named(folder):
    path = datasets.make("head_fiducials")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")
    assert "head_fiducials: sha256 is" in datasets.verify()[0]
    path.write_bytes(whole)
    assert datasets.verify() == []


def test_every_entry_has_a_licence_and_a_card(root):
    registry = tomllib.loads((root / "datasets" / "registry.toml").read_text())
    assert set(registry) == set(datasets.names())
    for name, entry in registry.items():
        assert entry["licence"]
        assert ("recipe" in entry) != ("url" in entry)
        assert (root / "datasets" / "cards" / f"{name}.md").is_file()


def test_a_learners_case_is_repeatable_their_own_and_not_the_courses():
    a, again, b = (
        datasets.load("head_fiducials", learner=who, cohort="autumn") for who in ("kari", "kari", "ola")
    )
    assert np.array_equal(a["fiducials_pr"], again["fiducials_pr"])
    assert not np.allclose(a["fiducials_pr"], b["fiducials_pr"])
    assert not np.allclose(a["r_M_pr_true"], datasets.load("head_fiducials")["r_M_pr_true"])
    other = datasets.load("head_fiducials", learner="kari", cohort="spring")
    assert not np.allclose(a["fiducials_pr"], other["fiducials_pr"])


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: datasets.load("brain"), "no data set 'brain'; the registry has head_fiducials"),
        (lambda: datasets.load("head_fiducials", learner="kari"), "expected both or none"),
        (lambda: datasets.fetch("head_fiducials"), "has no public address"),
    ],
)
def test_a_wrong_request_is_one_sentence(call, sentence):
    with pytest.raises(datasets.DatasetError, match=sentence):
        call()


def test_the_pointers_truth_is_found_again():
    data = datasets.load("pointer_pivoting")
    exact = calibrate_pivot(data["pr_M_s_true"])
    assert exact.tip_s == pytest.approx(data["tip_s"], abs=1e-4)
    assert exact.pivot_pr == pytest.approx(data["pivot_pr"], abs=1e-4)
    assert np.linalg.norm(calibrate_pivot(data["pr_M_s"]).tip_s - data["tip_s"]) < 0.3


def test_the_heads_truth_is_found_again():
    data = datasets.load("head_fiducials")
    exact = fit_rigid(data["fiducials_pr_true"], data["fiducials_r"])
    assert np.abs(exact.matrix - data["r_M_pr_true"]).max() < 1e-3
    targets = transform_points(data["r_M_pr_true"], data["targets_pr_true"])
    assert targets == pytest.approx(data["targets_r"], abs=1e-3)


def test_the_simulated_wires_meet_where_the_phantom_says():
    sweep = datasets.load("wire_cross_sweep")
    volume = reconstruct(sweep, output_grid(sweep, spacing_mm=0.25))
    found = measure_wire_cross(volume, around_pr=(134.2, 134.3, 100.1), rng=np.random.default_rng(0))
    assert found.angle_deg == pytest.approx(89.99, abs=1.5)
    assert np.linalg.norm(found.cross_pr - [134.21, 134.34, 100.14]) < 0.2


def test_a_recording_that_is_not_here_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("NAVKIT_DATA", str(tmp_path))
    assert datasets.recording("custusx/angio_lab_256x192") is None
    (tmp_path / "here").mkdir()
    assert datasets.recording("here") == tmp_path / "here"


def test_a_recording_of_others_is_fetched_once_and_checked(tmp_path, monkeypatch):
    """From a server on this machine: no test touches the network."""
    import hashlib
    import threading
    from functools import partial
    from http.server import HTTPServer, SimpleHTTPRequestHandler

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            asked.append(self.path)

    asked: list[str] = []
    (tmp_path / "far").mkdir()
    np.savez(tmp_path / "far" / "tips.npz", tip_s=np.array([1.0, 2.0, 3.0]))
    whole = hashlib.sha256((tmp_path / "far" / "tips.npz").read_bytes()).hexdigest()
    server = HTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "far")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        for name, digest in (("good", whole), ("changed", "0" * 64)):
            here = tmp_path / name
            here.mkdir()
            entry = f'[tips]\nurl = "http://127.0.0.1:{server.server_port}/tips.npz"\nsha256 = "{digest}"\n'
            (here / "registry.toml").write_text(entry + 'kind = "arrays"\nlicence = "CC BY 4.0"\n')
        monkeypatch.setenv("NAVKIT_DATASETS", str(tmp_path / "good"))
        for _ in range(2):
            assert datasets.load("tips")["tip_s"].tolist() == [1, 2, 3]
        assert len(asked) == 1
        monkeypatch.setenv("NAVKIT_DATASETS", str(tmp_path / "changed"))
        with pytest.raises(ValueError, match="does not match the known hash"):
            datasets.load("tips")
        assert not (tmp_path / "changed" / "made" / "tips.npz").exists()
    finally:
        server.shutdown()
        server.server_close()
