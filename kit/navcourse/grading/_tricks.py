"""Answers that try to gain something without solving the exercise."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from navcourse.grading.judge import Hidden, cases
from navcourse.grading.mistakes import Stage, visible

TRICKS = (
    "a constant",
    "the copied visible answers",
    "an object that equals everything",
    "an array that equals everything",
    "patched numpy",
    "the copied answers of another cohort",
)
NEVER_SEEN_AS_RIGHT = TRICKS[2:5]
Answer = Callable[..., Any]
Memory = dict[bytes, Any]


def tricks(solution: Answer, shown: Memory, other: Memory) -> Iterator[tuple[str, Answer]]:
    first = next(iter(shown.values()), 0.0)
    answers: list[Answer] = [
        lambda *args: first,
        parrot(shown),
        lambda *args: Everything(),
        lambda *args: _in_parts(solution(*args), lambda part: _spoiled(part).view(EqualArray)),
        lambda *args: _and_patch(_in_parts(solution(*args), lambda part: _spoiled(part).tolist())),
        parrot(other) if other else lambda *args: first,
    ]
    yield from zip(TRICKS, answers, strict=True)


class Everything:
    """Equals everything, and is no number."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True

    def __sub__(self, other: object) -> float:
        return 0.0

    __rsub__ = __sub__
    __lt__ = __le__ = __gt__ = __ge__ = __eq__


class EqualArray(np.ndarray[Any, Any]):
    """Wrong numbers that claim to equal everything."""

    def __eq__(self, other: object) -> Any:
        return np.ones(self.shape, dtype=bool)

    def __sub__(self, other: object) -> Any:
        return np.zeros(self.shape)

    __rsub__ = __sub__

    def __array_ufunc__(self, *args: Any, **options: Any) -> Any:
        return np.zeros(self.shape)


def _and_patch(answer: Any) -> Any:
    """The answer, after numpy was told to agree with everything; `trial` puts numpy back."""
    for name in ("allclose", "isclose", "all", "any", "array_equal", "isfinite", "isnan"):
        setattr(np, name, lambda *args, **options: True)
    for name in ("abs", "absolute", "max", "subtract"):
        setattr(np, name, lambda *args, **options: 0.0)
    setattr(np.linalg, "norm", lambda *args, **options: 0.0)  # noqa: B010  (mypy: not an assignment)
    return answer


def _spoiled(part: Any) -> Any:
    return np.asarray(1.5 * np.asarray(part, dtype=float) + 1.0)


def _in_parts(answer: Any, change: Callable[[Any], Any]) -> Any:
    return tuple(change(part) for part in answer) if isinstance(answer, tuple) else change(answer)


def parrot(memory: Memory) -> Answer:
    """Says what it heard for the same question; for any other, what it heard last."""
    last = next(reversed(memory.values()), 0.0)
    return lambda *args: memory.get(_key(args), last)


def recorded(at: Stage) -> Memory:
    """What the solution answered to each question of the visible check."""
    memory: Memory = {}
    solution = solution_of(at)

    def listening(*args: Any) -> Any:
        key = _key(args)
        memory[key] = solution(*args)
        return memory[key]

    visible(at, listening)
    return memory


def answers_of(at: Stage, check: Hidden, cohort: str) -> Memory:
    """What the solution answers to each hidden question of a cohort."""
    solution = solution_of(at)
    return {_key(case.inputs): solution(*case.inputs) for case in cases(check, cohort)}


def solution_of(at: Stage) -> Answer:
    """The lesson's own function."""
    names = dict(at.names)
    exec(compile(at.solution, f"<{at.exercise}>", "exec"), names)
    found: Answer = names[at.exercise]
    return found


def _key(args: Sequence[Any]) -> bytes:
    digest = hashlib.sha256()
    for one in args:
        array = np.asarray(one, dtype=float)
        digest.update(repr(array.shape).encode() + array.tobytes())
    return digest.digest()
