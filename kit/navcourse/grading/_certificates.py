"""Certificates as PDF: one A4 page a person, the same bytes for the same words."""

import math
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

__all__ = ["Certificate", "certificate_figure", "write_certificate", "write_certificates"]

INK, SOFT, ACCENT = "#1b1f23", "#57606a", "#0b5cad"
SIZE_IN = (11.69, 8.27)  # A4, landscape
WIDEST = 0.80  # of the page
AIMS_PT = 120  # lines times size that fit above the signature

WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "title": "Certificate of participation", "this": "This is to certify that",
        "took": "has taken part in", "hour": "hour", "hours": "hours",
        "aims": "The participant has worked towards these aims",
    },
    "nb": {
        "title": "Kursbevis", "this": "Det bekreftes at", "took": "har deltatt på",
        "hour": "time", "hours": "timer", "aims": "Deltakeren har arbeidet mot disse målene",
    },
}  # fmt: skip


@dataclass(frozen=True)
class Certificate:
    """What stands on a certificate besides the name; `date` as it is read, such as "24 November 2026"."""

    course: str
    date: str
    hours: float
    aims: tuple[str, ...]
    issued_by: str = ""
    language: str = "en"


def write_certificates(
    people: Mapping[str, str], certificate: Certificate, folder: Path
) -> tuple[tuple[str, Path], ...]:
    """A PDF for each of `people` (id -> name as it is to be read), named by the id; (id, path) of each."""
    for name in people.values():
        certificate_figure(name, certificate)  # whatever is wrong is known before anything is written
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for own, name in people.items():
        path = folder / f"{_file_name(own)}.pdf"
        write_certificate(name, certificate, path)
        written.append((own, path))
    return tuple(written)


def write_certificate(name: str, certificate: Certificate, path: Path) -> None:
    """One page; the same words give the same bytes: no date of making is written into the file."""
    import matplotlib as mpl

    figure = certificate_figure(name, certificate)
    title = f"{WORDS[certificate.language]['title']}: {certificate.course}"
    # Type 3 carries a table of letters, so names can be searched and copied; TrueType takes 20 times as long.
    with mpl.rc_context({"pdf.fonttype": 3, "pdf.compression": 6}):
        figure.savefig(
            path,
            format="pdf",
            metadata={"CreationDate": None, "Title": title, "Creator": None, "Producer": None},
        )


def certificate_figure(name: str, certificate: Certificate) -> "Figure":
    """The page as a figure, for PDF or a picture.

    Raises
    ------
    ValueError
        If the name is empty, the hours are not a positive number, the language is not known, or the font
        lacks a sign.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    name = " ".join(unicodedata.normalize("NFC", name).split())
    if not name:
        raise ValueError("expected a name for the certificate, got an empty one.")
    if not (math.isfinite(certificate.hours) and certificate.hours > 0):
        raise ValueError(f"expected hours above 0, got {certificate.hours}.")
    if certificate.language not in WORDS:
        raise ValueError(f"expected a language among {', '.join(WORDS)}, got {certificate.language!r}.")
    everything = (name, certificate.course, certificate.date, *certificate.aims, certificate.issued_by)
    _demand_signs(" ".join(everything))
    words = WORDS[certificate.language]
    figure = Figure(figsize=SIZE_IN, facecolor="white")
    figure.add_artist(Rectangle((0.035, 0.05), 0.93, 0.90, fill=False, edgecolor=INK, linewidth=1.4))
    figure.add_artist(Rectangle((0.035, 0.938), 0.93, 0.012, facecolor=ACCENT, edgecolor="none"))

    def line(y: float, text: str, size: float, colour: str = INK, weight: str = "normal") -> "Text":
        # "$" would begin a formula
        return figure.text(
            0.5, y, text, size=size, color=colour, weight=weight, ha="center", va="center", parse_math=False
        )

    line(0.865, words["title"], 20, ACCENT, "bold")
    line(0.795, words["this"], 12, SOFT)
    _fitted(figure, line(0.725, name, 32, INK, "bold"), smallest=15)
    line(0.655, words["took"], 12, SOFT)
    _fitted(figure, line(0.600, certificate.course, 20, INK, "bold"), smallest=11)
    hours = f"{certificate.hours:g}".replace(".", "," if certificate.language == "nb" else ".")
    unit = words["hour" if certificate.hours == 1 else "hours"]
    line(0.545, f"{certificate.date}  ·  {hours} {unit}", 13)
    if certificate.aims:
        line(0.468, words["aims"], 12, SOFT)
        _aims(figure, certificate.aims)
    if certificate.issued_by:
        figure.add_artist(Rectangle((0.35, 0.118), 0.30, 0.0008, facecolor=SOFT, edgecolor="none"))
        _fitted(figure, line(0.092, certificate.issued_by, 11), smallest=7)
    return figure


def _demand_signs(text: str) -> None:
    from matplotlib.font_manager import findfont, get_font

    known = get_font(findfont("DejaVu Sans")).get_charmap()
    missing = "".join(dict.fromkeys(sign for sign in text if ord(sign) not in known))
    if missing:
        raise ValueError(
            f"the certificate's font has no sign for {missing!r}; expected letters of European alphabets. "
            "Write the name in Latin letters."
        )


def _aims(figure: "Figure", aims: Sequence[str]) -> None:
    """The aims as one block between its heading and the signature, in the largest size that fits."""
    for size, width in ((11.0, 96), (9.5, 112), (8.0, 132), (6.5, 160)):
        lines = [
            ("•  " if first else "    ") + text
            for aim in aims
            for first, text in zip((True, *[False] * 50), textwrap.wrap(aim, width), strict=False)
        ]
        if len(lines) * size <= AIMS_PT:
            break
    figure.text(
        0.5, 0.44, "\n".join(lines), size=size, color=INK, ha="center", va="top", linespacing=1.45,
        multialignment="left", parse_math=False,
    )  # fmt: skip


def _fitted(figure: "Figure", text: "Text", *, smallest: float) -> None:
    """Make a line smaller until it fits; one that is too long at the smallest size gets two lines."""
    if _width(figure, text) > WIDEST:
        size = float(text.get_fontsize()) * WIDEST / _width(figure, text)
        if size < smallest:
            whole = text.get_text()
            widths = range(math.ceil(len(whole) / 2), len(whole) + 1)
            text.set_text(next("\n".join(t) for w in widths if len(t := textwrap.wrap(whole, w)) <= 2))
            size = min(float(text.get_fontsize()) * WIDEST / _width(figure, text), smallest * 1.2)
        text.set_fontsize(size)


def _width(figure: "Figure", text: "Text") -> float:
    """Of the page: 1 is from edge to edge."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    return float(text.get_window_extent(renderer).width / figure.bbox.width)


def _file_name(own: str) -> str:
    return "".join(sign if sign.isalnum() or sign in "-_.@" else "_" for sign in own).lstrip(".") or "person"
