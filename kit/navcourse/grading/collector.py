"""From file names to learners and lessons, as a plugin of nbgrader's zip collector."""

import re
from pathlib import Path

from nbgrader.plugins import FileNameCollectorPlugin
from traitlets import List, Unicode

__all__ = ["SubmissionCollector", "student_and_lesson"]

_STUDENT = re.compile(r"[\w@][\w@.-]*")  # nbgrader uses the name in paths and in patterns of paths


def student_and_lesson(parts: tuple[str, ...], lessons: list[str]) -> tuple[str, str] | None:
    """The learner and the notebook's name in ``<student>_<lesson>`` or ``<student>/.../<lesson>``.

    >>> student_and_lesson(("ada_l_pivot (1).ipynb",), ["pivot"])
    ('ada_l', 'pivot (1)')
    >>> student_and_lesson(("ada", "pivot.ipynb"), ["pivot"])
    ('ada', 'pivot')
    """
    stem = Path(parts[-1]).stem
    if len(parts) > 1 and any(stem.startswith(lesson) for lesson in lessons):
        return _in_folder(parts, stem, lessons)
    for lesson in sorted(lessons, key=len, reverse=True):
        before, found, after = stem.rpartition(f"_{lesson}")
        if found and _STUDENT.fullmatch(before):
            return before, lesson + after
    if len(parts) > 1:
        return _in_folder(parts, stem, lessons)
    student, found, name = stem.partition("_")
    return (student, name) if found and name and _STUDENT.fullmatch(student) else None


def _in_folder(parts: tuple[str, ...], stem: str, lessons: list[str]) -> tuple[str, str] | None:
    # A learner's folder, or that of an unpacked zip file, which may itself be named <student>_<lesson>.
    own = student_and_lesson((parts[0] + ".zip",), lessons) if "_" in parts[0] else None
    student = own[0] if own and own[1] in lessons else parts[0]
    return (student, stem) if _STUDENT.fullmatch(student) else None


class SubmissionCollector(FileNameCollectorPlugin):
    """`student_and_lesson` for nbgrader; a second file for one lesson is kept beside the first."""

    lessons = List(Unicode(), help="names of the released notebooks").tag(config=True)
    extracted = Unicode("", help="folder below which the files lie").tag(config=True)

    def collect(self, submitted_file: str) -> dict[str, str] | None:
        path = Path(submitted_file)
        if path.suffix not in self.valid_ext or path.name.startswith("._"):
            return None
        if ".ipynb_checkpoints" in path.parts:
            return None
        parts = path.relative_to(self.extracted).parts
        found = student_and_lesson(parts, self.lessons)
        if found is None:
            self.not_understood.append("/".join(parts))
            return None
        student, name = found
        number = self._seen[student, name] = self._seen.get((student, name), 0) + 1
        return {"student_id": student, "file_id": (name if number == 1 else f"{name} [{number}]") + ".ipynb"}

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.not_understood: list[str] = []
        self._seen: dict[tuple[str, str], int] = {}
