"""What is said of a file: findings that add up, and the description that they become."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from navkit.files import FileError

T = TypeVar("T")

UNREADABLE = (ValueError, OSError, LookupError, ArithmeticError, MemoryError, RuntimeError)
"""What a reader may raise on a file that is not what it seems; FileError is a ValueError."""


@dataclass(frozen=True)
class Findings:
    """Facts and doubts about a recording or a part of one; ``+`` puts them one after another.

    Parameters
    ----------
    facts : (name, text with units)
    numbers : name with its unit -> the same facts as numbers
    warnings : what is suspicious, why it matters and what to do, one sentence or a few each
    not_checked : what was not looked at, and why

    Examples
    --------
    >>> found = Findings((("frames", "2"),), {"frames": 2}) + Findings(warnings=("Frame 1 is flat.",))
    >>> found.numbers["frames"], found.warnings
    (2, ('Frame 1 is flat.',))
    """

    facts: tuple[tuple[str, str], ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    not_checked: tuple[str, ...] = ()

    def __add__(self, other: "Findings") -> "Findings":
        return Findings(
            self.facts + other.facts,
            {**self.numbers, **other.numbers},
            self.warnings + tuple(w for w in other.warnings if w not in self.warnings),
            self.not_checked + tuple(c for c in other.not_checked if c not in self.not_checked),
        )


@dataclass(frozen=True)
class Description:
    """What something is and whether it is healthy; see `Findings` for the parts.

    Parameters
    ----------
    path : what was described
    kind : one short phrase, such as "CustusX acquisition, old layout"
    """

    path: Path
    kind: str
    facts: tuple[tuple[str, str], ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    not_checked: tuple[str, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """The description as text: what it is, the facts, the warnings, what was not checked.

        >>> print(*Description(Path("a/tip.cal"), "tool calibration", (("tip", "9 mm"),)).lines(), sep="\\n")
        tip.cal: tool calibration
          tip  9 mm
        nothing suspicious
        """
        width = max((len(name) for name, _ in self.facts), default=0)
        return (
            f"{self.path.name or self.path}: {self.kind}",
            *(f"  {name:<{width}}  {text}" for name, text in self.facts),
            *(f"warning: {warning}" for warning in self.warnings),
            *(
                (f"nothing suspicious{' in what was checked' * bool(self.not_checked)}",)
                * (not self.warnings)
            ),
            *(f"not checked: {what}" for what in self.not_checked),
        )

    def as_dict(self) -> dict[str, object]:
        """The same for JSON: texts, lists and numbers; None where a number is not finite."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            "facts": dict(self.facts),
            "numbers": {k: float(v) if math.isfinite(v) else None for k, v in self.numbers.items()},
            "warnings": list(self.warnings),
            "not_checked": list(self.not_checked),
        }


def described(path: Path, kind: str, found: Findings) -> Description:
    """Findings with the path and the kind that they are about."""
    return Description(path, kind, found.facts, found.numbers, found.warnings, found.not_checked)


def attempt(read: Callable[[], T]) -> tuple[T | None, Findings]:
    """What a reader gives, or None and its sentence as a warning: one bad part hides no other."""
    try:
        return read(), Findings()
    except UNREADABLE as reason:
        return None, Findings(warnings=(sentence(reason),))


def sentence(reason: BaseException) -> str:
    """An error as a warning; what is not ours gets its type, so that it can be looked up."""
    if isinstance(reason, FileError):
        return str(reason)
    last = (str(reason).strip().splitlines() or ["no reason given"])[-1]
    return f"It cannot be read ({type(reason).__name__}: {last}). Is the file damaged?"


def amount(nbytes: float) -> str:
    """Bytes for people.

    >>> amount(3784704), amount(12)
    ('3.8 MB', '12 bytes')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if nbytes >= size:
            return f"{nbytes / size:.1f} {unit}"
    return f"{nbytes:.0f} bytes"


def several(n: int, what: str, plural: str = "") -> str:
    """A count with its noun.

    >>> several(1, "frame"), several(2, "frame"), several(3, "mesh", "meshes")
    ('1 frame', '2 frames', '3 meshes')
    """
    return f"{n} {what if n == 1 else plural or what + 's'}"
