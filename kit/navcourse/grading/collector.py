"""From what a class handed in to nbgrader's folder ``submitted/``: whose file is it, and which counts?

The source may be a folder of notebooks, folders or zip files; one zip file; an nbgrader exchange;
the home folders of a hub; a download from Canvas or Moodle. Each file is recognised by the shape of
its name and of the folders around it.
"""

import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from navcourse.grading._names import clean_id, is_notebook, notebook_stem, safe_name, student_ids
from navcourse.grading._owners import (
    Owner,
    is_exchange,
    named,
    owner_of,
    student_and_lesson,
    without_wrappers,
)
from navcourse.grading._sources import Handed, Refused, common, find_files
from navcourse.grading.intake import Problem, quarantine
from navcourse.grading.settings import GradingError

__all__ = ["collect", "student_and_lesson"]

MOST_BESIDE = 200_000_000
NBGRADERS_OWN = ("timestamp.txt", "submission_secret.txt")
RENAME = "Rename the file to <student>_<lesson>.ipynb and collect again."
PASSED_OVER = "Nothing, if no lesson asks for such a file; it is not graded."
NO_NOTEBOOK = "Ask {student} for the .ipynb file: in JupyterLab, File > Download."


def collect(source: Path, course_root: Path, assignment: str, lessons: Sequence[str]) -> list[Problem]:
    """Copy everything into ``submitted/<student>/<assignment>/``; the source is only read.

    What a person had in ``submitted/`` for this assignment is replaced; nobody else's is touched.

    Parameters
    ----------
    source : a folder, or one zip file.
    lessons : names of the released notebooks.

    Returns
    -------
    problems : files without an owner, damaged zip files, people without a notebook, late marks.

    Raises
    ------
    GradingError
        If there is no file at all.
    """
    scratch = course_root / "downloaded" / assignment / "extracted"
    shutil.rmtree(scratch, ignore_errors=True)
    files, refused = find_files(source, scratch, skip=course_root, only=assignment)
    if not files and not refused:
        raise GradingError(f"{source} holds no file; expected the learners' notebooks or zip files.")
    owners = _owners([*files, *refused], lessons, assignment)
    people: dict[str, list[tuple[Owner, Handed]]] = defaultdict(list)
    for item in files:
        owner = owners[item]
        if owner is not None:
            people[owner.person].append((owner, item))
    ids = student_ids(owner.person for owner in owners.values() if owner)
    problems = [_refused(item, owners[item], ids, course_root, assignment) for item in refused]
    problems += [_nobodys(item) for item in files if owners[item] is None and not _handed_out(item)]
    homes = any(_in_home(item, assignment, scratch) for item in files)
    for person, found in sorted(people.items()):
        nothing = not any(is_notebook(owner.name[-1]) for owner, _ in found)
        if homes and nothing and not any(assignment in item.parts for _, item in found):
            continue  # a home folder of someone who takes no part
        problems += _copied(found, ids[person], course_root / "submitted" / ids[person] / assignment)
        problems += _names_told(found, person, ids, lessons)
    shutil.rmtree(scratch, ignore_errors=True)
    return problems


def _owners(
    items: list[Handed | Refused], lessons: Sequence[str], assignment: str
) -> dict[Handed | Refused, Owner | None]:
    parts = without_wrappers([item.parts for item in items], lessons)
    owners = [owner_of(below, lessons, assignment) for below in parts]
    exchange = is_exchange(parts)
    kept = [owner if owner and bool(owner.when) == exchange else None for owner in owners]
    return dict(zip(items, kept, strict=True))


def _handed_out(item: Handed) -> bool:
    """What else an exchange holds: released notebooks, feedback, other assignments."""
    return is_exchange([item.parts]) or bool({"outbound", "feedback"} & set(item.parts[:-1]))


def _in_home(item: Handed, assignment: str, scratch: Path) -> bool:
    return assignment in item.parts[1:-1] and not item.path.is_relative_to(scratch)


# -- what becomes of it --------------------------------------------------------------------------


def _nobodys(item: Handed) -> Problem:
    where = "/".join(item.parts)
    if is_notebook(item.parts[-1]):
        return Problem("", where, "the file's name does not say who and what", RENAME, False)
    return Problem("", where, "neither a notebook nor a zip file", PASSED_OVER, True)


def _refused(
    item: Refused, owner: Owner | None, ids: Mapping[str, str], course_root: Path, assignment: str
) -> Problem:
    student = ids[owner.person] if owner else ""
    todo = item.what_to_do.format(student=student or "the learner")
    names = item.parts or ((item.path.name,) if item.path else ())
    if item.path is not None:
        folder = course_root / "quarantine" / (student or "nobody") / assignment
        quarantine(item.path, folder, f"{item.reason}. {todo}", keep=True, name=safe_name(names[-1]))
    return Problem(student, "/".join(names), item.reason, todo, item.harmless)


def _copied(found: list[tuple[Owner, Handed]], student: str, folder: Path) -> list[Problem]:
    """Everything of one person; of several hand-ins of an exchange the newest."""
    problems: list[Problem] = []
    newest = max(owner.when for owner, _ in found)
    earlier = sorted({owner.when for owner, _ in found} - {newest})
    if earlier:
        reason = f"handed in {len(earlier) + 1} times; the last one counts ({newest})"
        problems.append(
            Problem(student, folder.name, reason, "Nothing: the earlier ones are in the exchange.", True)
        )
    files = [(owner, item) for owner, item in found if owner.when == newest]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    notebooks = [(owner, item) for owner, item in files if is_notebook(owner.name[-1])]
    beside = [(owner, item) for owner, item in files if not is_notebook(owner.name[-1])]
    taken: set[str] = set()
    for owner, item in notebooks:
        name = _free(safe_name(owner.name[-1]), taken)
        shutil.copy2(item.path, folder / name)
        if owner.late:
            todo = "Decide whether that costs points; nothing was taken off."
            problems.append(Problem(student, notebook_stem(name), "Canvas marks it as late", todo, True))
    if newest:
        (folder / "timestamp.txt").write_text(newest, encoding="utf-8")
    base = common([owner.name[:-1] for owner, _ in notebooks or files])
    problems += _beside(beside, student, folder, len(base), taken, secret=bool(newest))
    if not notebooks:
        names = ", ".join(sorted(owner.name[-1] for owner, _ in beside)[:5])
        todo = NO_NOTEBOOK.format(student=student)
        problems.append(
            Problem(student, folder.name, f"no notebook was handed in, only {names}", todo, False)
        )
    return problems


def _beside(
    found: list[tuple[Owner, Handed]], student: str, folder: Path, base: int, taken: set[str], *, secret: bool
) -> list[Problem]:
    """Files that a notebook may read when it runs, in the places where it had them."""
    kept: list[str] = []
    room = MOST_BESIDE
    problems: list[Problem] = []
    for owner, item in found:
        own = owner.name[-1].casefold() in NBGRADERS_OWN
        parts = [safe_name(part) for part in owner.name[base:]] or [safe_name(owner.name[-1])]
        size = item.path.stat().st_size
        if own and not (secret and owner.name[-1] == NBGRADERS_OWN[1]):
            continue
        if size > room:
            reason = f"the file is too large to be kept beside the notebook ({size / 1e6:.0f} MB)"
            problems.append(Problem(student, "/".join(owner.name), reason, PASSED_OVER, True))
            continue
        room -= size
        target = folder.joinpath(*parts[:-1], _free(parts[-1], taken, "/".join(parts[:-1])))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(item.path, target)
        if not own:
            kept.append("/".join(parts))
    if kept:
        more = f" and {len(kept) - 5} more" if len(kept) > 5 else ""
        reason = f"handed in besides notebooks: {', '.join(kept[:5])}{more}"
        todo = "Nothing: they are there when the notebook runs, and are not graded."
        problems.append(Problem(student, folder.name, reason, todo, True))
    return problems


def _names_told(
    found: list[tuple[Owner, Handed]], person: str, ids: Mapping[str, str], lessons: Sequence[str]
) -> list[Problem]:
    """Two people with almost one name, and somebody else's name on a file in this person's folder."""
    student = ids[person]
    problems = []
    twin = next((other for other in ids if other != person and _one_name(other, person)), None)
    if twin:
        reason = f"'{person}' and '{twin}' are one name where capitals and signs do not count"
        todo = f"See whether they are two people; '{person}' is graded as '{student}'."
        problems.append(Problem(student, person, reason, todo, True))
    for owner, _ in found:
        own = named(owner.name[-1], lessons)
        if own in ids and own != person:
            reason = f"the file carries the name of '{own}' and was handed in by '{person}'"
            todo = f"See whether it is {own}'s work; it is graded as {person}'s."
            problems.append(Problem(student, notebook_stem(owner.name[-1]), reason, todo, True))
    return problems


def _one_name(one: str, other: str) -> bool:
    return clean_id(one).casefold() == clean_id(other).casefold()


def _free(name: str, taken: set[str], folder: str = "") -> str:
    """The name, or with a number if it is taken where capitals do not count."""
    path = Path(name)
    number, new = 1, name
    while f"{folder}/{new}".casefold() in taken:
        number += 1
        new = f"{path.stem} [{number}]{path.suffix}"
    taken.add(f"{folder}/{new}".casefold())
    return new
