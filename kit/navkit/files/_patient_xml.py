"""XML that is edited where it stands: elements with their lines in, what changed set, the rest as it was."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import ArrayLike, NDArray

from navkit.files._errors import FileError
from navkit.files._text import decimals
from navkit.geometry import check_poses

Array = NDArray[np.float64]

MOST_DEPTH = 100  # CustusX nests about ten deep
PROLOG = "<?xml version='1.0' encoding='UTF-8'?>\n"


@dataclass(frozen=True)
class Document:
    """A parsed document: its root, and the line of each element (and comment) by its `id`."""

    name: str
    root: ET.Element
    lines: dict[int, int]

    def wrong(self, element: ET.Element, told: str) -> FileError:
        return FileError(f"{self.name} line {self.lines.get(id(element), '?')}: {told}")

    def numbers(self, element: ET.Element, text: str, count: int, what: str) -> Array | None:
        """`count` finite numbers; None where the text is empty."""
        words = text.split()
        if not words:
            return None
        found = decimals(text)
        if found is None or len(found) != count:
            got = " ".join(words)[:60]
            raise self.wrong(element, f"{what} is {got!r}; expected {count} number{'s'[: count > 1]}.")
        return np.array(found)

    def pose(self, element: ET.Element | None, what: str, text: str | None = None) -> Array | None:
        """A rigid (4, 4) matrix, as written; None where there is none."""
        if element is None:
            return None
        found = self.numbers(element, content(element) if text is None else text, 16, what)
        if found is None:
            return None
        try:
            pose: Array = check_poses(found.reshape(1, 4, 4), what)[0]
        except ValueError as reason:
            raise self.wrong(element, str(reason).replace(f"{what}[0]", f"the pose {what}")) from None
        return pose


def parsed(name: str, data: bytes, root_tag: str) -> Document:
    """The elements of a document, comments among them.

    Raises
    ------
    FileError
        Not well-formed, another root, a DOCTYPE (it could grow without end), or nested absurdly deep.
    """
    builder = ET.TreeBuilder(insert_comments=True, insert_pis=True)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    lines: dict[int, int] = {}
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        line = parser.CurrentLineNumber
        if depth == 0 and tag != root_tag:
            raise FileError(f"{name} line {line}: the root is <{tag}>; expected <{root_tag}>.")
        depth += 1
        if depth > MOST_DEPTH:
            raise FileError(f"{name} line {line}: elements {depth} deep; expected at most {MOST_DEPTH}.")
        lines[id(builder.start(tag, attributes))] = line

    def comment(text: str) -> None:
        if depth:
            lines[id(builder.comment(text))] = parser.CurrentLineNumber

    def instruction(target: str, text: str) -> None:
        if depth:
            lines[id(builder.pi(target, text))] = parser.CurrentLineNumber

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def doctype(*_: object) -> None:
        raise FileError(
            f"{name} line {parser.CurrentLineNumber}: a DOCTYPE; expected none, as its entities could grow "
            "without end."
        )

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, doctype
    parser.CommentHandler, parser.ProcessingInstructionHandler = comment, instruction
    try:
        parser.Parse(data, True)
    except FileError:
        raise
    except (expat.ExpatError, ValueError, LookupError) as reason:
        raise FileError(f"{name}: not well-formed XML ({reason}). Is the file cut?") from None
    return Document(name, builder.close(), lines)


def serialised(root: ET.Element) -> bytes:
    """The document as UTF-8. Unlike ElementTree's, a carriage return in a text comes back."""
    out = [PROLOG]

    def write(e: ET.Element) -> None:
        tag: Any = e.tag
        if tag is ET.Comment:
            out.append(f"<!--{e.text}-->")
        elif tag is ET.ProcessingInstruction:
            out.append(f"<?{e.text}?>")
        else:
            attributes = "".join(f" {key}={quoteattr(value)}" for key, value in e.attrib.items())
            if e.text or len(e):
                out.append(f"<{tag}{attributes}>{_escaped(e.text)}")
                for child in e:
                    write(child)
                out.append(f"</{tag}>")
            else:
                out.append(f"<{tag}{attributes}/>")
        out.append(_escaped(e.tail))

    write(root)
    return ("".join(out).rstrip() + "\n").encode()


def _escaped(text: str | None) -> str:
    return escape(text or "", {"\r": "&#13;"})


def content(element: ET.Element | None) -> str:
    """All text in an element, without the blanks around it, as Qt gives it."""
    return "" if element is None else "".join(element.itertext()).strip()


def put_child(parent: ET.Element, tag: str, *, before: ET.Element | None = None) -> ET.Element:
    """A new child; last unless it shall stand before another."""
    child = ET.Element(tag)
    parent.insert(len(parent) if before is None else list(parent).index(before), child)
    return child


def lay_out(element: ET.Element, lines: dict[int, int], level: int = 0) -> None:
    """Put new children on lines of their own; where there are none the layout stays."""
    for child in element:
        lay_out(child, lines, level + 1)
    if any(id(child) not in lines for child in element) and not (element.text or "").strip():
        pad = "\n" + "    " * level
        element.text = f"{pad}    "
        for child in element:
            if not (child.tail or "").strip():
                child.tail = pad if child is element[-1] else element.text


def need_child(parent: ET.Element, tag: str) -> ET.Element:
    """The first child of that name, made where there is none."""
    found = parent.find(tag)
    return put_child(parent, tag) if found is None else found


def drop(parent: ET.Element, child: ET.Element) -> None:
    """Remove a child, not the text after it."""
    at = list(parent).index(child)
    if child.tail and child.tail.strip():
        if at:
            parent[at - 1].tail = (parent[at - 1].tail or "") + child.tail
        else:
            parent.text = (parent.text or "") + child.tail
    parent.remove(child)


def put_text(parent: ET.Element, tag: str, text: str) -> None:
    child = parent.find(tag)
    if content(child) != text:
        (put_child(parent, tag) if child is None else child).text = text


def put_attribute(element: ET.Element, key: str, value: str) -> None:
    if element.get(key, "") != value:
        element.set(key, value)


def put_numbers(parent: ET.Element, tag: str, values: ArrayLike | None) -> None:
    """Set numbers (a matrix: a line each row) unless they stand there already."""
    child = parent.find(tag)
    if values is None:
        if content(child):
            put_text(parent, tag, "")
    elif child is None or not is_written(content(child), values):
        (put_child(parent, tag) if child is None else child).text = numbers_text(values)


def is_written(text: str, values: ArrayLike) -> bool:
    found = decimals(text)
    return found is not None and np.array_equal(found, np.ravel(values))


def numbers_text(values: ArrayLike) -> str:
    """Numbers that come back exactly, short where they can be; a matrix begins on a new line."""
    rows = np.asarray(values, dtype=float)
    text = "\n".join(" ".join(map(number_text, row)) for row in np.atleast_2d(rows).tolist())
    return f"\n{text}" if rows.ndim == 2 else text


def number_text(value: float) -> str:
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def put_all(
    parent: ET.Element, tag: str, uids: Iterable[str], *, first: bool = False
) -> dict[str, ET.Element]:
    """The children of that name by uid: those of other uids removed, new ones last.

    Where two have one uid, it is the last, of data the first: the one that CustusX takes.
    """
    wanted = dict.fromkeys(uids)
    found: dict[str, ET.Element] = {}
    for child in parent.findall(tag):
        uid = child.get("uid", "")
        if uid not in wanted:
            drop(parent, child)
        elif not (first and uid in found):
            found[uid] = child
    for uid in wanted:
        if uid not in found:
            found[uid] = put_child(parent, tag)
            found[uid].set("uid", uid)
    return found
