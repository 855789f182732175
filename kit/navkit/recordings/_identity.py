"""What identifies in a text, and what stands there instead.

One pattern and one pass, so that nothing put in is taken for something found.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

FIRST_DAY = datetime(2000, 1, 1)
EPOCH = datetime(1970, 1, 1)
EPOCH_S = (315_532_800, 2_082_758_400)  # what counts as seconds since 1970: the years 1980 to 2035
MONTHS = "jan|feb|mar|apr|ma[yi]|jun|jul|aug|sep|o[ck]t|de[cs]|nov"

PERSON = re.compile(
    r"patient_?(name|id|birth)|physician|operator\b|surgeon|birth|performed ?by", re.IGNORECASE
)
USER = re.compile(r"(?:home|Users|Settings)[\\/]+([^\\/\s]{3,})", re.IGNORECASE)
COMMON = re.compile(
    "patients?|laboratory|neuro(logy)?|bronchoscopy|laparoscopy|cardiac|vascular|custusx|fraxinus|profile|users?"
    "|public|admin|home|test|case|data|demo|phantom|images?|mesh|reference|unknown|anonymous|name|none|male|female"
    "|other|logs|default",
    re.IGNORECASE,
)  # words that are no one's name
_MONTH = rf"(?:{MONTHS})[a-zäé]*\.?"
_YMD = r"(?P<{0}y>(?:19|20)\d\d){1}(?P<{0}m>0[1-9]|1[0-2]){1}(?P<{0}d>0[1-9]|[12]\d|3[01])"
_ALONE = r"(?<![\d.])"
_NOT_DECIMALS = r"(?<!\d)(?<!\d\.)"
_CLOCK = r"(?P<{0}H>[01]\d|2[0-3]){1}(?P<{0}M>[0-5]\d)"
PARTS = {
    # A path may hold blanks: it is taken to the end of the line, or to a sign that none can hold.
    "path": r"(?:(?<![A-Za-z])[A-Za-z]:[\\/]|\\\\\w|(?:file|smb|nfs|sftp|ssh):/+"
    r"|(?:^|(?<=[\s=(\"',;:>]))(?:/(?=[A-Za-z~])|~\w*/))"
    r"[^\"'<>|*?;\r\n\t]*",
    "dicom": _NOT_DECIMALS + r"[0-2](?:\.\d+){5,}(?!\w)",
    "moment": _NOT_DECIMALS
    + rf"(?:{_YMD.format('a', '')}[T_ -]?{_CLOCK.format('a', '')}(?P<aS>[0-5]\d)(?:\d{{3}})?(?!\d)"
    rf"|{_YMD.format('b', '[-._/:]')}[T_ ]+{_CLOCK.format('b', '[-:.]?')}(?:[-:.]?(?P<bS>[0-5]\d))?(?!\d))",
    "count": rf"{_ALONE}1\d{{9}}(?:\d{{3}}|\d{{6}}|\d{{9}})?(?:\.\d+)?(?!\d)",
    "day": rf"{_NOT_DECIMALS}(?:{_YMD.format('c', '')}(?!\d)|{_YMD.format('d', '[-._/]')}(?!\d))"
    r"|(?<![\d.])\d{1,2}[-./]\d{1,2}[-./](?:19|20)\d\d(?!\d)"
    rf"|\b{_MONTH}[ ]+\d{{1,2}},?(?:[ ]+[\d:.]+)?[ ]+(?:19|20)\d\d\b"
    rf"|(?<!\d)\d{{1,2}}\.?[ -]+{_MONTH}[ -]+(?:19|20)\d\d\b",
}


@dataclass(frozen=True)
class Rules:
    """What is looked for, what replaces it, and a book of what happened.

    Parameters
    ----------
    names : persons, places and numbers that must go wherever they stand, also inside words
    words : the same, but only as whole words
    tokens : uids, and names of files and folders -> the new ones
    offset_s : added to all times; None while they are only looked for
    keep_days : False writes no calendar time at all
    seconds, persons, kept, tally, removed : filled on the way: times found, names of persons found, header
        fields kept that we do not know, what was replaced (kind, where), and what is gone (kind -> texts)
    """

    pseudonym: str
    names: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    tokens: Mapping[str, str] = field(default_factory=dict)
    offset_s: int | None = None
    keep_days: bool = True
    seconds: list[Decimal] = field(default_factory=list)
    persons: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    tally: Counter[tuple[str, str]] = field(default_factory=Counter)
    removed: dict[str, dict[str, None]] = field(default_factory=dict)
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        parts = dict(PARTS)
        first = {}
        if tokens := by_length(filter(telling, self.tokens)):
            alternatives = "|".join(map(re.escape, tokens))
            first["token"] = rf"(?<![\w-])(?-i:{alternatives})(?![\w-])"
        if self.names:
            first["name"] = "|".join(spelling_pattern(n) for n in by_length(self.names))
        if self.words:
            alternatives = "|".join(map(re.escape, by_length(self.words)))
            first["word"] = rf"(?<![^\W\d_])(?:{alternatives})(?![^\W\d_])"
        everything = {"path": parts.pop("path"), **first, **parts}
        pattern = "|".join(f"(?P<{kind}>{part})" for kind, part in everything.items())
        object.__setattr__(self, "pattern", re.compile(pattern, re.IGNORECASE))

    def note(self, kind: str, where: str, removed: str = "") -> None:
        self.tally[kind, where] += 1
        if removed:
            self.removed.setdefault(kind, {})[removed] = None


def by_length(texts: Iterable[str]) -> list[str]:
    return sorted(texts, key=lambda text: (-len(text), text))


def telling(token: str) -> bool:
    """Whether a uid or name is looked for in texts: not "1" or "m1", which stand for much else."""
    return len(token) > 3 and re.search(r"[^\W\d_]", token) is not None


def spelling_pattern(name: str) -> str:
    """A name with anything a header may put between its words: "Ola Hansen" finds "ola^hansen"."""
    return r"[\s_^.,-]*".join(map(re.escape, name.split()))


def cleaned(text: str, rules: Rules, where: str) -> str:
    """The text with all that identifies replaced."""

    def replaced(found: re.Match[str]) -> str:
        old, groups = found[0], found.groupdict()
        kind = next(k for k in KINDS if groups.get(k))
        if kind == "moment":
            return _moment(found, rules, where)
        if kind == "count":
            return shifted(old, rules, where)
        if rules.offset_s is None:
            if kind == "path":
                rules.persons.update(words_of_name(" ".join(USER.findall(old))))
            return old
        if kind in ("name", "word"):
            new = rules.pseudonym
        elif kind == "token":
            new = rules.tokens[old]
        elif kind == "dicom":
            known = [*rules.removed.get(KINDS[kind], {}), old]
            new = f"2.25.{known.index(old) + 1}"
        elif kind == "day":
            new = _plain_day(old) if rules.keep_days else ""
        else:
            new = "removed"
        if new != old:
            rules.note(KINDS[kind], where, old)
        return new

    return rules.pattern.sub(replaced, text)


KINDS = {
    "path": "path",
    "name": "name",
    "word": "name",
    "token": "uid or file name",
    "dicom": "DICOM uid",
    "moment": "date",
    "count": "time",
    "day": "date",
}


def _plain_day(old: str) -> str:
    """2000-01-01, spelled with the same signs where it is all digits."""
    if re.fullmatch(r"\d{4}.?\d\d.?\d\d", old):
        sign = old[4] if len(old) == 10 else ""
        return f"2000{sign}01{sign}01"
    return "2000-01-01"


def _moment(found: re.Match[str], rules: Rules, where: str) -> str:
    old = found[0]
    kind = "a" if found["ay"] else "b"
    spans = {f: found.span(kind + f) for f in "ymdHMS" if found[kind + f] is not None}
    values = {f: int(found[kind + f]) for f in spans}
    try:
        when = datetime(*(values.get(f, 0) for f in "ymdHMS"))  # type: ignore[arg-type]
    except ValueError:  # 31 February is no date
        return old
    if rules.offset_s is None:
        rules.seconds.append(Decimal((when - EPOCH) // timedelta(seconds=1)))
        return old
    rules.note("date", where)
    if not rules.keep_days:
        return ""
    when += timedelta(seconds=rules.offset_s)
    new = dict(zip("ymdHMS", when.timetuple()[:6], strict=True))
    for f, (start, end) in sorted(spans.items(), key=lambda item: -item[1][0]):
        start, end = start - found.start(), end - found.start()
        old = f"{old[:start]}{new[f]:0{end - start}d}{old[end:]}"
    return old


def shifted(text: str, rules: Rules, where: str, unit: Decimal | None = None) -> str:
    """A number of s, ms, us or ns since 1970 with the offset added, to the last digit; another stays.

    With `unit` (s) the number is of that unit, and digits are kept also where it is small.
    """
    number = Decimal(text)
    units = [unit] if unit else [Decimal(1).scaleb(-k) for k in (0, 3, 6, 9)]
    for one in units:
        seconds = number * one
        if EPOCH_S[0] <= seconds < EPOCH_S[1]:
            if rules.offset_s is None:
                rules.seconds.append(seconds)
                return text
            rules.note("time", where)
            return f"{number + rules.offset_s / one:f}"
    return text


def offset_of(seconds: Iterable[Decimal]) -> int:
    """Whole seconds that bring the first time to the first second of the year 2000."""
    first = min(map(int, seconds), default=None)
    return 0 if first is None else (FIRST_DAY - EPOCH) // timedelta(seconds=1) - first


def words_of_name(text: str) -> set[str]:
    """Words of three letters or digits and more that may be a person's.

    >>> sorted(words_of_name("Hansen^Ola, patient 7"))
    ['Hansen', 'Ola']
    """
    return {word for word in re.split(r"[\W_]+", text) if len(word) > 2 and not COMMON.fullmatch(word)}
