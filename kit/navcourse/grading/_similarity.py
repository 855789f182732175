"""Pairs of submissions whose code is nearly the same: a hint to look, computed here, never a verdict.

Code becomes tokens without comments, layout, texts and own names. Every run of `LENGTH` tokens is a
fingerprint, thinned by winnowing. What was given (released text, reference solution) is taken out, and so is
what many in the class have: it was taught, or it is the only way to write it.

Source: Schleimer, Wilkerson, Aiken. Winnowing: local algorithms for document fingerprinting. SIGMOD 2003.
doi:10.1145/872757.872770
"""

import io
import keyword
import tokenize
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

__all__ = ["FEWEST", "SHARE", "Pair", "fingerprints", "similar_pairs"]

LENGTH = 8
"""Tokens in a fingerprint: about one short line."""
WINDOW = 4
"""Of so many fingerprints in a row one is kept at least: a copy of 11 tokens is never missed."""
FEWEST = 15
"""Own fingerprints that two must have in common; a few lines prove nothing."""
SHARE = 0.7
"""Part of the smaller one's own fingerprints that must be in the other."""
COMMON = 0.15
"""What more than this part of the class has, and more than four people, is not counted."""

_LAYOUT = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENCODING, tokenize.ENDMARKER,
}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Two people, how much of the smaller one's own code is in the other's (0 to 1), how many pieces."""

    one: str
    other: str
    share: float
    pieces: int


def similar_pairs(answers: Mapping[str, Sequence[str]], given: Iterable[str]) -> tuple[Pair, ...]:
    """Who handed in nearly the same code, the most alike first.

    Parameters
    ----------
    answers : the code cells of each person.
    given : what nobody had to write: released cells, the reference solution.
    """
    known = {piece for text in given for piece in _hashes(text)}
    own = {who: set[int]().union(*map(fingerprints, cells)) - known for who, cells in answers.items()}
    held = Counter(piece for pieces in own.values() for piece in pieces)
    most = max(4, COMMON * len(own))
    rare = {who: {piece for piece in pieces if held[piece] <= most} for who, pieces in own.items()}
    pairs = []
    for one, other in combinations(sorted(rare), 2):
        both = len(rare[one] & rare[other])
        share = both / max(1, min(len(rare[one]), len(rare[other])))
        if both >= FEWEST and share >= SHARE:
            pairs.append(Pair(one, other, share, both))
    return tuple(sorted(pairs, key=lambda pair: (-pair.share, -pair.pieces, pair.one, pair.other)))


def fingerprints(source: str) -> set[int]:
    """Winnowed fingerprints of code; code that is no Python counts up to where it stops being some.

    >>> fingerprints("mean = points.mean(axis=0) - 2 * shift  # mm") == fingerprints(
    ...     "m = p.mean(axis = 0) - 2*d")
    True
    """
    hashes = _hashes(source)
    return {min(hashes[k : k + WINDOW]) for k in range(max(1, len(hashes) - WINDOW + 1)) if hashes}


def _hashes(source: str) -> list[int]:
    tokens = list(_tokens(source))
    runs = (" ".join(tokens[k : k + LENGTH]) for k in range(len(tokens) - LENGTH + 1))
    return [zlib.crc32(run.encode()) for run in runs]


def _tokens(source: str) -> Iterable[str]:
    """Tokens: keywords, signs, numbers and what follows a dot as they are; every other name is "n"."""
    before = ""
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type in _LAYOUT:
                continue
            if token.type == tokenize.NAME and before != "." and not keyword.iskeyword(token.string):
                yield "n"
            elif token.type == tokenize.STRING:
                yield "s"
            else:
                yield token.string
            before = token.string
    except (tokenize.TokenError, SyntaxError):
        return
