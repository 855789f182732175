"""XML without traps: no DOCTYPE, whose entities can fill the memory; elements with their place."""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from xml.parsers import expat

from navkit.files._errors import FileError

MAX_DEPTH = 100
BLANK = " \t\r\n"  # of XML; str.strip would take a hard space too


@dataclass
class Element:
    """An element and where its bytes are: ``start <tag> inner text outer </tag> end``."""

    where: str
    attributes: dict[str, str]
    line: int
    start: int
    inner: int
    outer: int = 0
    end: int = 0
    text: str = ""


def parsed(name: str, data: bytes) -> ET.Element:
    """The root element; comments are left out.

    Raises
    ------
    FileError
        Not well-formed, nested more than 100 deep, or a DOCTYPE.

    >>> parsed("a.xml", b"<a><!-- no --><b c='1'/></a>")[0].attrib
    {'c': '1'}
    """
    parser = expat.ParserCreate()
    depth = 0

    def start(*_: object) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise FileError(f"{name} line {parser.CurrentLineNumber}: nested more than {MAX_DEPTH} deep.")

    def stop(_: str) -> None:
        nonlocal depth
        depth -= 1

    parser.StartElementHandler, parser.EndElementHandler = start, stop
    _parse(name, data, parser)
    try:
        return ET.fromstring(data)
    except ET.ParseError as reason:  # a prefix without its namespace
        raise FileError(f"{name}: not well-formed XML ({reason}).") from None


def elements(name: str, data: bytes, root: str, *, depth: int) -> list[Element]:
    """The elements down to `depth` below the root, in order.

    Raises
    ------
    FileError
        As `parsed`; also another root, and UTF-16, whose bytes cannot be told from the text's.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data:
        raise FileError(f"{name}: UTF-16 or zero bytes; expected UTF-8 or Latin-1 text.")
    found: list[Element] = []
    stack: list[Element | None] = []
    parser = expat.ParserCreate()

    def start(tag: str, attributes: dict[str, str]) -> None:
        if not stack and tag != root:
            raise FileError(
                f"{name} line {parser.CurrentLineNumber}: the root is <{tag}>; expected <{root}>."
            )
        element = None
        if len(stack) <= depth:
            at = parser.CurrentByteIndex
            opening = re.compile(rb"""<(?:[^>"']|"[^"]*"|'[^']*')*>""").match(data, at)
            assert opening
            above = stack[-1].where if stack and stack[-1] else ""
            where = f"{above}/{tag}".lstrip("/") if stack else ""
            element = Element(where, attributes, parser.CurrentLineNumber, at, opening.end())
            found.append(element)
        stack.append(element)

    def stop(_: str) -> None:
        element = stack.pop()
        if element:
            closed = data[element.inner - 2 : element.inner] == b"/>"
            element.outer = element.inner if closed else parser.CurrentByteIndex
            element.end = element.inner if closed else data.index(b">", element.outer) + 1

    def text(characters: str) -> None:
        if stack[-1]:
            stack[-1].text += characters

    parser.StartElementHandler, parser.EndElementHandler = start, stop
    parser.CharacterDataHandler = text
    _parse(name, data, parser)
    for element in found:
        element.text = element.text.strip(BLANK)
    return found


def _parse(name: str, data: bytes, parser: expat.XMLParserType) -> None:
    def doctype(*_: object) -> None:
        raise FileError(f"{name} line {parser.CurrentLineNumber}: a DOCTYPE; expected plain XML without one.")

    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(data, True)
    except FileError:
        raise
    except (expat.ExpatError, ValueError, LookupError) as reason:
        raise FileError(f"{name}: not well-formed XML ({reason}).") from None
