"""Damaged files for the readers: a seeded mutator, and the readers under attack.

`attack` gives a reader one damaged variant. It must refuse with a clear sentence or give an answer that the
bytes of the damaged file bear out; another exception, a warning, a crash, 2 s of work or 300 MB are faults.
From the shell, 20,000 variants of each format, each batch in a process of its own whose memory is limited:

    python tests/navkit/fuzzing.py [FORMAT ...] [--count 20000] [--first 0] [--keep FOLDER]

A fault is named by format and number: ``fuzzing.py FORMAT --first NUMBER --count 1 --keep FOLDER`` writes
that variant's files. Variants depend on nothing but format and number.
"""

import argparse
import faulthandler
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from fuzz_formats import FORMATS, Format

from navkit.files import FileError

Files = dict[str, bytes | None]  # None stands for a folder of that name
Mutator = Callable[[np.random.Generator, bytes], bytes]

MOST_S = 2.0
MOST_BYTES = 300_000_000
BATCH = 5000
NUMBER = re.compile(rb"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?")
WORD = re.compile(rb"[^\s\"<>,;:=\[\]{}]+")
ODD = [
    b"1e12", b"1000000000000", b"-7", b"0", b"-0", b"nan", b"NaN", b"inf", b"-Infinity", b"1e308", b"-1e308",
    b"1e-320", b"1e999", b"", b"1_0", b"0x1F", b"1,5", b"9" * 5000, b"99999999999", b"0.5", b"2.5", b"--1",
    b".5",
    b"2147483648", b"-1", b"4294967297", b"18446744073709551617", b"\xb2", b"1e", b"1 2", b"True", b"null",
    "٣".encode(), "１２".encode(), "−5".encode(), "5\u00a0000".encode(), b"1\x1c2", b"999999999", b"1000000",
]  # fmt: skip
TERMS = {
    b"DimSize": [b"1e12 1 1", b"1000000 1000000 1", b"0 0 1000000000", b"0 0 999999999999", b"-3 4 5",
                 b"9 7 3.5", b"9 7", b"9 7 3 1", b"9 7 " + b"3" * 6000, b"", b"nan 7 3", b"1 1 1", b"9 7 0",
                 b"40000 40000 1"],
    b"NDims": [b"2", b"4", b"1000000000", b"-1", b"x"],
    b"ElementType": [b"MET_DOUBLE", b"MET_CHAR", b"MET_UCHAR_ARRAY", b"MET_OTHER", b"met_uchar", b""],
    b"ElementNumberOfChannels": [b"0", b"-1", b"3", b"1e12", b"1.5", b"nan", b"4294967297"],
    b"ElementDataFile": [b"LOCAL", b"", b".", b"..", b"/dev/zero", b"../other", b"a\0b", b"x" * 5000, b"LIST",
                         b"slice%03d.raw 1 9 1", b"/etc/hostname"],
    b"CompressedData": [b"True", b"False", b"true", b"maybe", b"1", b""],
    b"CompressedDataSize": [b"1", b"-1", b"1000000000000", b"x"],
    b"BinaryData": [b"False", b"maybe"],
    b"BinaryDataByteOrderMSB": [b"True", b"maybe"],
    b"HeaderSize": [b"-1", b"5", b"1e12"],
    b"ElementSpacing": [b"0 0 0", b"-1 1 1", b"nan nan nan", b"inf 1 1", b"1e308 1e308 1", b"1"],
    b"UltrasoundImageOrientation": [b"UN", b"FM", b"QQ", b"", b"XX", b"MFAMFA"],
    b"TransformMatrix": [b"0 0 0 0 0 0 0 0 0", b"nan 0 0 0 1 0 0 0 1", b"2 0 0 0 1 0 0 0 1"],
    b"sizes": [b"1000000 1000000 1", b"0 0 0", b"9 7", b"-1 2 3", b"9 7 999999999999"],
    b"type": [b"double", b"block", b"uint8 ", b""],
    b"encoding": [b"raw", b"gzip", b"bzip2", b"hex", b"ascii"],
    b"endian": [b"big", b"middle"],
    b"dimension": [b"2", b"16", b"1000000000", b"x"],
    b"space directions": [b"(nan,0) (0,1) none", b"(0,0,0) (0,0,0) (0,0,0)", b"none none none"],
}  # fmt: skip
BOMB = zlib.compress(bytes(20_000_000), 9)
ENTITIES = b"".join(b'<!ENTITY e%d "%s">' % (k, b"&e%d;" % (k - 1) * 10) for k in range(1, 10))
DOCTYPES = [
    b'<!DOCTYPE r [<!ENTITY e0 "haha">' + ENTITIES + b"]>",
    b'<!DOCTYPE r [<!ENTITY e9 SYSTEM "file:///etc/hostname">]>',
    b'<!DOCTYPE r [<!ENTITY e9 "1">]>',
]


# ---- damage to one file: bytes, lines, tokens ------------------------------------------------------------


def span(rng: np.random.Generator, data: bytes, most: int = 40) -> tuple[int, int]:
    start = int(rng.integers(len(data) + 1))
    return start, min(len(data), start + int(rng.integers(1, most)))


def cut(rng: np.random.Generator, data: bytes) -> bytes:
    return data[: rng.integers(len(data) + 1)]


def flip(rng: np.random.Generator, data: bytes) -> bytes:
    new = bytearray(data)
    for at in rng.integers(len(data), size=rng.integers(1, 9)) if data else ():
        new[at] ^= 1 << int(rng.integers(8))
    return bytes(new)


def scribble(rng: np.random.Generator, data: bytes) -> bytes:
    a, b = span(rng, data)
    return data[:a] + rng.bytes(b - a) + data[b:]


def remove(rng: np.random.Generator, data: bytes) -> bytes:
    a, b = span(rng, data)
    return data[:a] + data[b:]


def insert(rng: np.random.Generator, data: bytes) -> bytes:
    a, b = span(rng, data)
    return data[:a] + rng.bytes(b - a) + data[a:]


def zeros(rng: np.random.Generator, data: bytes) -> bytes:
    a, b = span(rng, data)
    return data[:a] + bytes(b - a) + data[a:]


def twice(rng: np.random.Generator, data: bytes) -> bytes:
    return data + data


def nothing(rng: np.random.Generator, data: bytes) -> bytes:
    return [b"", b"\n", b"\0", b" \n\n"][rng.integers(4)]


def line_ends(rng: np.random.Generator, data: bytes) -> bytes:
    return data.replace(b"\n", [b"\r\n", b"\r", b"\n\n", b"\x0b", b"\xc2\x85"][rng.integers(5)])


def other_code(rng: np.random.Generator, data: bytes) -> bytes:
    code = ["utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-7"][rng.integers(5)]
    return data.decode("latin-1").encode(code)


def long_line(rng: np.random.Generator, data: bytes) -> bytes:
    a, _ = span(rng, data)
    return data[:a] + [b"A", b"7", b"1 ", b" ", b"=", b'"', b"("][rng.integers(7)] * 50_000 + data[a:]


def lines(rng: np.random.Generator, data: bytes) -> bytes:
    rows = data.splitlines(keepends=True)
    if not rows:
        return data
    k, j = (int(i) for i in rng.integers(len(rows), size=2))
    what = rng.integers(5)
    if what == 0:
        del rows[k]
    elif what == 1:
        rows.insert(j, rows[k])
    elif what == 2:
        rows[k], rows[j] = rows[j], rows[k]
    elif what == 3:
        rows.insert(k, [b"\n", b"junk = 1\n", b"# junk\n", b"1 2 3 4\n", b"0\n"][rng.integers(5)])
    else:
        rows[k : k + 3] = []
    return b"".join(rows)


def token(pattern: re.Pattern[bytes], new: list[bytes]) -> Mutator:
    def mutated(rng: np.random.Generator, data: bytes) -> bytes:
        found = list(pattern.finditer(data))
        if not found:
            return data
        one, other = (found[k] for k in rng.integers(len(found), size=2))
        with_what = [*new, other[0], one[0] + b" " + one[0], one[0] + one[0], b"-" + one[0]]
        return data[: one.start()] + with_what[rng.integers(len(with_what))] + data[one.end() :]

    return mutated


def field(rng: np.random.Generator, data: bytes) -> bytes:
    """A field of a header with a telling value, in place or as a second one."""
    key = list(TERMS)[rng.integers(len(TERMS))]
    found = re.search(rb"(?m)^" + key + rb"\s*[=:]\s*([^\r\n]*)", data)
    value = TERMS[key][rng.integers(len(TERMS[key]))]
    if found and rng.integers(4):
        return data[: found.start(1)] + value + data[found.end(1) :]
    at = [m.end() for m in re.finditer(rb"\n", data)]
    where = at[rng.integers(len(at))] if at else 0
    return data[:where] + key + b" = " + value + b"\n" + data[where:]


def frame_field(rng: np.random.Generator, data: bytes) -> bytes:
    k = [b"0000", b"0001", b"9", b"999999999", b"9999999999", b"-001", "٠٠٠١".encode()][rng.integers(7)]
    name = [b"Timestamp", b"ProbeToTrackerTransform", b"ImageStatus", b"New"][rng.integers(4)]
    sign = b":=" if b"NRRD" in data[:4] else b" = "
    at = data.find(b"Seq_Frame")
    return data[:at] + b"Seq_Frame" + k + b"_" + name + sign + ODD[rng.integers(len(ODD))] + b"\n" + data[at:]


def xml(rng: np.random.Generator, data: bytes) -> bytes:
    tags = list(re.finditer(rb"<(/?)([\w]+)[^>]*>", data))
    if not tags:
        return data
    tag = tags[rng.integers(len(tags))]
    what = rng.integers(8)
    if what == 0:
        deep = int(rng.choice([50, 2000, 100_000]))
        return data[: tag.end()] + b"<a>" * deep + b"</a>" * int(deep * rng.integers(2)) + data[tag.end() :]
    if what == 1:
        text = data[: tags[0].start()] + DOCTYPES[rng.integers(3)] + data[tags[0].start() :]
        return text[: tag.end() + len(text) - len(data)] + b"&e9;" + text[tag.end() + len(text) - len(data) :]
    if what == 2:
        code = [b"utf-16", b"no-such", b"latin-1", b"utf-7", b"cp037", b"shift_jis", b"idna"][rng.integers(7)]
        return b'<?xml version="1.0" encoding="' + code + b'"?>\n' + data[tags[0].start() :]
    if what == 3:
        return data[: tag.start()] + data[tag.end() :]
    if what == 4:
        return data.replace(tag[2], [b"x", b"root", b"a:b", b"1"][rng.integers(4)], int(rng.integers(1, 3)))
    if what == 5:
        return data[: tag.start()] + tag[0] + data[tag.start() :]
    if what == 6:  # an element twice, with all in it
        end = data.find(b"</" + tag[2] + b">", tag.end())
        whole = data[tag.start() : end + len(tag[2]) + 3] if end >= 0 else tag[0]
        return data[: tag.start()] + whole + data[tag.start() :]
    at = tag.end() - 1 - tag[0].endswith(b"/>")
    return (
        data[:at]
        + [b' width="3"', b' id="1"', b" x", b' a="&lt;"', b' From="A" To="B"'][rng.integers(5)]
        + data[at:]
    )


def json_value(rng: np.random.Generator, data: bytes) -> bytes:
    found = list(re.finditer(rb'"[^"]*"|[-\d.e+]+|true|false|\[[^\[\]]*\]|\{[^{}]*\}', data))
    if not found:
        return data
    one, other = (found[k] for k in rng.integers(len(found), size=2))
    deep = b"[" * 100_000
    new = [b"null", b"true", b'"a"', b"[]", b"{}", b"NaN", b"Infinity", b"1e400", b"-0", deep,
           deep + b"]" * 100_000, b'{"a":' * 50_000, b'{"label": 1, "label": 2}', b'"\\ud800"', b'"\\u0000"',
           b"1" * 5000, b"1E999999999",
           b"[1, 2]", b"[[1], 2, 3]", b'[1, 2, "3"]', b"[1, 2, true]", other[0]]  # fmt: skip
    return data[: one.start()] + new[rng.integers(len(new))] + data[one.end() :]


def packed(rng: np.random.Generator, data: bytes) -> bytes:
    """A compressed stream that is damaged, followed by another, or a bomb; also of what is not compressed."""
    what = rng.integers(7)
    if what == 0:
        return BOMB
    if what == 1:
        return data + zlib.compress(b"more")
    if what == 2:
        return data + rng.bytes(int(rng.integers(1, 9)))
    if what == 3:
        return zlib.compress(data)
    if what == 4:
        return zlib.compress(rng.bytes(int(rng.integers(1, 3000))))
    return flip(rng, data) if what == 5 else data[: -int(rng.integers(1, 9))]


BYTES: list[Mutator] = [cut, cut, flip, flip, scribble, remove, insert, zeros, twice, nothing]
TEXT: list[Mutator] = [line_ends, other_code, long_line, lines, lines, lines, token(WORD, ODD)]
TEXT += [token(NUMBER, ODD)] * 5
SPECIAL: dict[str, list[Mutator]] = {
    ".xml": [xml] * 6,
    ".json": [json_value] * 6,
    ".mhd": [field] * 6,
    ".mha": [field] * 4 + [frame_field] * 2,
    ".nrrd": [field] * 4 + [frame_field] * 2,
}
PIXELS = (".raw", ".zraw", ".gz")
BINARY = (".snwpos", ".h5")


def damaged(rng: np.random.Generator, name: str, data: bytes) -> tuple[bytes, str]:
    """A file with one damage more, and the damage's name."""
    ending = Path(name).suffix
    end = re.search(rb"ElementDataFile = LOCAL\n" if ending == ".mha" else rb"\n\n", data)
    at = end.end() if ending in (".mha", ".nrrd") and end else len(data)
    head, tail = data[:at], data[at:]
    if ending in PIXELS or (tail and rng.integers(4) == 0):
        ways = [packed] * 6 + BYTES
        way = ways[rng.integers(len(ways))]
        return (way(rng, data) if ending in PIXELS else head + way(rng, tail)), way.__name__
    ways = BYTES * 2 if ending in BINARY else BYTES + TEXT + SPECIAL.get(ending, [])
    way = ways[rng.integers(len(ways))]
    whole = way is cut and rng.integers(2)
    return (way(rng, data) if whole else way(rng, head) + tail), way.__name__


def variant(form: Format, number: int, healthy: Files) -> tuple[Files, str]:
    """Variant `number` of a format: one to three damages, now and then to the folder itself."""
    rng = np.random.default_rng([zlib.crc32(form.name.encode()), number])
    files, told = dict(healthy), []
    for _ in range(1 + (rng.integers(4) == 0) + (rng.integers(8) == 0)):
        names = sorted(name for name, data in files.items() if data is not None)
        if not names:
            break
        name, other = (names[k] for k in rng.integers(len(names), size=2))
        if rng.integers(25) == 0:
            what = rng.integers(4)
            told.append(f"{name} {['swapped', 'missing', 'a folder', 'another'][what]}")
            if what == 0:
                files[name], files[other] = files[other], files[name]
            elif what == 1:
                del files[name]
            elif what == 2:
                files[name] = None
            else:
                files[f"new{Path(name).suffix}"] = files[other]
            continue
        files[name], way = damaged(rng, name, files[name] or b"")
        told.append(f"{name} {way}")
    return files, ", ".join(told)


# ---- one variant against its reader ----------------------------------------------------------------------


class TooSlow(BaseException):
    """Not to be caught by a reader."""


@contextmanager
def limits() -> Iterator[None]:
    """At most 300 MB more than now, where the system can say so; warnings are errors; `TooSlow` can come."""

    def late(*_: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGPROF, late)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if sys.platform != "linux":
            yield
        else:
            import resource

            old = resource.getrlimit(resource.RLIMIT_AS)
            now = (
                int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
            )
            resource.setrlimit(resource.RLIMIT_AS, (now + MOST_BYTES, old[1]))
            try:
                yield
            finally:
                resource.setrlimit(resource.RLIMIT_AS, old)
    signal.signal(signal.SIGPROF, before)


def example(form: Format, folder: Path) -> Files:
    """The healthy files of a format, which its reader must take."""
    folder.mkdir(parents=True)
    form.write(folder, np.random.default_rng(7))
    files: Files = {path.name: path.read_bytes() for path in folder.iterdir()}
    form.right(form.read(folder), files)
    shutil.rmtree(folder)
    return files


def lay(files: Files, folder: Path, there: Files) -> None:
    """Make a folder hold `files`; `there` tells what it holds, as to remove a folder takes milliseconds."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in [name for name, data in there.items() if name not in files or files[name] != data]:
        if there.pop(name) is None:
            (folder / name).rmdir()
        else:
            (folder / name).unlink()
    for name in files.keys() - there.keys():
        data = there[name] = files[name]
        if data is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(data)


def attack(form: Format, number: int, healthy: Files, folder: Path, there: Files) -> tuple[str, str, float]:
    """("refused", "right" or "fault", why, seconds of work) of one variant; its files stay in `folder`."""
    files, told = variant(form, number, healthy)
    lay(files, folder, there)
    start = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, MOST_S)
    try:
        answer = form.read(folder)
    except FileError as reason:
        signal.setitimer(signal.ITIMER_PROF, 0)
        return sentence(str(reason), form, files, told), f"{reason}", time.process_time() - start
    except (Exception, TooSlow) as reason:
        signal.setitimer(signal.ITIMER_PROF, 0)
        return "fault", f"{told}: {type(reason).__name__}: {str(reason)[:200]}", time.process_time() - start
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    took = time.process_time() - start
    try:
        form.right(answer, files)
    except Exception as reason:
        return "fault", f"{told}: wrong answer: {type(reason).__name__}: {str(reason)[:300]}", took
    return "right", told, took


def sentence(text: str, form: Format, files: Files, told: str) -> str:
    """A refusal is one line of bearable length that names a file, or the folder."""
    named = any(Path(name).stem.partition(".")[0] in text for name in files) or form.base in text
    return (
        "refused" if named and len(text) < 1000 and text[-1:] not in ":; " and "\n" not in text else "fault"
    )


def run(form: Format, first: int, count: int, folder: Path) -> dict[str, object]:
    """A row of the table: how many were refused, how many right, the worst time, and the faults."""
    healthy = example(form, folder / "healthy")
    there: Files = {}
    row: dict[str, object] = {"refused": 0, "right": 0, "worst_s": 0.0, "faults": []}
    start = time.process_time()
    with limits():
        for number in range(first, first + count):
            how, told, took = attack(form, number, healthy, folder / form.base, there)
            row["worst_s"] = max(row["worst_s"], took)  # type: ignore[call-overload]
            if how == "fault":
                row["faults"].append(f"{form.name} {number}: {told}")  # type: ignore[attr-defined]
            else:
                row[how] += 1  # type: ignore[operator]
    row["total_s"] = time.process_time() - start
    return row


# ---- many variants, in processes that may die -------------------------------------------------------------


def batch(name: str, first: int, count: int) -> list[dict[str, object]]:
    """`run` in a process of its own; one that dies is halved until the variant that kills it is found."""
    command = [sys.executable, __file__, name, "--first", str(first), "--count", str(count), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=3600)
    if done.returncode == 0:
        return [json.loads(done.stdout.splitlines()[-1])]
    if count == 1:
        end = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        fault = f"{name} {first}: the process died ({done.returncode}): {end}"
        return [{"refused": 0, "right": 0, "worst_s": 0.0, "total_s": 0.0, "faults": [fault]}]
    half = count // 2
    return batch(name, first, half) + batch(name, first + half, count - half)


def main() -> int:
    parser = argparse.ArgumentParser(description="Damaged files for the readers of navkit.files.")
    parser.add_argument("formats", nargs="*", help=f"some of {', '.join(FORMATS)}; all if none is named")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one format, in this process, as a line of JSON")
    parser.add_argument("--keep", type=Path, help="write the files of the first variant there, and stop")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if told.keep:
            form = FORMATS[told.formats[0]]
            print(
                *attack(form, told.first, example(form, folder / "healthy"), told.keep / form.base, {}),
                sep="\n",
            )
            return 0
        if told.json:
            faulthandler.enable()
            print(json.dumps(run(FORMATS[told.formats[0]], told.first, told.count, folder)))
            return 0
    print("| format | variants | refused | read right | worst time, s | mean, ms | faults |")
    print("|---|---|---|---|---|---|---|")
    bad = 0
    for name in told.formats or FORMATS:
        rows: list[dict[str, object]] = []
        count = told.count if told.formats or name != "transform-h5" else told.count // 100  # a process each
        for first in range(told.first, told.first + count, BATCH):
            rows += batch(name, first, min(BATCH, told.first + count - first))
        total = {key: sum(row[key] for row in rows) for key in ("refused", "right", "total_s")}  # type: ignore[misc]
        faults = [fault for row in rows for fault in row["faults"]]  # type: ignore[attr-defined]
        worst = max(row["worst_s"] for row in rows)  # type: ignore[type-var]
        print(f"| {name} | {count} | {total['refused']} | {total['right']} | {worst:.2f} | "
              f"{1000 * total['total_s'] / count:.1f} | {len(faults)} |", flush=True)  # fmt: skip
        for fault in faults:
            print(f"  {fault}", file=sys.stderr, flush=True)
        bad += len(faults)
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
