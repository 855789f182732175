"""``navkit info``, ``convert``, ``anonymise`` and ``datasets --export``: what they print and refuse."""

import json

import numpy as np
import pytest
from sweeps import hand_sweep

from navkit import files


@pytest.fixture
def folder(rng, tmp_path):
    files.write_acquisition(hand_sweep(rng, n=30), tmp_path / "acq")
    return tmp_path / "acq"


def test_info_tells_what_a_folder_is(navkit, folder):
    code, out, err = navkit("info", folder)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "acq: CustusX acquisition, old layout"
    assert "  frames " in out
    assert "30" in out


def test_info_for_programs_is_json(navkit, folder):
    code, out, _ = navkit("info", "--json", folder)
    told = json.loads(out)
    assert code == 0
    assert told["kind"] == "CustusX acquisition, old layout"
    assert told["numbers"]["frames"] == 30
    assert set(told) == {"path", "kind", "facts", "numbers", "warnings", "not_checked"}


def test_info_of_a_damaged_file_warns_and_of_no_file_refuses(navkit, folder, tmp_path):
    path = next(folder.glob("*.tp"))
    path.write_text(path.read_text(encoding="utf-8")[:-40], encoding="utf-8")
    code, out, _ = navkit("info", folder)
    assert code == 0
    assert "warning: " in out
    assert path.name in out
    code, out, err = navkit("info", tmp_path / "nothing")
    assert code == 2
    assert err.startswith("error: ")
    assert "nothing" in err


def test_convert_says_what_was_lost_and_comes_back(navkit, folder, tmp_path):
    there, back = tmp_path / "sweep.mha", tmp_path / "again"
    code, out, err = navkit("convert", folder, there)
    assert (code, err) == (0, "")
    assert out.startswith(f"{there} is written; ")
    assert navkit("convert", there, back)[0] == 0
    want, got = files.read_acquisition(folder), files.read_acquisition(back)
    assert np.array_equal(want.frames, got.frames)
    np.testing.assert_allclose(got.pr_M_p, want.pr_M_p, atol=1e-5)


def test_convert_replaces_only_when_asked(navkit, folder, tmp_path):
    there = tmp_path / "sweep.mha"
    there.write_bytes(b"mine")
    code, _, err = navkit("convert", folder, there)
    assert code == 2
    assert "exists" in err
    assert there.read_bytes() == b"mine"
    assert navkit("convert", folder, there, "--overwrite")[0] == 0
    assert len(files.read_sequence(there)) == 30


def test_anonymise_prints_its_report_and_no_name(navkit, folder, tmp_path):
    named = folder.rename(tmp_path / "Hansen_2017-09-29")
    code, out, err = navkit(
        "anonymise", named, tmp_path / "clean", "--also", "Hansen", "--pseudonym", "case-07"
    )
    assert (code, err) == (0, "")
    assert "Look at it before you give it away." in out
    assert "Replaced or left out" in out
    assert "Hansen" not in out
    assert len(list((tmp_path / "clean").rglob("*.fts"))) == 1


def test_a_case_is_exported_as_a_patient(navkit, tmp_path):
    folder = tmp_path / "orbit.cx3"
    code, out, err = navkit("datasets", "--export", "orbit", "--to", folder)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"{folder} is written."
    assert "the true registration is left out" in out
    assert len(files.read_patient(folder).data) > 3
    code, _, err = navkit("datasets", "--export", "orbit", "--to", folder)
    assert code == 2
    assert "exists" in err
