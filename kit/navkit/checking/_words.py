"""Every sentence that a check may say, in English and in Norwegian (bokmål).

Nothing is worded anywhere else in this room. Numbers follow the language: 0.3 mm, 0,3 mm; what is
code (shapes, indices, matrices, source lines) stays as Python writes it.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

Language = Literal["en", "nb"]

_chosen: ContextVar[Language | None] = ContextVar("navkit_language", default=None)
_environ = os.environ.get

WORDS: Mapping[str, tuple[str, str]] = {
    # -- the answer is no answer
    "none": (
        "your function returned None instead of {what}: did you forget `return`?",
        "funksjonen din returnerte None i stedet for {what}: mangler det en `return`?",
    ),
    "type": (
        "{what} is of type {kind}; expected numbers in an array of shape {shape}.",
        "{what} er av typen {kind}; ventet tall i en tabell med formen {shape}.",
    ),
    "ragged": (
        "{what} is a {kind}{parts} that do not form one array; expected an array of shape {shape}.",
        "{what} er en {kind}{parts} som ikke utgjør én tabell; ventet en tabell med formen {shape}.",
    ),
    "parts": (" of {count} parts", " med {count} deler"),
    "has_none": ("{what} contains None; expected numbers.", "{what} inneholder None; ventet tall."),
    "complex": (
        "{what} contains complex numbers; expected real ones.",
        "{what} inneholder komplekse tall; ventet reelle tall.",
    ),
    "shape": ("{what} has shape {got}; expected {shape}.", "{what} har formen {got}; ventet {shape}."),
    "ask_swapped": (" Are rows and columns swapped?", " Er rader og kolonner byttet om?"),
    "not_finite": (
        "{what} is {value}{where}{many}; expected a finite number.",
        "{what} er {value}{where}{many}; ventet et endelig tall.",
    ),
    "at": (" at index {index}", " ved indeks {index}"),
    "in_all": (" ({count} numbers in all)", " ({count} tall i alt)"),
    "invented": (
        "{what} has a number{where} where there is no data; expected NaN.",
        "{what} har et tall{where} der det ikke finnes data; ventet NaN.",
    ),
    # -- properties
    "demanded": ("{what} {property}.", "{what} {property}."),
    "is_orthogonal": (
        "is not a rotation: R.T @ R is not the identity",
        "er ikke en rotasjon: R.T @ R er ikke identiteten",
    ),
    "is_proper": (
        "does not have determinant +1: it is a mirror image or has a scale",
        "har ikke determinant +1: den er speilvendt eller skalert",
    ),
    "is_symmetric": ("is not symmetric", "er ikke symmetrisk"),
    "is_unit": ("does not have length 1", "har ikke lengde 1"),
    "is_increasing": ("does not increase from one value to the next", "øker ikke fra verdi til verdi"),
    "is_positive": ("is not positive everywhere", "er ikke positiv overalt"),
    # -- accuracy
    "error": (
        "the error of {what} is {size}{unit} (tolerance {limit}{unit}).",
        "avviket i {what} er {size}{unit} (toleranse {limit}{unit}).",
    ),
    "largest_error": (
        "the largest error of {what} is {size}{unit}, at index {index} (tolerance {limit}{unit}).",
        "det største avviket i {what} er {size}{unit}, ved indeks {index} (toleranse {limit}{unit}).",
    ),
    "largest_turn": (
        "the largest error of {what} is {size} deg, at index {index} (tolerance {limit} deg).",
        "det største avviket i {what} er {size} grader, ved indeks {index} (toleranse {limit} grader).",
    ),
    "turn": (
        "the error of {what} is {size} deg (tolerance {limit} deg).",
        "avviket i {what} er {size} grader (toleranse {limit} grader).",
    ),
    "last_row": (
        "{what} ends in the row {row}; expected 0 0 0 1.",
        "siste rad i {what} er {row}; ventet 0 0 0 1.",
    ),
    "ask_transposed": (" Is the matrix transposed?", " Er matrisen transponert?"),
    "mirror": (
        "the 3 x 3 part of {what} is a mirror image (determinant {det}), not a rotation.",
        "3 x 3-delen av {what} er speilvendt (determinant {det}) og ikke en rotasjon.",
    ),
    "ask_guard": (
        " Is the guard against reflections missing?",
        " Mangler sperren mot speilvending?",
    ),
    "scaled": (
        "the 3 x 3 part of {what} is a rotation with a scale of {scale}; expected a scale of 1.",
        "3 x 3-delen av {what} er en rotasjon med skala {scale}; ventet skala 1.",
    ),
    "not_rotation": (
        "the 3 x 3 part of {what} is not a rotation: R.T @ R misses the identity by {off}, "
        "the determinant is {det}.",
        "3 x 3-delen av {what} er ikke en rotasjon: R.T @ R avviker fra identiteten med {off}, "
        "determinanten er {det}.",
    ),
    "pose_both": (
        "{what} is not right: its origin is {mm} mm away (tolerance {limit_mm} mm) and "
        "its rotation is {deg} deg away (tolerance {limit_deg} deg).",
        "{what} stemmer ikke: origo ligger {mm} mm unna (toleranse {limit_mm} mm) og "
        "rotasjonen avviker {deg} grader (toleranse {limit_deg} grader).",
    ),
    "pose_origin": (
        "{what} is not right: its origin is {mm} mm away (tolerance {limit_mm} mm); the rotation is right.",
        "{what} stemmer ikke: origo ligger {mm} mm unna (toleranse {limit_mm} mm); rotasjonen er riktig.",
    ),
    "pose_rotation": (
        "{what} is not right: its rotation is {deg} deg away (tolerance {limit_deg} deg); "
        "the origin is right.",
        "{what} stemmer ikke: rotasjonen avviker {deg} grader (toleranse {limit_deg} grader); "
        "origo er riktig.",
    ),
    "looks_like": (" This looks like {mistake}.", " Dette ser ut som {mistake}."),
    "the_result": ("the result", "resultatet"),
    "the_transform": ("the transform", "transformen"),
    "the_quaternion": ("the quaternion", "kvaternionen"),
    # -- known mistakes, of a pose
    "inverse": (
        "the inverse: the other way round, or the two sets swapped",
        "den inverse: motsatt retning, eller de to settene byttet om",
    ),
    "transposed_rotation": ("a transposed rotation", "en transponert rotasjon"),
    "transposed_matrix": (
        "the whole matrix transposed: the translation stands in the last row",
        "hele matrisen transponert: translasjonen står i siste rad",
    ),
    "ras_both": ("RAS instead of LPS on both sides", "RAS i stedet for LPS på begge sider"),
    "ras_to": (
        "RAS instead of LPS in the space it maps to",
        "RAS i stedet for LPS i rommet den går til",
    ),
    "ras_from": (
        "RAS instead of LPS in the space it maps from",
        "RAS i stedet for LPS i rommet den går fra",
    ),
    "axes_reversed": (
        "axes in the order z, y, x instead of x, y, z",
        "aksene i rekkefølgen z, y, x i stedet for x, y, z",
    ),
    "mirrored_pose": (
        "a mirror image with one axis turned over: is the guard against reflections missing",
        "en speilvending der én akse er snudd: mangler sperren mot speilvending",
    ),
    "degrees_turn": (
        "an angle in degrees taken for radians",
        "en vinkel i grader brukt som radianer",
    ),
    "radians_turn": (
        "an angle in radians taken for degrees",
        "en vinkel i radianer brukt som grader",
    ),
    "no_translation": ("a transform without its translation", "en transform uten translasjonen"),
    "no_rotation": ("a transform without its rotation", "en transform uten rotasjonen"),
    "opposite_translation": (
        "a translation with the opposite sign",
        "en translasjon med motsatt fortegn",
    ),
    "identity": ("the identity: nothing has moved", "identiteten: ingenting er flyttet"),
    "wrong_order": (
        "the factors multiplied in the wrong order",
        "faktorene multiplisert i feil rekkefølge",
    ),
    "factor_inverted": (
        "a product in which one factor is the wrong way round (inverted)",
        "et produkt der én faktor går feil vei (er invertert)",
    ),
    "factor_missing": (
        "a product in which one factor is missing",
        "et produkt der én faktor mangler",
    ),
    # -- known mistakes, of numbers
    "metres": ("metres instead of millimetres", "meter i stedet for millimeter"),
    "millimetres": ("millimetres instead of metres", "millimeter i stedet for meter"),
    "milliseconds": ("milliseconds instead of seconds", "millisekunder i stedet for sekunder"),
    "seconds": ("seconds instead of milliseconds", "sekunder i stedet for millisekunder"),
    "degrees": ("degrees instead of radians", "grader i stedet for radianer"),
    "radians": ("radians instead of degrees", "radianer i stedet for grader"),
    "opposite_sign": ("the opposite sign", "motsatt fortegn"),
    "clock_sign": (
        "the opposite sign: which of the two clocks is late",
        "motsatt fortegn: hvilken av de to klokkene er for sen",
    ),
    "squared": ("the square: a root is missing", "kvadratet: det mangler en rot"),
    "twice": ("twice the right value", "det dobbelte av riktig verdi"),
    "half": ("half the right value", "halvparten av riktig verdi"),
    "zeros": ("nothing but zeros: was it ever filled", "bare nuller: ble den noen gang fylt"),
    "counted_from_one": ("indices counted from 1", "indekser som teller fra 1"),
    "one_too_low": ("indices that are one too low", "indekser som er én for lave"),
    "one_sample_late": ("a series one sample late", "en serie som er én prøve for sen"),
    "one_sample_early": ("a series one sample early", "en serie som er én prøve for tidlig"),
    # -- known mistakes, of points and images
    "ras_points": (
        "RAS instead of LPS: x and y have the opposite sign",
        "RAS i stedet for LPS: x og y har motsatt fortegn",
    ),
    "mirrored_x": ("a mirror image: x has the opposite sign", "en speilvending: x har motsatt fortegn"),
    "mirrored_y": ("a mirror image: y has the opposite sign", "en speilvending: y har motsatt fortegn"),
    "mirrored_z": ("a mirror image: z has the opposite sign", "en speilvending: z har motsatt fortegn"),
    "points_zyx": (
        "axes in the order z, y, x instead of x, y, z",
        "aksene i rekkefølgen z, y, x i stedet for x, y, z",
    ),
    "row_for_column": ("row and column swapped", "rad og kolonne byttet om"),
    "voxels": (
        "voxels instead of millimetres: the spacing is missing",
        "voksler i stedet for millimeter: det mangler en vokselstørrelse",
    ),
    "millimetres_for_voxels": (
        "millimetres instead of voxels: the spacing is missing",
        "millimeter i stedet for voksler: det mangler en vokselstørrelse",
    ),
    "spacing_reversed": (
        "a spacing in the order z, y, x",
        "en vokselstørrelse i rekkefølgen z, y, x",
    ),
    "transposed": ("a transposed matrix", "en transponert matrise"),
    "image_axes": (
        "the axes of the image in the reverse order",
        "bildets akser i omvendt rekkefølge",
    ),
    "mirrored_image": ("a mirrored image", "et speilvendt bilde"),
    # -- known mistakes, of a quaternion
    "w_first": (
        "the quaternion with w first: the order is x, y, z, w",
        "kvaternionen med w først: rekkefølgen er x, y, z, w",
    ),
    "w_last": (
        "the quaternion with w last: the order is w, x, y, z",
        "kvaternionen med w sist: rekkefølgen er w, x, y, z",
    ),
    "conjugate": (
        "the conjugate: the turn the other way round",
        "den konjugerte: dreiningen motsatt vei",
    ),
    # -- known by data that the author has; keys of `likely`
    "fre_for_tre": (
        "the FRE, at the landmarks, instead of the TRE, at the targets",
        "FRE, ved landemerkene, i stedet for TRE, ved målpunktene",
    ),
    "swapped_sets": ("the two sets of points swapped", "de to punktsettene byttet om"),
    "pivot_for_tip": (
        "the pivot point in pr, not the tip in s",
        "dreiepunktet i pr, ikke spissen i s",
    ),
    "mean_for_rms": ("the mean instead of the RMS", "middelverdien i stedet for RMS"),
    "rms_for_mean": ("the RMS instead of the mean", "RMS i stedet for middelverdien"),
    # -- the check itself
    "passed": ("✓ {title}", "✓ {title}"),
    "failed": ("✗ {title}: {sentence}", "✗ {title}: {sentence}"),
    "not_written": (
        "not written yet: replace `raise NotImplementedError(...)` with your code.",
        "ikke skrevet ennå: bytt ut `raise NotImplementedError(...)` med din egen kode.",
    ),
    "stopped": (
        "your function stopped with {error} ({line}).",
        "funksjonen din stoppet med {error} ({line}).",
    ),
    "line": ("line {number}", "linje {number}"),
    "line_source": ("line {number}: `{source}`", "linje {number}: `{source}`"),
    "told": ("{kind}: {text}", "{kind}: {text}"),
    "not_right": ("not right.", "ikke riktig."),
    "unusable": (
        "the result could not be used ({error}). Does your function return what the task asks for?",
        "resultatet kunne ikke brukes ({error}). Returnerer funksjonen det oppgaven ber om?",
    ),
    "unusable_none": (
        "the result could not be used ({error}). Your function returned None: did you forget `return`?",
        "resultatet kunne ikke brukes ({error}). Funksjonen returnerte None: mangler det en `return`?",
    ),
}


@contextmanager
def language(name: Language) -> Iterator[None]:
    """Let checks inside the ``with`` speak English ("en") or Norwegian bokmål ("nb").

    Outside of it the environment variable NAVKIT_LANGUAGE decides ("nb", "nb_NO", "no", ...); English is
    the default.

    Raises
    ------
    ValueError
        If there is no such language.

    Examples
    --------
    >>> from navkit.checking import close
    >>> with language("nb"):
    ...     close(1.5, 1.0, atol=0.3, unit="mm", what="spissen")
    Traceback (most recent call last):
    navkit.checking.CheckFailed: avviket i spissen er 0,5 mm (toleranse 0,3 mm).
    """
    if name not in ("en", "nb"):
        raise ValueError(f"the language is {name!r}; expected 'en' or 'nb'.")
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def either(english: str, norwegian: str) -> str:
    """The author's own words in the language that is spoken now.

    >>> either("the tip", "spissen")
    'the tip'
    """
    return norwegian if _norwegian() else english


def say(name: str, values: Mapping[str, object] | None = None) -> str:
    """The sentence `name` of the catalogue, filled in."""
    return WORDS[name][_norwegian()].format_map(values or {})


def named(mistake: str) -> str:
    """A mistake in words: from the catalogue if it is in there, else the author's own."""
    return say(mistake) if mistake in WORDS else mistake


def number(value: float, digits: int) -> str:
    """A number as it is written in the language."""
    text = f"{value:.0f}" if 1000 <= value < 1e7 and digits == 3 else f"{value:.{digits}g}"
    return text.replace(".", ",") if _norwegian() else text


def _norwegian() -> bool:
    name = _chosen.get() or _environ("NAVKIT_LANGUAGE", "")
    return name.lower().startswith(("nb", "no"))
