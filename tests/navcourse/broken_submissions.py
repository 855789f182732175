"""The catalogue of broken submissions: each hurts a rightly solved notebook, and says what must come of it.

An entry is a function from the notebook (a dict) to what is handed in: a notebook, bytes, or several
files by name. Outcomes:

untouched    the file is sound: graded as it is, nobody is told anything
repaired     graded after a repair that is told; the file as handed in is kept in ``originals/``
noted        graded as it is, and something is told
quarantined  not graded: set aside with a reason and what to do
"""

import copy
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass

LESSON = "sample_lesson"
FULL = (2, 3)
DOUBLE = (
    "# EXERCISE double_mm: edit this cell\n"
    "def double_mm(length_mm):\n"
    "    length_mm = np.asarray(length_mm)\n"
    "    return length_mm + length_mm\n"
)
CENTRE = (
    "# EXERCISE centre_of: edit this cell\n"
    "def centre_of(points):\n"
    "    c = np.average(points, axis=0)\n"
    "    return c, float(max(np.linalg.norm(p - c) for p in points))\n"
)
ANSWER = "**ANSWER what_moves (2 points): edit this cell**\n\nThe centre moves; the radius does not, på ære."
STUBS: dict[str, str] = {}  # the same cells as they were released; filled by the tests
ANSWERS = {"double_mm": DOUBLE, "centre_of": CENTRE, "answer_what_moves": ANSWER}


@dataclass(frozen=True)
class Broken:
    """One way to break a submission, and its required outcome."""

    damage: Callable[[dict], object]
    outcome: str
    says: str = ""
    todo: str = ""
    marks: tuple[int, int] = FULL

    @property
    def name(self) -> str:
        return self.damage.__name__


CATALOGUE: list[Broken] = []


def must_be(outcome, says="", *, todo="", marks=FULL):
    def keep(damage):
        CATALOGUE.append(Broken(damage, outcome, says, todo, marks))
        return damage

    return keep


# -- help ----------------------------------------------------------------------------------------


def grade_id(cell):
    return cell["metadata"].get("nbgrader", {}).get("grade_id", "")


def at(nb, name):
    return next(i for i, cell in enumerate(nb["cells"]) if grade_id(cell) == name)


def cell(nb, name):
    return nb["cells"][at(nb, name)]


def code(source, new_id="own-cell"):
    return {"cell_type": "code", "id": new_id, "metadata": {}, "source": source, "outputs": [],
            "execution_count": None}  # fmt: skip


def copied(original, new_id="copied", **changes):
    return copy.deepcopy(original) | {"id": new_id} | changes


def given(nb):
    """The locked cell of the setup."""
    return next(c for c in nb["cells"] if grade_id(c).startswith("given_"))


def text(nb):
    return json.dumps(nb, indent=1, ensure_ascii=False)


def without(nb, *names):
    nb["cells"] = [c for c in nb["cells"] if grade_id(c) not in names]
    return nb


# -- copied cells --------------------------------------------------------------------------------


@must_be("repaired", "the cell 'double_mm' was there twice; the one with work in it counts")
def solution_copied_and_the_stub_left_above(nb):
    original = cell(nb, "double_mm")
    nb["cells"].insert(at(nb, "double_mm"), copied(original, source=STUBS["double_mm"]))
    return nb


@must_be("repaired", "the cell 'double_mm' was there twice; the first one counts")
def solution_copied_and_the_stub_left_below(nb):
    original = cell(nb, "double_mm")
    nb["cells"].insert(at(nb, "double_mm") + 1, copied(original, source=STUBS["double_mm"]))
    return nb


@must_be("repaired", "the cell 'centre_of' was there 3 times; the first one counts")
def solution_there_three_times_each_with_work(nb):
    wrong = CENTRE.replace("float(", "2 * float(")
    where = at(nb, "centre_of")
    nb["cells"][where]["source"] = wrong
    nb["cells"][where + 1 : where + 1] = [
        copied(nb["cells"][where], "second", source=wrong + "\nprint(1)"),
        copied(nb["cells"][where], "third", source=CENTRE),
    ]
    return nb


@must_be("repaired", "the cell 'check_double_mm' was there twice; the first one counts")
def check_copied_below(nb):
    nb["cells"].append(copied(cell(nb, "check_double_mm")))
    return nb


@must_be("repaired", "the cell 'check_double_mm' was there twice; the one in its place counts")
def check_copied_above_the_solution(nb):
    nb["cells"].insert(at(nb, "double_mm"), copied(cell(nb, "check_double_mm")))
    return nb


@must_be("repaired", "was there twice; the first one counts")
def setup_copied_to_the_end_with_its_id(nb):
    nb["cells"].append(copy.deepcopy(given(nb)))
    return nb


@must_be("repaired", "the written answer 'answer_what_moves' was there twice; its texts were put together")
def written_answer_copied_and_both_written(nb):
    original = cell(nb, "answer_what_moves")
    nb["cells"].append(copied(original, source="And a second thought."))
    return nb


@must_be("repaired", "cells without an id of their own got one")
def two_cells_with_one_id(nb):
    nb["cells"].append(code("print('mine')") | {"id": cell(nb, "double_mm")["id"]})
    return nb


# -- split and merged ----------------------------------------------------------------------------

HELPER = "def twice_as_much(x):\n    return np.asarray(x) + np.asarray(x)\n"


@must_be("untouched")
def solution_split_between_two_functions(nb):
    cell(nb, "double_mm")["source"] = "# EXERCISE double_mm: edit this cell\n" + HELPER
    after = "def double_mm(length_mm):\n    return twice_as_much(length_mm)\n"
    nb["cells"].insert(at(nb, "double_mm") + 1, code(after))
    return nb


@must_be("repaired", "the cell 'double_mm' was there twice")
def solution_split_and_both_halves_marked(nb):
    first = cell(nb, "double_mm")
    nb["cells"].insert(
        at(nb, "double_mm") + 1, copied(first, source="def double_mm(x):\n    return twice_as_much(x)\n")
    )
    first["source"] = "# EXERCISE double_mm: edit this cell\n" + HELPER
    return nb


@must_be("repaired", "the cell 'double_mm' was in 2 pieces; they were joined")
def function_split_in_its_middle(nb):
    lines = DOUBLE.split("\n")
    cell(nb, "double_mm")["source"] = "\n".join(lines[:3])
    nb["cells"].insert(at(nb, "double_mm") + 1, code("\n".join(lines[3:])))
    return nb


@must_be("repaired", "the cell 'centre_of' was in 2 pieces; they were joined")
def function_split_in_its_middle_and_both_marked(nb):
    lines = CENTRE.split("\n")
    first = cell(nb, "centre_of")
    nb["cells"].insert(at(nb, "centre_of") + 1, copied(first, source="\n".join(lines[2:])))
    first["source"] = "\n".join(lines[:2])
    return nb


@must_be("repaired", "the cell 'centre_of' was in 2 pieces; they were joined")
def function_split_and_the_first_half_lost_its_mark(nb):
    lines = CENTRE.split("\n")
    last = cell(nb, "centre_of")
    nb["cells"].insert(at(nb, "centre_of"), code("\n".join(lines[:2])))
    last["source"] = "\n".join(lines[2:])
    return nb


@must_be("repaired", "were put into a cell of their own")
def solution_merged_into_the_locked_cell_above(nb):
    before = next(i for i in reversed(range(at(nb, "double_mm"))) if nb["cells"][i]["cell_type"] == "code")
    nb["cells"][before]["source"] += "\n\n" + DOUBLE
    return without(nb, "double_mm")


@must_be("repaired", "the cell 'check_double_mm' was missing and was put back as released")
def check_merged_into_the_solution(nb):
    cell(nb, "double_mm")["source"] += "\n\n" + cell(nb, "check_double_mm")["source"]
    return without(nb, "check_double_mm")


@must_be("repaired", "lines added to the locked cell 'check_double_mm' were put into a cell of their own")
def solution_merged_into_the_check_below(nb):
    check = cell(nb, "check_double_mm")
    check["source"] = DOUBLE + "\n\n" + check["source"]
    return without(nb, "double_mm")


# -- another type --------------------------------------------------------------------------------


def _as_text(found, cell_type):
    found["cell_type"] = cell_type
    del found["outputs"], found["execution_count"]


@must_be("repaired", "the code cell 'double_mm' had become a markdown cell")
def solution_became_markdown(nb):
    _as_text(cell(nb, "double_mm"), "markdown")
    return nb


@must_be("repaired", "the code cell 'centre_of' had become a raw cell")
def solution_became_raw(nb):
    _as_text(cell(nb, "centre_of"), "raw")
    return nb


@must_be("repaired", "the code cell 'check_centre_of' had become a markdown cell")
def check_became_markdown(nb):
    _as_text(cell(nb, "check_centre_of"), "markdown")
    return nb


@must_be("repaired", "the markdown cell 'answer_what_moves' had become a code cell")
def written_answer_became_code(nb):
    cell(nb, "answer_what_moves").update(cell_type="code", outputs=[], execution_count=3)
    return nb


@must_be("repaired", "its cells had parts too many or too few")
def became_code_with_the_parts_of_markdown(nb):
    del cell(nb, "double_mm")["outputs"]
    cell(nb, "double_mm")["attachments"] = {"a.png": {"image/png": "AA=="}}
    return nb


# -- locked cells and missing cells --------------------------------------------------------------


@must_be("repaired", "the mark of the cell 'check_double_mm' had been changed")
def check_unlocked_and_worth_more(nb):
    cell(nb, "check_double_mm")["metadata"]["nbgrader"].update(locked=False, points=200)
    cell(nb, "check_double_mm")["metadata"].pop("editable")
    return nb


@must_be("repaired", "the locked cell 'check_double_mm' had been edited; it is as released again")
def check_edited_so_that_it_says_yes(nb):
    cell(nb, "check_double_mm")["source"] = "print('✓ twice the length')"
    return nb


@must_be("repaired", "lines added to the locked cell")
def import_added_to_the_locked_setup(nb):
    given(nb)["source"] = given(nb)["source"].replace(
        "import numpy as np\n", "import numpy as np\nimport math\n"
    )
    cell(nb, "double_mm")["source"] = DOUBLE.replace("return", "math.pi\n    return")
    return nb


@must_be("repaired", "lines added to the locked cell 'check_double_mm'")
def helper_written_on_top_of_the_check(nb):
    check = cell(nb, "check_double_mm")
    check["source"] = HELPER + "\n\n" + check["source"]
    cell(nb, "double_mm")["source"] = "def double_mm(length_mm):\n    return twice_as_much(length_mm)"
    return nb


@must_be("repaired", "had been edited; it is as released again")
def setup_emptied(nb):
    given(nb)["source"] = ""
    return nb


@must_be("untouched")
def white_space_at_the_ends_of_locked_lines(nb):
    given(nb)["source"] = given(nb)["source"].replace("\n", "  \n") + "\n"
    return nb


@must_be("repaired", "the cell 'check_centre_of' was missing and was put back as released")
def checks_deleted(nb):
    return without(nb, "check_double_mm", "check_centre_of")


@must_be("repaired", "the cell 'check_double_mm' was missing and was put back as released")
def check_deleted_behind_a_split_solution(nb):
    return without(solution_split_between_two_functions(nb), "check_double_mm")


@must_be("repaired", "was missing and was put back as released")
def setup_deleted(nb):
    return without(nb, grade_id(given(nb)))


@must_be("repaired", "the cell 'centre_of' was missing and was put back as released", marks=(2, 0))
def solution_deleted(nb):
    return without(nb, "centre_of")


@must_be("repaired", "the cell 'double_mm' was missing; 'double_mm' from another cell counts")
def solution_deleted_and_written_in_another_way(nb):
    nb["cells"].insert(at(nb, "double_mm"), code("double_mm = lambda x: 2.0 * np.asarray(x)"))
    return without(nb, "double_mm")


@must_be("repaired", "cells had been moved; they are in the released order again")
def cells_in_reverse_order(nb):
    nb["cells"].reverse()
    return nb


@must_be("repaired", "cells had been moved")
def check_moved_to_the_top(nb):
    nb["cells"].insert(0, nb["cells"].pop(at(nb, "check_centre_of")))
    return nb


@must_be("untouched")
def own_cells_between_and_magics(nb):
    nb["cells"].insert(1, code("!rm -rf build"))
    nb["cells"].insert(3, code("%%bash\nls", "own-cell-2"))
    nb["cells"].insert(5, {"cell_type": "raw", "id": "raw", "metadata": {}, "source": "mine"})
    cell(nb, "double_mm")["source"] += "\n%timeit -n1 -r1 double_mm(1.0)\n"
    return nb


@must_be("untouched", marks=(0, 3))
def solution_with_a_syntax_error(nb):
    cell(nb, "double_mm")["source"] = "def double_mm(length_mm:\n    return 2"
    return nb


# -- marks, ids, schema --------------------------------------------------------------------------


@must_be("repaired", "8 cells had lost their marks")
def marks_stripped_as_by_an_editor(nb):
    for c in nb["cells"]:
        c["metadata"] = {"vscode": {"languageId": "python"}}
    return nb


@must_be("repaired", "8 cells had lost their marks")
def marks_and_ids_stripped_as_by_colab(nb):
    nb["nbformat_minor"] = 0
    nb["metadata"]["colab"] = {"provenance": []}
    for number, c in enumerate(nb["cells"]):
        del c["id"]
        c["metadata"] = {"id": f"x{number}"}
    return nb


@must_be("repaired", "8 cells had lost their marks")
def marks_ids_and_headings_stripped(nb):
    for name in ("double_mm", "centre_of"):
        cell(nb, name)["source"] = cell(nb, name)["source"].partition("\n")[2]
    return marks_and_ids_stripped_as_by_colab(nb)


@must_be("repaired", "8 cells had lost their marks")
def marks_stripped_and_the_solution_is_no_function(nb):
    cell(nb, "double_mm")["source"] = "double_mm = lambda x: 2.0 * np.asarray(x)"
    return marks_stripped_as_by_an_editor(nb)


@must_be("repaired", "the cell 'centre_of' had lost its mark")
def one_mark_lost(nb):
    del cell(nb, "centre_of")["metadata"]["nbgrader"]
    return nb


@must_be("untouched")
def ids_made_anew(nb):
    for number, c in enumerate(nb["cells"]):
        c["id"] = f"new-{number}"
    return nb


@must_be("repaired", "the mark of the cell 'double_mm' had been changed")
def grade_id_in_capitals(nb):
    cell(nb, "double_mm")["metadata"]["nbgrader"]["grade_id"] = "Double_MM"
    return nb


@must_be("repaired", "its marks were of another nbgrader (schema 1)")
def old_schema_one(nb):
    for c in nb["cells"]:
        if grade_id(c):
            c["metadata"]["nbgrader"]["schema_version"] = 1
            del c["metadata"]["nbgrader"]["task"]
    return nb


@must_be("repaired", "its marks were of another nbgrader (schema none)")
def no_schema_version(nb):
    for c in nb["cells"]:
        c["metadata"].get("nbgrader", {}).pop("schema_version", None)
    return nb


@must_be("repaired", "its marks were of another nbgrader (schema 4)")
def schema_of_the_future(nb):
    for c in nb["cells"]:
        if grade_id(c):
            c["metadata"]["nbgrader"]["schema_version"] = 4
    return nb


# -- kernel, format, outputs ---------------------------------------------------------------------


@must_be("repaired", "it named no kernel")
def no_kernel(nb):
    nb["metadata"] = {}
    return nb


@must_be("repaired", "its kernel was 'ir' (R)")
def kernel_of_another_language(nb):
    nb["metadata"] = {"kernelspec": {"name": "ir", "display_name": "R"}, "language_info": {"name": "R"}}
    return nb


@must_be("repaired", "its kernel was 'conda-env-nav-py'")
def kernel_of_a_conda_environment(nb):
    nb["metadata"]["kernelspec"] |= {"name": "conda-env-nav-py", "display_name": "Python [conda env:nav]"}
    return nb


@must_be("repaired", "or the name of its kernel, were damaged")
def kernel_without_its_name(nb):
    nb["metadata"]["kernelspec"] = {"display_name": 7}
    return nb


@must_be("repaired", "it was in the old notebook format 3")
def format_3(nb):
    import nbformat

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old = nbformat.convert(nbformat.from_dict(nb), 3)
    return json.loads(json.dumps(old))


@must_be("repaired", "the number of its format was damaged")
def format_with_a_damaged_number(nb):
    nb["nbformat_minor"] = "5"
    return nb


@must_be("untouched")
def format_4_2_without_ids(nb):
    nb["nbformat_minor"] = 2
    for c in nb["cells"]:
        del c["id"]
    return nb


@must_be("repaired", "cells without an id of their own got one")
def format_4_5_without_ids(nb):
    for c in nb["cells"]:
        del c["id"]
    return nb


@must_be("repaired", "saved widgets were left out")
def saved_widgets(nb):
    nb["metadata"]["widgets"] = {
        "application/vnd.jupyter.widget-state+json": {"state": {"x": "y" * 2_000_000}}
    }
    return nb


@must_be("repaired", "MB of outputs were left out")
def huge_outputs(nb):
    data = {"image/png": "A" * 21_000_000 + ']}"{["'}
    picture = {"output_type": "display_data", "metadata": {"outputs": [{}]}, "data": data}
    words = {"output_type": "stream", "name": "stdout", "text": ['"outputs": [\\\n'] * 20_000}
    cell(nb, "double_mm")["outputs"] = [picture, words]
    cell(nb, "centre_of")["outputs"] = [picture]
    return nb


@must_be("repaired", "its saved outputs, or the name of its kernel, were damaged")
def damaged_outputs(nb):
    cell(nb, "double_mm")["outputs"] = ["not an output", {"output_type": "stream"}]
    return nb


@must_be("untouched")
def picture_pasted_into_the_answer(nb):
    cell(nb, "answer_what_moves")["attachments"] = {"image.png": {"image/png": "iVBORw0KGgo="}}
    return nb


# -- encodings and line ends ---------------------------------------------------------------------


@must_be("repaired", "byte order mark")
def byte_order_mark(nb):
    return text(nb).encode("utf-8-sig")


@must_be("repaired", "it was saved as UTF-16, not as UTF-8")
def utf_16(nb):
    return text(nb).encode("utf-16")


@must_be("repaired", "it was saved as UTF-16, not as UTF-8")
def utf_16_without_a_mark(nb):
    return text(nb).encode("utf-16-le")


@must_be("repaired", "old encoding of Windows")
def windows_1252(nb):
    return text(nb).encode("cp1252", errors="replace")


@must_be("repaired", "1 damaged letters were replaced")
def one_damaged_letter(nb):
    return text(nb).replace("på ære", "på ære æøå Æ").encode().replace("Æ".encode(), b"\xc6")


@must_be("untouched")
def crlf_around_the_lines(nb):
    return text(nb).replace("\n", "\r\n").encode()


@must_be("untouched")
def cr_around_the_lines(nb):
    return text(nb).replace("\n", "\r").encode()


@must_be("repaired", "line ends of another system were replaced")
def crlf_in_the_cells(nb):
    for c in nb["cells"]:
        c["source"] = c["source"].replace("\n", "\r\n").splitlines(keepends=True)
    return nb


@must_be("repaired", "line ends inside its texts were not written as JSON wants them")
def line_ends_in_the_json(nb):
    return json.dumps(nb, ensure_ascii=False).replace("\\n", "\n").encode()


@must_be("repaired", "damaged letters were replaced")
def half_a_letter(nb):
    cell(nb, "answer_what_moves")["source"] += "HALF"
    return text(nb).replace("HALF", "\\ud83d").encode()


@must_be("repaired", "after the end of the notebook")
def zeros_after_the_end(nb):
    return text(nb).encode() + b"\0" * 4096


@must_be("repaired", "what stood after the end of the notebook was left out")
def the_end_twice(nb):
    return text(nb).encode() + b"\n}\n"


# -- no notebook ---------------------------------------------------------------------------------


@must_be("quarantined", "the file is cut off or damaged: no valid JSON", todo="hand it in anew")
def cut_off(nb):
    whole = text(nb).encode()
    return whole[: len(whole) // 2]


@must_be("quarantined", "the file is empty", todo="hand it in anew")
def empty_file(nb):
    return b""


@must_be("quarantined", "the file is empty", todo="hand it in anew")
def nothing_but_zeros(nb):
    return b"\0" * 2000


@must_be("quarantined", "git had put two versions into the file", todo="choose one of the two versions")
def conflict_of_git(nb):
    lines = text(nb).split("\n")
    lines[40:40] = ["<<<<<<< HEAD", ' "a"', "=======", ' "b"', ">>>>>>> theirs"]
    return "\n".join(lines).encode()


@must_be("quarantined", "the file is a web page", todo="File > Download")
def web_page(nb):
    return b"<!DOCTYPE html><html><body>Please log in</body></html>"


@must_be("quarantined", "not a notebook: it has no list of cells", todo="hand it in anew")
def other_json(nb):
    return b'{"type": "FeatureCollection", "features": []}'


@must_be("quarantined", "the file is not a valid notebook", todo="hand it in anew")
def a_cell_without_a_source(nb):
    del nb["cells"][3]["source"]
    return nb


@must_be("quarantined", "the notebook has format 5; expected 4", todo="hand it in anew")
def format_of_the_future(nb):
    return nb | {"nbformat": 5}


@must_be("quarantined", "its cells belong to another lesson (such as 'find_tip')", todo="of this lesson")
def another_lesson_under_this_name(nb):
    nb["cells"] = [copied(cell(nb, "double_mm"), source="def find_tip(): ...")]
    nb["cells"][0]["metadata"]["nbgrader"]["grade_id"] = "find_tip"
    return nb


@must_be("quarantined", "nested too deeply", todo="hand it in anew")
def nested_without_end(nb):
    return b"[" * 300_000


# -- names, copies, folders ----------------------------------------------------------------------


@must_be("repaired", "was named 'sample_lesson (1).ipynb'")
def downloaded_twice(nb):
    return {"sample_lesson (1).ipynb": nb}


@must_be("repaired", "was named 'sample_lesson-Copy1.ipynb'")
def copied_in_jupyterlab(nb):
    return {"sample_lesson-Copy1.ipynb": nb}


@must_be("repaired", "was named 'Kopi av sample_lesson.ipynb'")
def copied_in_norwegian(nb):
    return {"Kopi av sample_lesson.ipynb": nb}


@must_be("repaired", "was named 'Sample_Lesson.IPYNB'")
def capitals_in_the_name(nb):
    return {"Sample_Lesson.IPYNB": nb}


@must_be("repaired", "was named 'sample_lesson.ipynb.txt'")
def ending_of_a_browser(nb):
    return {"sample_lesson.ipynb.txt": nb}


@must_be("repaired", "was named 'øving på ærlig vis.ipynb'")
def name_with_norwegian_letters(nb):
    return {"øving på ærlig vis.ipynb": nb}


@must_be("repaired", "was named 'con.ipynb'")
def name_of_a_windows_device(nb):
    return {"con.ipynb": nb}


@must_be("repaired", "was named 'sample_lesson.ipynb. '")
def name_ending_in_a_dot(nb):
    return {"sample_lesson.ipynb. ": nb}


@must_be("repaired", "was recognised by its cells")
def very_long_name(nb):
    return {"my very long name " * 12 + ".ipynb": nb}


@must_be("repaired", "was named 'week 1/sample_lesson.ipynb'")
def notebook_in_a_subfolder(nb):
    return {"week 1/sample_lesson.ipynb": nb}


@must_be("repaired", "was named 'sample_lesson.ipynb/sample_lesson.ipynb'")
def folder_with_the_name_of_the_notebook(nb):
    return {"sample_lesson.ipynb/sample_lesson.ipynb": nb}


@must_be("untouched")
def checkpoints_and_other_files(nb):
    old = without(copy.deepcopy(nb), "double_mm")
    return {
        f"{LESSON}.ipynb": nb,
        f".ipynb_checkpoints/{LESSON}-checkpoint.ipynb": old,
        "helper.py": b"x = 1\n",
        "data/points.csv": b"1,2,3\n",
    }


@must_be(
    "noted", "is a second copy of 'sample_lesson'; graded is 'sample_lesson.ipynb': it has the right name"
)
def two_copies_with_different_work(nb):
    other = copy.deepcopy(nb)
    cell(other, "double_mm")["source"] = DOUBLE + "# another try\n"
    return {f"{LESSON}.ipynb": nb, f"{LESSON} (2).ipynb": other}


@must_be("repaired", "graded is 'sample_lesson-Copy1.ipynb': it has work in it, the other has none")
def the_stub_has_the_right_name(nb):
    return {f"{LESSON}.ipynb": handed_in_as_released(copy.deepcopy(nb)), f"{LESSON}-Copy1.ipynb": nb}


@must_be("repaired", "the file is cut off or damaged")
def a_damaged_file_and_a_whole_copy(nb):
    return {f"{LESSON}.ipynb": text(nb).encode()[:900], f"{LESSON} (1).ipynb": nb}


@must_be("noted", "the notebook has no cell of this assignment")
def a_notebook_of_ones_own_beside_it(nb):
    own = {"cells": [code("print(1)")], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return {f"{LESSON}.ipynb": nb, "notes.ipynb": own}


@must_be("untouched", marks=(0, 0))
def handed_in_as_released(nb):
    for c in nb["cells"]:
        c["source"] = STUBS.get(grade_id(c), c["source"])
    return nb
