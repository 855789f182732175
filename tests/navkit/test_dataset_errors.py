"""What goes wrong with data sets is one clear sentence, and leaves nothing half made."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from navkit import datasets
from navkit.datasets import _recipes, _registry, _store
from navkit.datasets._store import arrays_digest
from navkit.ultrasound import ProbeSector, Sweep

SHA = "0" * 64
GOOD = {
    "kind": '"arrays"', "recipe": '"pointer_pivoting"', "seed": "1", "sha256": f'"{SHA}"', "bytes": "10",
    "licence": '"CC BY 4.0"',
}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty datasets folder; no recording and no cache is near."""
    monkeypatch.setenv("NAVKIT_DATASETS", str(tmp_path / "sets"))
    monkeypatch.setenv("NAVKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "sets").mkdir()
    return tmp_path / "sets"


def write_registry(folder: Path, name: str = "one", **entry: str) -> None:
    lines = "".join(f"{key} = {value}\n" for key, value in entry.items())
    (folder / "registry.toml").write_text(f"[{name}]\n{lines}", encoding="utf-8")


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seed": None}, r"seed is missing; a set with a recipe needs kind, licence, seed, sha256, bytes"),
        ({"licence": None, "bytes": None}, r"licence, bytes is missing"),
        ({"recipe": '"brain"'}, r"no recipe 'brain'; there are pointer_pivoting"),
        ({"url": '"https://example.org/a"'}, r"has recipe and url; expected exactly one"),
        ({"recipe": None}, r"has no source; expected exactly one of recipe, url and page"),
        ({"seed": '"1"'}, r"seed is '1'; expected a whole number"),
        ({"seed": "true"}, r"seed is True; expected a whole number"),
        ({"committed": "1"}, r"committed is 1; expected true or false"),
        ({"licence": "4.0"}, r"licence is 4.0; expected text in quotes"),
        ({"sha256": '"abc"'}, r"sha256 is 'abc'; expected 64 digits"),
        ({"kind": '"volume"'}, r"kind is 'volume'; expected one of arrays, acquisition, file, link"),
        ({"kind": '"link"'}, r"kind is 'link'; expected link where there is a page"),
        ({"sead": "3"}, r"'sead' is not a key; expected some of kind"),
    ],
)
def test_a_bad_entry_is_one_sentence(folder, change, sentence):
    merged = {**GOOD, **change}
    write_registry(folder, **{key: value for key, value in merged.items() if value is not None})
    with pytest.raises(datasets.DatasetError, match=rf"registry.toml, \[one\]: {sentence}"):
        datasets.load("one")
    assert len(datasets.verify()) == 1
    assert everything_in(folder) == ["registry.toml"]


def test_an_entry_that_is_no_table_and_a_registry_that_is_no_toml(folder):
    (folder / "registry.toml").write_text('one = "two"\n', encoding="utf-8")
    with pytest.raises(datasets.DatasetError, match=r"\[one\]: is 'two'; expected a table"):
        datasets.make("one")
    (folder / "registry.toml").write_text("[one\n", encoding="utf-8")
    with pytest.raises(datasets.DatasetError, match=r"registry.toml is not TOML: .*line 1"):
        datasets.names()


def test_no_registry(folder):
    with pytest.raises(datasets.DatasetError, match=r"has no registry.toml; set NAVKIT_DATASETS"):
        datasets.names()


def test_a_set_that_hashes_differently_is_refused_and_not_kept(folder):
    write_registry(folder, **GOOD)
    with pytest.raises(datasets.DatasetError, match=rf"one: sha256 is [0-9a-f]+; the registry says {SHA}"):
        datasets.make("one")
    assert everything_in(folder) == ["registry.toml"]


# ---- writing ----------------------------------------------------------------------------------------------


@pytest.fixture
def small(folder, monkeypatch):
    """A recipe for arrays and one for a sweep, with the registry that they need."""
    sector = ProbeSector("linear", 4.0, (0.0, 5.0), (4.0, 0.0), (0.5, 0.5), (0, 8, 0, 10), (11, 9))
    pose = np.tile(np.eye(4), (3, 1, 1))
    pose[:, 0, 3] = [1.0, 2.5, 3.5]
    frames = np.arange(3 * 11 * 9, dtype=np.uint8).reshape(3, 11, 9)
    sweep = Sweep(frames, np.arange(3) / 10, pose @ sector.t_M_p(), sector, np.ones(3, dtype=bool), "sweep")
    content = {"arrays": {"tip_s": np.array([1.0, -2.0, 3.5])}, "sweep": sweep}
    recipes = {name: lambda rng, progress, name=name: content[name] for name in content}
    monkeypatch.setattr(_registry, "RECIPES", recipes)
    _store.write(sweep, folder / "first", lambda path: None)
    sha = {"arrays": arrays_digest(content["arrays"]), "sweep": _store.digest(folder / "first")}
    for part in (folder / "first").iterdir():
        part.unlink()
    (folder / "first").rmdir()
    text = ""
    for name, kind in (("arrays", "arrays"), ("sweep", "acquisition")):
        text += f'[{name}]\nkind = "{kind}"\nrecipe = "{name}"\nseed = 1\nsha256 = "{sha[name]}"\n'
        text += 'bytes = 24\nlicence = "CC BY 4.0"\n'
    (folder / "registry.toml").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", ["arrays", "sweep"])
def test_what_is_made_has_only_its_own_files(small, name):
    path = datasets.make(name)
    assert path.exists()
    assert datasets.verify() == []
    assert [p.name for p in (small / "made").iterdir()] == [path.name]


def raising(error: BaseException, after: int = 0):
    """A function that does nothing `after` times and then raises."""
    calls = iter(range(after))

    def fail(*_: object, **__: object) -> None:
        if next(calls, None) is None:
            raise error

    return fail


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("name", "step"),
    [("arrays", "numpy.savez_compressed"), ("sweep", "navkit.files._custusx._header_text")],
)
def test_a_full_disk_is_one_sentence_and_leaves_nothing(small, monkeypatch, name, step):
    with monkeypatch.context() as patch:
        patch.setattr(step, raising(FULL))
        with pytest.raises(
            datasets.DatasetError, match=r"could not be written to .*: the disk is full. Nothing was left"
        ):
            datasets.make(name)
    assert everything_in(small) == ["registry.toml"]
    assert not list((small / "made").iterdir())
    assert datasets.make(name).exists()


@pytest.mark.parametrize("name", ["arrays", "sweep"])
def test_an_interrupted_write_leaves_nothing(small, monkeypatch, name):
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", raising(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            datasets.make(name)
    assert not list((small / "made").iterdir())
    assert datasets.make(name).exists()


def test_an_interrupted_recipe_leaves_nothing(small, monkeypatch):
    monkeypatch.setattr(_registry, "RECIPES", {"arrays": raising(KeyboardInterrupt())})
    with pytest.raises(KeyboardInterrupt):
        datasets.make("arrays")
    assert everything_in(small) == ["registry.toml"]


def test_a_folder_that_cannot_be_written_is_passed_by_for_the_users_cache(small, monkeypatch):
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: str(small) not in str(path) and real(path, mode))
    path = datasets.make("arrays")
    assert path == small.parent / "cache" / "navkit" / "arrays.npz"
    assert datasets.make("arrays") == path
    assert datasets.load("arrays")["tip_s"].tolist() == [1, -2, 3.5]
    assert everything_in(small) == ["registry.toml"]


def test_no_folder_can_be_written(small, monkeypatch):
    denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    monkeypatch.setattr(Path, "mkdir", raising(denied))
    with pytest.raises(datasets.DatasetError, match=r"arrays.npz could not be written .*: Permission denied"):
        datasets.make("arrays")
    assert everything_in(small) == ["registry.toml"]


def test_another_process_was_first(small, monkeypatch):
    path = small / "made" / "arrays.npz"
    real = Path.replace

    def late(self, target):
        np.savez_compressed(target, tip_s=np.array([1.0, -2.0, 3.5]))
        raise FileExistsError(errno.EEXIST, "there already", str(target))

    monkeypatch.setattr(Path, "replace", late)
    assert datasets.make("arrays") == path
    monkeypatch.setattr(Path, "replace", real)
    assert [p.name for p in path.parent.iterdir()] == ["arrays.npz"]
    assert datasets.verify() == []


def test_the_recipes_of_the_registry_are_those_that_there_are(root):
    named = {datasets.info(name).recipe for name in datasets.names()} - {""}
    assert named == set(_recipes.RECIPES)
