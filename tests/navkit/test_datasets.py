"""The registry: what is made hashes to what it says, and each learner has a case of their own."""

import hashlib
import re
import tomllib

import numpy as np
import pytest

from navkit import datasets
from navkit.calibration import calibrate_pivot
from navkit.datasets._store import digest, size
from navkit.geometry import transform_points
from navkit.reconstruction import measure_wire_cross, output_grid, reconstruct
from navkit.registration import fit_rigid

MADE = ("head_fiducials", "pointer_pivoting", "wire_cross_sweep", "orbit_case", "kidney_case")
HEADINGS = ["Origin", "Contents", "Truth", "Noise", "What it is not", "Used in"]


@pytest.fixture(scope="module")
def registry(root):
    return tomllib.loads((root / "datasets" / "registry.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, root):
    """A copy of the registry in an empty folder, so that everything is made anew."""
    path = tmp_path_factory.mktemp("datasets")
    (path / "registry.toml").write_text(
        (root / "datasets" / "registry.toml").read_text(encoding="utf-8"), encoding="utf-8"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAVKIT_DATASETS", str(path))
        patch.setenv("XDG_CACHE_HOME", str(path / "cache"))
        yield path


@pytest.mark.parametrize("name", MADE)
def test_a_recipe_makes_what_the_registry_says(folder, registry, name):
    path = datasets.make(name)
    assert path.parent == folder / "made"
    assert size(path) == registry[name]["bytes"]
    assert digest(path) == registry[name]["sha256"]
    assert not [problem for problem in datasets.verify() if name in problem]
    assert datasets.make(name) == path


def test_a_damaged_data_set_is_named_and_not_loaded(folder):
    path = datasets.make("head_fiducials")
    whole = path.read_bytes()
    arrays = datasets.load("head_fiducials")
    np.savez(path, **{**arrays, "fle_rms_mm": np.array(0.71)})
    assert "head_fiducials: sha256 is" in datasets.verify()[0]
    with pytest.raises(datasets.DatasetError, match="head_fiducials: sha256 is"):
        datasets.load("head_fiducials")
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(datasets.DatasetError, match=r"head_fiducials.npz is damaged .* Delete it"):
        datasets.load("head_fiducials")
    path.write_bytes(whole)
    assert datasets.load("head_fiducials").keys() == arrays.keys()


def test_what_is_committed_is_small_and_is_what_the_registry_says(root, registry):
    files = root / "datasets" / "files"
    committed = {f"{name}.npz" for name, entry in registry.items() if entry.get("committed")}
    assert {path.name for path in files.iterdir()} == committed
    sizes = [path.stat().st_size for path in files.iterdir()]
    assert max(sizes) < 1_000_000
    assert sum(sizes) < 8_000_000
    for path in files.iterdir():
        assert digest(path) == registry[path.stem]["sha256"], path.name
        assert size(path) == registry[path.stem]["bytes"], path.name


def test_every_entry_is_right_has_a_licence_and_a_card(root, registry):
    assert set(registry) == set(datasets.names())
    for name, entry in registry.items():
        about = datasets.info(name)
        assert about.licence == entry["licence"] != ""
        assert bool(about.recipe) != bool(about.address)
        text = (root / "datasets" / "cards" / f"{about.card}.md").read_text(encoding="utf-8")
        assert re.findall(r"^## (.+)$", text, flags=re.M) == HEADINGS, about.card
        assert f"`{name}`" in text or text.startswith(f"# {name}\n"), f"{about.card} does not name {name}"
    cards = {path.stem for path in (root / "datasets" / "cards").glob("*.md")}
    assert cards - {"gallery"} == {datasets.info(name).card for name in registry}


def test_the_bounds_of_learners_cases_are_on_the_cards(root):
    for kind, bounds in datasets.BOUNDS.items():
        text = (root / "datasets" / "cards" / f"{kind}.md").read_text(encoding="utf-8")
        for measure, (low, high) in bounds.items():
            assert f"| `{measure}` | {low:g} to {high:g} |" in text, f"{kind}: {measure}"


def test_every_phantom_has_a_set(registry):
    for what in ("neuro", "liver", "kidney", "aorta", "airway", "orbit"):
        assert {f"{what}_case", f"{what}_sweep"} <= set(registry)
        assert registry[f"{what}_case"]["seed"] == registry[f"{what}_sweep"]["seed"]
    assert {"nwires_sweep", "nwires_12_sweep", "nwires_10_sweep", "wire_cross_sweep"} <= set(registry)
    assert {"water_tank_sweep", "wire_target_frames"} <= set(registry)


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
        (lambda: datasets.load("brain"), "no data set 'brain'; the registry has airway_case"),
        (lambda: datasets.load("head_fiducials", learner="kari"), "expected both or none"),
        (lambda: datasets.fetch("head_fiducials"), "has no public address"),
        (lambda: datasets.load("remind", learner="k", cohort="a"), "remind is a recording"),
        (lambda: datasets.make("remind"), "remind has no recipe"),
        (lambda: datasets.fetch("remind"), r"get it from https://doi.org/10.1038\S+ and mind its licence"),
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


def test_the_simulated_wires_meet_where_the_phantom_says(folder):
    sweep = datasets.load("wire_cross_sweep")
    volume = reconstruct(sweep, output_grid(sweep, spacing_mm=0.25))
    found = measure_wire_cross(volume, around_pr=(134.2, 134.3, 100.1), rng=np.random.default_rng(0))
    assert found.angle_deg == pytest.approx(89.99, abs=1.5)
    assert np.linalg.norm(found.cross_pr - [134.21, 134.34, 100.14]) < 0.2


# ---- recordings of others ---------------------------------------------------------------------------------


def test_a_recording_that_is_not_here_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("NAVKIT_DATA", str(tmp_path))
    assert datasets.recording("custusx/angio_lab_256x192") is None
    (tmp_path / "here").mkdir()
    assert datasets.recording("here") == tmp_path / "here"


def test_recordings_that_are_here_are_those_of_the_registry(registry, navkit_data):
    local = [name for name, entry in registry.items() if "local" in entry]
    assert len(local) >= 8
    for name in local:
        assert datasets.fetch(name) == navkit_data / registry[name]["local"], name
        assert size(datasets.fetch(name)) == registry[name]["bytes"]


def datasets_sha(folder) -> str:
    return hashlib.sha256((folder / "far.npz").read_bytes()).hexdigest()


@pytest.fixture
def one_recording(tmp_path, monkeypatch):
    """A registry with one recording, NAVKIT_DATA without it, and a network that only counts."""
    asked = []
    tips = tmp_path / "far.npz"
    np.savez(tips, tip_s=np.array([1.0, 2.0, 3.0]))

    def retrieve(url, known_hash, fname, path):
        asked.append((url, known_hash))
        path.mkdir(parents=True, exist_ok=True)
        if hashlib.sha256(tips.read_bytes()).hexdigest() != known_hash.removeprefix("sha256:"):
            raise ValueError("does not match the known hash")
        (path / fname).write_bytes(tips.read_bytes())
        return str(path / fname)

    monkeypatch.setattr("pooch.retrieve", retrieve)
    (tmp_path / "sets").mkdir()
    (tmp_path / "data" / "lab").mkdir(parents=True)
    (tmp_path / "sets" / "registry.toml").write_text(
        '[tips]\nkind = "file"\nurl = "https://example.org/a/tips.npz"\nlocal = "lab/tips.npz"\n'
        f'sha256 = "{datasets_sha(tmp_path)}"\nbytes = 24\nlicence = "CC BY 4.0"\ncitation = "N. N."\n',
        encoding="utf-8",
    )
    monkeypatch.setenv("NAVKIT_DATASETS", str(tmp_path / "sets"))
    monkeypatch.setenv("NAVKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path, asked


def test_a_recording_of_others_is_fetched_once_and_checked(one_recording):
    folder, asked = one_recording
    path = datasets.fetch("tips")
    assert path == folder / "sets" / "made" / "tips.npz"
    assert asked == [("https://example.org/a/tips.npz", f"sha256:{datasets_sha(folder)}")]
    assert datasets.load("tips")["tip_s"].tolist() == [1, 2, 3]
    assert datasets.verify() == []
    path.write_bytes(b"another")
    assert "tips: sha256 is" in datasets.verify()[0]


def test_a_recording_in_navkit_data_needs_no_network(one_recording):
    folder, asked = one_recording
    local = folder / "data" / "lab" / "tips.npz"
    local.write_bytes((folder / "far.npz").read_bytes())
    assert datasets.fetch("tips") == local
    assert datasets.info("tips").path == local
    assert asked == []
    local.write_bytes(b"not the one")
    assert datasets.fetch("tips") == folder / "sets" / "made" / "tips.npz"
    assert len(asked) == 1


def test_a_recording_that_has_changed_is_refused(one_recording):
    folder, _ = one_recording
    (folder / "far.npz").write_bytes(b"changed by its owner")
    with pytest.raises(datasets.DatasetError, match=r"tips was not fetched from https\S+: does not match"):
        datasets.load("tips")
    assert datasets.info("tips").path is None


def test_the_command_line_lists_makes_and_verifies(one_recording, root):
    from typer.testing import CliRunner

    from navkit.__main__ import app

    folder, _ = one_recording
    registry = folder / "sets" / "registry.toml"
    made = (root / "datasets" / "registry.toml").read_text(encoding="utf-8").split("# ---- what a probe")[0]
    registry.write_text(registry.read_text(encoding="utf-8") + made, encoding="utf-8")
    run = CliRunner()
    lines = run.invoke(app, ["datasets"]).output.splitlines()
    assert [line.split() for line in lines][1:] == [
        ["pointer_pivoting", "arrays", "0.03", "MB", "CC", "BY", "4.0", "made", "when", "needed"],
        ["tips", "file", "0.00", "MB", "CC", "BY", "4.0", "of", "others"],
    ]
    path = folder / "sets" / "made" / "pointer_pivoting.npz"
    assert run.invoke(app, ["datasets", "--make", "pointer_pivoting"]).stdout.strip() == str(path)
    assert run.invoke(app, ["datasets"]).output.splitlines()[1].endswith("here")
    every = run.invoke(app, ["datasets", "--make-all"]).stdout.splitlines()
    assert [line.split(":")[0] for line in every] == ["head_fiducials", "pointer_pivoting"]
    assert run.invoke(app, ["datasets", "--fetch", "tips"]).output.strip().endswith("tips.npz")
    assert "is what the registry says" in run.invoke(app, ["datasets", "--verify"]).output
    path.write_bytes(b"")
    refused = run.invoke(app, ["datasets", "--verify"])
    assert isinstance(refused.exception, datasets.DatasetError)
