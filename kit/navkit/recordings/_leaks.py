"""The last look at what was written, by other means than the writing: is anything left that was removed?"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from xml.sax.saxutils import escape

SEPARATORS = (b"", b" ", b"_", b"-", b"^", b".", b", ", b",")
FIGURES = ("%Y{0}%m{0}%d", "%d{0}%m{0}%Y", "%m{0}%d{0}%Y")
SIGNS = ("", "-", ".", "/", "_", ":")
MONTHS = (  # English, Norwegian
    ("jan",), ("feb",), ("mar",), ("apr",), ("may", "mai"), ("jun",),
    ("jul",), ("aug",), ("sep",), ("oct", "okt"), ("nov",), ("dec", "des"),
)  # fmt: skip
CLOCK = re.compile(rb"(?<![\d.])(1\d{9})(?:\d{3}|\d{6}|\d{9})?(?![\d])")
TEXT = re.compile(rb"[^\x00-\x08\x0e-\x1f]*")  # up to the first byte that no text has
PIECE = 2**24
SHORTEST = 5  # bytes that are looked for among pixels, where any four stand somewhere


@dataclass(frozen=True)
class Secrets:
    """What must not be found: names also inside words, words on their own, texts as they were, days."""

    names: frozenset[str]
    words: frozenset[str]
    texts: frozenset[str]
    days: frozenset[date]


def leaks(root: Path, secrets: Secrets) -> Iterator[tuple[str, str]]:
    """File (or name of a file) and what was found in it; `root` itself counts as a name."""
    # Of a name of several words its longest is looked for first: the many spellings take their time.
    literals = [(name, _encoded(max(name.split(), key=len)), set(_forms(name))) for name in secrets.names]
    literals += [(text, _encoded(text), _encoded(text)) for text in secrets.texts]
    words = {form: word for word in secrets.words for form in _encoded(word)}
    days = {form: f"{day:%Y-%m-%d}" for day in secrets.days for form in _spelled(day)}
    around = {day + timedelta(days=k) for day in secrets.days for k in (-1, 0, 1)}

    def spelled_out(data: bytes, shortest: int) -> Iterator[str]:
        for told, first, forms in literals:
            if any(form in data for form in first):
                yield from (told for form in forms if len(form) >= shortest and form in data)

    def in_text(data: bytes) -> Iterator[str]:
        yield from spelled_out(data, 1)
        for forms, edge in ((words, rb"[^\W_]"), (days, rb"\d")):
            for form, told in forms.items():
                after = rb"(?!%b)" % edge if forms is words else rb"(?=\d{6}|\d{9}|\D|$)"
                if form in data and re.search(rb"(?<!%b)%b%b" % (edge, re.escape(form), after), data):
                    yield told
        for day in secrets.days:
            months = "|".join(MONTHS[day.month - 1])
            pair = rf"(?:(?:{months})\w*\.? +0?{day.day}\b|\b0?{day.day}\.?[ -]+(?:{months})\w*\.?)"
            if re.search(rf"{pair}.{{1,20}}{day.year}".encode(), data):
                yield f"{day:%Y-%m-%d}"
        for found in CLOCK.finditer(data):
            when = datetime.fromtimestamp(int(found[1]), UTC).date()
            if when in around:
                yield f"a time of {when:%Y-%m-%d}"

    for path in [root, *sorted(root.rglob("*"))]:
        name = path.name.encode().lower()
        yield from ((f"the name {path.name}", told) for told in in_text(name))
        if not path.is_file():
            continue
        where = path.relative_to(root).as_posix() if path != root else path.name
        for first, data in _pieces(path):
            head = TEXT.match(data)[0] if first else b""  # type: ignore[index]
            yield from ((where, told) for told in in_text(head))
            yield from ((where, told) for told in spelled_out(data, SHORTEST))


def _pieces(path: Path) -> Iterator[tuple[bool, bytes]]:
    """A file in lower case, in pieces that overlap; whether it is the first."""
    with path.open("rb") as file:
        before, first = b"", True
        while piece := file.read(PIECE):
            yield first, (before + piece).lower()
            before, first = piece[-1024:], False


def _encoded(text: str) -> set[bytes]:
    """In lower case as far as bytes have one; other letters in both."""
    forms = {text, text.lower(), text.upper(), text.title(), escape(text), escape(text, {'"': "&quot;"})}
    forms |= {re.sub(r"\s*\n\s*", " ", text)}
    found = {
        form.encode(code, "xmlcharrefreplace").lower() for form in forms for code in ("utf-8", "latin-1")
    }
    return {*found, *(form.encode("utf-16-le").lower() for form in forms)} - {b""}


def _forms(name: str) -> Iterable[bytes]:
    """A name as it may be spelled: any sign between its words, and the last word first."""
    words = name.split()
    for order in (words, words[-1:] + words[:-1]):
        for sign in SEPARATORS if len(words) > 1 else SEPARATORS[:1]:
            yield from _encoded(sign.decode().join(order))


def _spelled(day: date) -> set[bytes]:
    found = {day.strftime(figures.format(sign)) for figures in FIGURES for sign in SIGNS}
    found |= {f"{day.day}{sign}{day.month}{sign}{day.year}" for sign in "-./"}
    return {text.encode() for text in found}
