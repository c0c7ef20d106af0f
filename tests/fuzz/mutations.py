"""Strategies for inputs that are nearly right: samples with a few things changed, and noise."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

DEEP = 100_000
JSON_PIECES: tuple[bytes, ...] = (
    *(b"null", b"true", b"[]", b"{}", b'""', b"-1", b"0", b"0.5", b"NaN", b"-Infinity", b"1e999"),
    *(b"4294967296", b"9223372036854775808", b"1" + b"0" * 400, b"9" * 5000, b'"NaN"', b"1e-400"),
    *(rb'"\ud800"', rb'"\u0000"', rb'"\u001b[2J\u202e"', rb'"a\nb"', b'"\xed\xa0\x80"', b'"\x00"'),
    *(b'"' + b"x" * DEEP + b'"', b'"' + rb"\n" * DEEP + b'"', b"[" * DEEP, b'{"a":' * DEEP),
    *(b"[" * DEEP + b"]" * DEEP, b"[" * 900 + b"]" * 900, b'{"a":1,"a":{"a":[]}}', b"[[],{},[{}]]"),
    *(b'"../../etc/passwd"', b'"/dev/zero"', b'"1"', b'["1", 2]', b'{"1": "", "2": []}'),
)
TOML_PIECES: tuple[bytes, ...] = (
    *(
        b"nan",
        b"-inf",
        b"1979-05-27T07:32:00Z",
        b"07:32:00",
        b"9" * 5000,
        b"1e999",
        b"0x" + b"f" * 99,
    ),
    *(
        b"[" * DEEP,
        b"[" * 900 + b"]" * 900,
        b"{a=" * 5000,
        b"a." * 5000 + b"b = 1",
        b"''",
        b"''''''",
    ),
    *(b"[[a]]", b"[a.b.c]", b"true", b"-1", b"[]", b"{}", b"{ a = 1 }", b'"\\u0000"', b'"\\ud800"'),
    *(b'"' + b"x" * DEEP + b'"', b"\x00", b"\xff", b"\xef\xbb\xbf", b"9223372036854775808", b"0.5"),
)
YAML_PIECES: tuple[bytes, ...] = (
    *(
        b"&a [*a]",
        b"*a",
        b"2001-99-99",
        b"2001-12-14t21:59:43.10-05:00",
        b"0x_",
        b"1:99:99",
        b".nan",
    ),
    *(
        b"[" * 5000,
        b"{a: " * 5000,
        b"- " * 5000,
        b"? a",
        b"!!python/object:os.system {}",
        b"!!set {a}",
    ),
    *(
        b"!!binary 1",
        b"!!int x",
        b"!!float ''",
        b"<<: *a",
        b"<<: 1",
        b"null",
        b"[]",
        b"{}",
        b"9" * 5000,
    ),
    *(
        b"true",
        b"''",
        b"\x00",
        b"\xff",
        b"'" + b"x" * DEEP + b"'",
        b"{[a]: 1}",
        b"{{a: 1}: 2}",
        b"!!int _",
    ),
    b"x0: &x0 [a]\n"
    + b"".join(
        b"x%d: &x%d [%s]\n" % (i, i, b",".join([b"*x%d" % (i - 1)] * 9)) for i in range(1, 12)
    ),
)
HTTP_PIECES: tuple[bytes, ...] = (
    *(
        b"GET",
        b"POST",
        b"HEAD",
        b"%00",
        b"%ff",
        b"%2e%2e%2f",
        b"..",
        b"//",
        b"?",
        b"&",
        b"=",
        b"%zz",
    ),
    *(
        b"\r\n\r\n",
        b"\r\n",
        b"HTTP/1.0",
        b"HTTP/9.9",
        b"Transfer-Encoding: chunked",
        b"Expect: 100-continue",
    ),
    *(
        b"Content-Length: -1",
        b"Content-Length: 99999999999999999999",
        b"Host: [",
        b"Host: evil.example",
    ),
    *(
        "Content-Length: \u00b2".encode("latin-1"),
        b"Authorization: Bearer \xff",
        b"Cookie: a=\xff; ;=",
        b"\x00",
    ),
    *(
        b"Connection: Upgrade\r\nUpgrade: websocket",
        b"a" * DEEP,
        b"%d" * 999,
        b"x=" + b"9" * 5000,
        b"0",
        b"-1",
    ),
    *(
        b"nan",
        b"1e999",
        b"%ed%a0%80",
        b"%F0%9F%92%A9",
        b"%0d%0aX: y",
        b"9223372036854775808",
        b"'",
        b'"',
        b"<script>",
    ),
)
NUMBERS = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**48, 2**63 - 1, 2**63, 2**64 - 1)

_TOKEN = re.compile(rb'"[^"\n]*"|-?\d+(?:\.\d+)?|[A-Za-z_][\w.-]*')
_OPENING = re.compile(rb"[\[{]")
_CLOSING = {b"[": b"]", b"{": b"}"}
MOST_CHANGES = 4


def noise() -> SearchStrategy[bytes]:
    """What has nothing to do with any format."""
    return st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode())


def mutated(samples: Sequence[bytes], pieces: Sequence[bytes] = ()) -> SearchStrategy[bytes]:
    """Samples with a few changes.

    Args:
        samples: valid inputs.
        pieces: of the format, which are put in the place of tokens and brackets, and between.
    """

    @st.composite
    def change(draw: DrawFn) -> bytes:
        data = draw(st.sampled_from(samples))
        for _ in range(draw(st.integers(1, MOST_CHANGES))):
            ways = [
                _flip,
                _cut,
                _repeat,
                _number,
                *([_piece, _token, _token, _bracket] * bool(pieces)),
            ]
            data = draw(st.sampled_from(ways))(draw, data, pieces)
        return data

    return change()


def framed(header: SearchStrategy[bytes], body: bytes, width: str) -> SearchStrategy[bytes]:
    """A header behind its length, and a body, which may be cut."""

    @st.composite
    def frame(draw: DrawFn) -> bytes:
        content = draw(header)
        end = draw(st.just(len(body)) | st.integers(0, len(body)))
        return struct.pack(width, len(content)) + content + body[:end]

    return frame()


def _span(draw: DrawFn, data: bytes) -> tuple[int, int]:
    start = draw(st.integers(0, len(data)))
    return start, min(len(data), start + draw(st.integers(0, 40)))


def _flip(draw: DrawFn, data: bytes, pieces: Sequence[bytes]) -> bytes:
    if not data:
        return data
    place, value = draw(st.integers(0, len(data) - 1)), draw(st.integers(0, 255))
    return data[:place] + bytes([value]) + data[place + 1 :]


def _cut(draw: DrawFn, data: bytes, pieces: Sequence[bytes]) -> bytes:
    start, end = _span(draw, data)
    return data[:start] + data[draw(st.sampled_from([end, len(data)])) :]


def _repeat(draw: DrawFn, data: bytes, pieces: Sequence[bytes]) -> bytes:
    start, end = _span(draw, data)
    return data[:end] + data[start:end] * draw(st.sampled_from([1, 2, 1000])) + data[end:]


def _number(draw: DrawFn, data: bytes, pieces: Sequence[bytes]) -> bytes:
    value, form = draw(st.sampled_from(NUMBERS)), draw(st.sampled_from(["<I", "<Q"]))
    packed = struct.pack(form, value % (1 << 8 * struct.calcsize(form)))
    place = draw(st.integers(0, len(data)))
    return data[:place] + packed + data[place + len(packed) :]


def _piece(draw: DrawFn, data: bytes, pieces: Sequence[bytes]) -> bytes:
    start, _ = _span(draw, data)
    return data[:start] + draw(st.sampled_from(pieces)) + data[start:]


def _token(draw: DrawFn, data: bytes, pieces: Sequence[bytes]) -> bytes:
    """A number, a text or a word becomes something else, or another of those that are there."""
    found = [match.span() for match in _TOKEN.finditer(data[:20_000])]
    if not found:
        return data
    start, end = draw(st.sampled_from(found))
    other = draw(st.sampled_from(found))
    return data[:start] + draw(st.sampled_from([*pieces, data[slice(*other)]])) + data[end:]


def _bracket(draw: DrawFn, data: bytes, pieces: Sequence[bytes]) -> bytes:
    """A whole list or table becomes something else."""
    found = [match.start() for match in _OPENING.finditer(data[:20_000])]
    if not found:
        return data
    start = draw(st.sampled_from(found))
    return data[:start] + draw(st.sampled_from(pieces)) + data[_end_of(data, start) :]


def _end_of(data: bytes, start: int) -> int:
    opening, depth = data[start : start + 1], 0
    for place in range(start, len(data)):
        letter: Any = data[place : place + 1]
        depth += (letter == opening) - (letter == _CLOSING[opening])
        if depth == 0:
            return place + 1
    return len(data)
