"""Two languages, one catalogue: every sentence in both, none built elsewhere."""

import ast
import string
import threading
from pathlib import Path

import numpy as np
import pytest

import navkit.checking
from navkit.checking import CheckFailed, check, close, close_pose, either, language
from navkit.checking._words import WORDS

FOLDER = Path(navkit.checking.__file__).parent
POSE = np.array([[0.0, -1, 0, 12.5], [1, 0, 0, -40], [0, 0, 1, 7], [0, 0, 0, 1]])


def placeholders(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}


@pytest.mark.parametrize("name", WORDS)
def test_every_sentence_is_there_in_both_languages_with_the_same_places(name):
    english, norwegian = WORDS[name]
    assert english.strip()
    assert norwegian.strip()
    assert placeholders(english) == placeholders(norwegian)
    assert english.startswith(" ") == norwegian.startswith(" ")
    assert english.rstrip()[-1] in ".?" or english[-1] == norwegian[-1] or norwegian[-1] not in ".?"
    if placeholders(english) != set(string.Formatter().parse(english)) and len(english) > 25:
        assert english != norwegian


def spoken_outside(source: str) -> list[str]:
    """Text with words and blanks in code that is no docstring: a sentence that skipped the catalogue."""
    tree = ast.parse(source)
    quiet = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for one in body if isinstance(body, list) else []:
            if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant):
                quiet.add(id(one.value))
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in quiet
    ]
    return [text for text in texts if " " in text.strip() and any(letter.isalpha() for letter in text)]


def test_no_sentence_is_built_outside_the_catalogue():
    files = [path for path in FOLDER.glob("*.py") if path.name != "_words.py"]
    assert len(files) >= 5
    for path in files:
        assert spoken_outside(path.read_text(encoding="utf-8")) == [], path.name


def test_a_sentence_outside_the_catalogue_is_found():
    assert spoken_outside('def f():\n    """A docstring."""\n    raise E(f"the answer {x} is wrong")\n') == [
        "the answer ",
        " is wrong",
    ]


def test_every_sentence_of_the_catalogue_is_used_or_is_a_key_for_authors():
    code = "".join(p.read_text(encoding="utf-8") for p in FOLDER.glob("*.py") if p.name != "_words.py")
    for_authors = {"fre_for_tre", "swapped_sets", "pivot_for_tip", "mean_for_rms", "rms_for_mean"}
    mirrored = {f"mirrored_{axis}" for axis in "xyz"}
    unused = {name for name in WORDS if f'"{name}"' not in code}
    assert unused | {"fre_for_tre"} == for_authors | mirrored  # that one stands in a docstring


def norwegian(function, *args, **options) -> str:
    with language("nb"), pytest.raises(CheckFailed) as caught:
        function(*args, **options)
    return str(caught.value)


def test_norwegian_has_a_decimal_comma_and_python_keeps_its_points():
    said = norwegian(close, [1.0, 2.0, 5.5], [1, 2, 3], atol=0.3, unit="mm", what="spissen")
    assert said == "det største avviket i spissen er 2,5 mm, ved indeks 2 (toleranse 0,3 mm)."
    bent = POSE.copy()
    bent[3] = [0, 0.5, 0, 1]
    assert "siste rad i transformen er 0 0.5 0 1; ventet 0 0 0 1." in norwegian(
        close_pose, bent, POSE, atol_mm=0.1, atol_deg=0.1
    )


@pytest.mark.parametrize(
    ("got", "said"),
    [
        (
            np.diag([1, 1, -1, 1]) @ POSE,
            "er speilvendt (determinant -1) og ikke en rotasjon. Dette ser ut som en",
        ),
        (np.linalg.inv(POSE), "Dette ser ut som den inverse: motsatt retning"),
        (POSE[:3], "transformen har formen (3, 4); ventet (4, 4)."),
        (None, "funksjonen din returnerte None i stedet for transformen: mangler det en `return`?"),
        (
            POSE + 0.2 * np.eye(4)[:, [3, 3, 3, 3]] * 0 + np.diag([0, 0, 0, 0.0]) * np.nan,
            "ventet et endelig tall",
        ),
    ],
)
def test_a_pose_is_told_in_norwegian(got, said):
    assert said in norwegian(close_pose, got, POSE, atol_mm=0.1, atol_deg=0.1)


def test_the_check_itself_speaks_norwegian(capsys):
    @check("spissen")
    def tip(find_tip):
        close(find_tip(), [1, 2, 3], atol=0.1, what=either("the tip", "spissen"))

    def stub():
        raise NotImplementedError

    assert norwegian(tip, stub).startswith("✗ spissen: ikke skrevet ennå: bytt ut `raise Not")
    assert "funksjonen din stoppet med ZeroDivisionError" in norwegian(tip, lambda: 1 / 0)
    assert "avviket i spissen" in norwegian(tip, lambda: [1, 2, 4])
    tip(lambda: [1, 2, 3])
    assert capsys.readouterr().out == "✓ spissen\n"


def test_the_environment_chooses_and_the_context_wins(monkeypatch):
    assert either("tip", "spiss") == "tip"
    for name in ("nb", "no", "nb_NO.UTF-8", "NB"):
        monkeypatch.setenv("NAVKIT_LANGUAGE", name)
        assert either("tip", "spiss") == "spiss"
        with language("en"):
            assert either("tip", "spiss") == "tip"
    for name in ("", "en", "sv", "nl"):
        monkeypatch.setenv("NAVKIT_LANGUAGE", name)
        assert either("tip", "spiss") == "tip"


def test_a_language_ends_with_its_block_and_stays_in_its_thread():
    heard = []
    thread = threading.Thread(target=lambda: heard.append(either("tip", "spiss")))
    with language("nb"):
        thread.start()
        thread.join()
        with pytest.raises(ZeroDivisionError), language("en"):
            1 / 0  # noqa: B018
        assert either("tip", "spiss") == "spiss"
    assert heard == ["tip"]
    assert either("tip", "spiss") == "tip"
    with pytest.raises(ValueError, match="the language is 'sv'; expected 'en' or 'nb'"), language("sv"):
        pass
