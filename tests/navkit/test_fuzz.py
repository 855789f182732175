"""No damaged file breaks a reader: it is refused with a sentence, or the answer is what its bytes say.

``NAVKIT_FUZZ=20000`` runs so many variants of each format; `fuzzing` does it from the shell, as a table.
"""

import os
import sys
from dataclasses import replace

import numpy as np
import pytest
from fuzz_formats import FORMATS, a_pose
from fuzzing import attack, batch, example, limits, run, variant

from navkit.files import FileError, read_transform, write_transform
from navkit.files import _itk_transform as itk_program

H5_CRASH, H5_HANG = (
    (6222, 137),
    (2265, 9),
)  # byte and value, of the file of `a_pose`, found by a seeded search
ITK = ("volume-mha", "volume-nrrd", "volume-nii-gz", "transform-tfm")  # a library that may crash: elsewhere


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_is_refused_with_a_sentence_or_read_right(tmp_path, name):
    form = FORMATS[name]
    count = form.in_test if name == "transform-h5" else int(os.environ.get("NAVKIT_FUZZ", form.in_test))
    rows = batch(name, 0, count) if name in ITK else [run(form, 0, count, tmp_path)]
    assert [fault for row in rows for fault in row["faults"]] == []
    refused, right = (sum(row[key] for row in rows) for key in ("refused", "right"))
    assert refused + right == count
    assert refused > 0
    assert right > 0 or count < 20


def test_variants_depend_on_format_and_number_only(tmp_path):
    form = FORMATS["fcsv"]
    healthy = example(form, tmp_path / "healthy")
    assert variant(form, 5, healthy) == variant(form, 5, dict(healthy))
    different = {str(variant(form, number, healthy)[0]) for number in range(200)}
    assert len(different) > 150


def test_a_reader_that_works_for_too_long_asks_for_too_much_or_warns_is_found(tmp_path):
    def slow(folder):
        while True:
            pass

    readers = {
        "TooSlow": slow,
        "KeyError": lambda folder: {}["x"],
        "RuntimeWarning": lambda folder: np.array([1e308]) * 10,
        "wrong answer": lambda folder: (np.full((4, 4), np.nan), ()),
    }
    if sys.platform == "linux":
        readers["MemoryError"] = lambda folder: np.ones(10**9)
    form = FORMATS["transform-tfm"]
    for fault, reader in readers.items():
        with limits():
            how, told, _ = attack(replace(form, read=reader), 3, {"hand.tfm": b"x"}, tmp_path / fault, {})
        assert how == "fault"
        assert fault in told


# ---- .h5: the library itself crashes ---------------------------------------------------------------------


def test_an_h5_file_that_crashes_or_hangs_its_library_is_refused_and_we_live(tmp_path, monkeypatch):
    path = tmp_path / "moved.h5"
    write_transform(a_pose(), path)
    assert np.abs(read_transform(path)[0] - a_pose()).max() < 1e-9
    monkeypatch.setattr("navkit.files._transforms.TIMEOUT_S", 4.0)
    whole = path.read_bytes()
    for (at, byte), sentence in ((H5_CRASH, "crashed the library"), (H5_HANG, "was not read within 4 s")):
        path.write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])
        with pytest.raises(FileError, match=rf"moved\.h5 {sentence}"):
            read_transform(path)


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("import os; os.abort()", "crashed the library"),
        ("import time; time.sleep(60)", "was not read within 1 s"),
        ("print('[1, 2')", "crashed the library"),
        ("import json; print(json.dumps({'error': 'is a 2-D thing.'}))", "is a 2-D thing"),
    ],
)
def test_a_program_that_crashes_or_hangs_is_one_sentence(tmp_path, monkeypatch, program, sentence):
    path = tmp_path / "moved.h5"
    write_transform(a_pose(), path)
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    monkeypatch.setattr(itk_program, "__file__", str(tmp_path / "program.py"))
    monkeypatch.setattr("navkit.files._transforms.TIMEOUT_S", 1.0)
    with pytest.raises(FileError, match=sentence):
        read_transform(path)
