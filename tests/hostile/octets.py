"""Mutations of bytes and of lines: what transfers, editors and failing discs do to files."""

from collections.abc import Callable

from hypothesis import strategies as st

#: What stands in headers as sizes, counts and offsets when they are wrong.
NUMBERS = [
    n.to_bytes(width, order)
    for n in (0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
    for width in (1, 2, 4, 8)
    for order in ("little", "big")
    if n < 256**width
]
#: Words that no field of a text file should survive.
WORDS = (
    "",
    "nan",
    "inf",
    "-inf",
    "1e309",
    "-1",
    "0",
    "-0.0",
    "1e-320",
    "9" * 400,
    "99999999999",
    "1e10",
    "0x10",
    "1_000",
    "1,5",
    "٣",
    "²",
    "yes",
    "*",
    "A",
    "[",
    "#",
    ";",
    "..",
    "\x00",
    "\x1b[2J",
    "\u202e",
    "é",
    "\ufeff",
    "x" * 300,
)


@st.composite
def broken_bytes(draw: st.DrawFn, original: bytes, other: bytes = b"") -> bytes:
    """One to three changes of a file's bytes, so that it differs from the original.

    :param other: a second file, from which parts are spliced in.
    """
    found = original
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3)))):
        found = draw(st.sampled_from(_CHANGES))(draw, found, other or original)
    return found


def _at(draw: st.DrawFn, data: bytes) -> int:
    """A place in a file; its first bytes, which say what follows, come more often."""
    last = max(0, len(data) - 1)
    return draw(st.one_of(st.integers(0, min(last, 512)), st.integers(0, last)))


def _flip(draw: st.DrawFn, data: bytes, other: bytes) -> bytes:
    out = bytearray(data or b"\0")
    for _ in range(draw(st.integers(1, 8))):
        out[_at(draw, bytes(out))] ^= 1 << draw(st.integers(0, 7))
    return bytes(out)


def _number(draw: st.DrawFn, data: bytes, other: bytes) -> bytes:
    value, at = draw(st.sampled_from(NUMBERS)), _at(draw, data)
    return data[:at] + value + data[at + len(value) :]


def _truncate(draw: st.DrawFn, data: bytes, other: bytes) -> bytes:
    return data[: _at(draw, data)]


def _insert(draw: st.DrawFn, data: bytes, other: bytes) -> bytes:
    at = _at(draw, data)
    return data[:at] + draw(st.binary(min_size=1, max_size=64)) + data[at:]


def _delete(draw: st.DrawFn, data: bytes, other: bytes) -> bytes:
    at = _at(draw, data)
    return data[:at] + data[at + draw(st.integers(1, 256)) :]


def _repeat(draw: st.DrawFn, data: bytes, other: bytes) -> bytes:
    at, length = _at(draw, data), draw(st.integers(1, 512))
    return data[:at] + data[at : at + length] * draw(st.integers(2, 4)) + data[at + length :]


def _blank(draw: st.DrawFn, data: bytes, other: bytes) -> bytes:
    at, length = _at(draw, data), draw(st.integers(1, 512))
    part = data[at : at + length]
    return (
        data[:at] + draw(st.sampled_from((b"\0", b"\xff", b" "))) * len(part) + data[at + length :]
    )


def _splice(draw: st.DrawFn, data: bytes, other: bytes) -> bytes:
    return data[: _at(draw, data)] + other[_at(draw, other) :]


_Change = Callable[[st.DrawFn, bytes, bytes], bytes]
_CHANGES: tuple[_Change, ...] = (
    _flip,
    _number,
    _truncate,
    _insert,
    _delete,
    _repeat,
    _blank,
    _splice,
)


@st.composite
def broken_lines(draw: st.DrawFn, original: str, other: str = "") -> str:
    """One to four changes of a text's lines and words."""
    lines = original.splitlines(keepends=True)
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 4)))):
        lines = draw(st.sampled_from(_EDITS))(draw, lines, other)
    return "".join(lines)


Lines = list[str]


def _line(draw: st.DrawFn, lines: Lines) -> int:
    return draw(st.integers(0, max(0, len(lines) - 1)))


def _word(draw: st.DrawFn, lines: Lines, other: str) -> Lines:
    """Another word in the place of one; what separates words stays."""
    if not lines:
        return [draw(st.sampled_from(WORDS))]
    at = _line(draw, lines)
    words = lines[at].split(" ")
    k = draw(st.integers(0, len(words) - 1))
    words[k] = draw(st.one_of(st.sampled_from(WORDS), st.text(max_size=12)))
    return [*lines[:at], " ".join(words), *lines[at + 1 :]]


def _characters(draw: st.DrawFn, lines: Lines, other: str) -> Lines:
    if not lines:
        return lines
    at = _line(draw, lines)
    k = draw(st.integers(0, len(lines[at])))
    text = draw(st.text(max_size=4))
    return [*lines[:at], lines[at][:k] + text + lines[at][k + 1 :], *lines[at + 1 :]]


def _without(draw: st.DrawFn, lines: Lines, other: str) -> Lines:
    at = _line(draw, lines)
    return lines[:at] + lines[at + draw(st.integers(1, 3)) :]


def _twice(draw: st.DrawFn, lines: Lines, other: str) -> Lines:
    at = _line(draw, lines)
    return lines[:at] + lines[at : at + 1] * 2 + lines[at + 1 :]


def _moved(draw: st.DrawFn, lines: Lines, other: str) -> Lines:
    at, to = _line(draw, lines), _line(draw, lines)
    rest = lines[:at] + lines[at + 1 :]
    return rest[:to] + lines[at : at + 1] + rest[to:]


def _cut(draw: st.DrawFn, lines: Lines, other: str) -> Lines:
    text = "".join(lines)
    return text[: draw(st.integers(0, len(text)))].splitlines(keepends=True)


def _joined(draw: st.DrawFn, lines: Lines, other: str) -> Lines:
    return lines[: _line(draw, lines)] + other.splitlines(keepends=True)


_Edit = Callable[[st.DrawFn, Lines, str], Lines]
_EDITS: tuple[_Edit, ...] = (
    _word,
    _word,
    _word,
    _characters,
    _without,
    _twice,
    _moved,
    _cut,
    _joined,
)
