"""The lines of a table, some megabytes at a time, as a CSV parser takes them.

Every block is UTF-8, its lines ended by \\n alone. No row stands in two of them, and comments, empty lines at the end
and the lines down to the columns' names in none.
"""

import codecs
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lstm_lab.config import ConfigError
from lstm_lab.tables.archives import Unpacked
from lstm_lab.tables.dialect import BLANKS, LONGEST_LINE, Dialect, not_decoded

SIZE = 2**20  # bytes that are worked on at a time: the processor's cache holds them


@dataclass(frozen=True)
class Block:
    """Some rows: their `text`, and the `lines` that they come from, the first of which has the number `line`."""

    text: bytes
    lines: bytes
    line: int
    comments: int  # lines that were left out

    def rows(self, dialect: Dialect) -> int:
        """How many rows these are."""
        if b'"' not in self.text:
            return self.text.count(b"\n")
        separator = "\t" if dialect.separator == BLANKS else dialect.separator
        return sum(1 for _ in grammar(separator, "")[1].finditer(self.text))


@functools.cache
def grammar(separator: str, comment: str) -> tuple[re.Pattern[bytes], re.Pattern[bytes], re.Pattern[bytes]]:
    """What rows there are, one of them, and the beginning of one up to its last separator, as RFC 4180 has them.

    As csv and PyArrow do, it takes a quote within a field for a character, and blanks before a quote for nothing.
    """
    if separator == BLANKS:
        part, gap, others = "[ \t]++", "", " \t\n"
    else:
        part, gap, others = re.escape(separator), "[ \t]*+".replace(separator, ""), f"{re.escape(separator)}\n"
    quoted = rf'"[^"]*+"(?:"[^"]*+")*+{gap}'
    field = rf'(?:[^" \t{others}][^{others}]*+|{gap}(?:{quoted}|(?!")[^{others}]*+))'  # the most usual first
    aside = rf"{re.escape(comment)}[^\n]*+\n|" if comment else ""
    row = rf"(?:{aside}(?:{field}{part})*+{field}\n)"
    return re.compile(f"{row}*+".encode()), re.compile(row.encode()), re.compile(f"(?:{field}{part})*+".encode())


def read_blocks(path: Path, stream: BinaryIO | Unpacked, dialect: Dialect) -> Iterator[Block]:
    """The rows of the table; ConfigError if an empty line stands between two."""
    blank = 0  # the number of the first empty line below the last row
    for lines, line in read_rows(path, stream, dialect):
        if lines.isspace():
            blank = blank or line
        elif not blank and not has_asides(lines, dialect.comment):
            yield Block(plain(lines, dialect), lines, line, comments=0)
        else:
            rows, comments, blank = without_asides(path, lines, dialect, (line, blank))
            yield Block(plain(rows, dialect), lines, line, comments)


def has_asides(lines: bytes, comment: str) -> bool:
    """A comment or an empty line is among the lines."""
    chars = np.frombuffer(b"\n" + lines, np.uint8)
    may = chars[1:] <= ord(" ")  # blanks and line ends
    if comment:
        may |= chars[1:] == comment.encode()[0]
    if not (may & (chars[:-1] == ord("\n"))).any():
        return False
    return bool(re.search(rf"(?:^|\n)(?:[ \t]*\n{'|' * bool(comment)}{re.escape(comment)})".encode(), lines))


def without_asides(path: Path, lines: bytes, dialect: Dialect, state: tuple[int, int]) -> tuple[bytes, int, int]:
    """The lines but for comments and empty ones, how many comments, and the number of the first empty one at the end.

    `state` is the number of the first line, and that of an empty one before, 0 if there is none.
    """
    line, blank = state
    rows, comments = [], 0
    for number, row in numbered(lines, dialect, line):
        if is_comment(row, dialect.comment.encode()):
            comments += 1
        elif not row.strip():
            blank = blank or number
        elif blank:  # at the end of a file blank lines are nothing, in between something is missing
            raise ConfigError(f"{path}, line {blank}: is empty, and more lines follow; every line must be a sample")
        else:
            rows.append(row)
    return b"".join(rows), comments, blank


def numbered(lines: bytes, dialect: Dialect, line: int) -> Iterator[tuple[int, bytes]]:
    """The rows, comments and empty lines, each with its line's number, if `line` is that of the first."""
    row_of = grammar(dialect.separator, dialect.comment)[1] if b'"' in lines else re.compile(rb"[^\n]*\n")
    for match in row_of.finditer(lines):
        yield line, match[0]
        line += match[0].count(b"\n")


def is_comment(row: bytes, comment: bytes) -> bool:
    """A line to be left out."""
    return bool(comment) and row.startswith(comment)


def plain(text: bytes, dialect: Dialect) -> bytes:
    """The rows without blanks before a quote, and with a tab for blanks that separate two fields."""
    quoted = b'"' in text
    if dialect.separator != BLANKS:
        mark, gap = re.escape(dialect.separator.encode()), b" \t".replace(dialect.separator.encode(), b"")
        if quoted and any(bytes([blank]) + b'"' in text for blank in gap):
            return re.sub(rb"(^|" + mark + rb")[" + gap + rb']+(?=")', rb"\1", text, flags=re.M)
        return text
    if quoted:
        text = re.sub(rb'("[^"]*+"(?:"[^"]*+")*+)|[ \t]+', lambda match: match[1] or b"\t", text)
    else:
        text = re.sub(rb"[ \t]+", b"\t", text)
    return re.sub(rb"^\t|\t$", b"", text, flags=re.M)


def read_rows(path: Path, stream: BinaryIO | Unpacked, dialect: Dialect) -> Iterator[tuple[bytes, int]]:
    """The lines below that of the names, some rows at a time, and the number of the first of them."""
    every = grammar(dialect.separator, dialect.comment)[0]
    rest, line = b"", 1
    for text in decode(path, stream, dialect.encoding):
        lines = rest + text
        if line == 1:
            for _ in range(dialect.lines):
                lines = lines[lines.find(b"\n") + 1 :]
            line += dialect.lines
        end = every.match(lines).end() if b'"' in lines else lines.rfind(b"\n") + 1  # type: ignore[union-attr]
        rest = lines[end:]
        if end:
            lines = lines[:end]
            check_utf8(path, lines, line)
            yield lines, line
            line += int(np.count_nonzero(np.frombuffer(lines, np.uint8) == ord("\n")))  # a third of count's time
        if len(rest) > LONGEST_LINE:
            raise not_ended(path, rest, dialect, line)
    if rest:
        raise not_ended(path, rest, dialect, line)


def decode(path: Path, stream: BinaryIO | Unpacked, encoding: str) -> Iterator[bytes]:
    """The text as UTF-8, each line ended by \\n, the last one too."""
    decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)()
    held, line, end = b"", 1, b""
    for i in range(2**62):
        raw = fill(stream, SIZE)
        try:
            text = decoder.decode(raw, not raw).encode() if decoder else raw
        except UnicodeError as error:
            raise not_decoded(path, error, encoding, line) from None
        text = held + (text if i else text.removeprefix(codecs.BOM_UTF8))
        held = b"\r" if text.endswith(b"\r") and raw else b""
        text = text[: len(text) - len(held)]
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        line += text.count(b"\n") if decoder else 0
        end = text[-1:] or end
        if not raw:
            yield text if end == b"\n" else text + b"\n"
            return
        yield text


def fill(stream: BinaryIO | Unpacked, size: int) -> bytes:
    """The next so many bytes, fewer only at the end."""
    parts = []
    while size and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def check_utf8(path: Path, lines: bytes, line: int) -> None:
    """ConfigError if the lines are not UTF-8."""
    if not lines.isascii():
        try:
            lines.decode()
        except UnicodeDecodeError as error:
            raise not_decoded(path, error, "utf-8", line) from None


def not_ended(path: Path, rest: bytes, dialect: Dialect, line: int) -> ConfigError:
    """What is said of a row without an end."""
    at = grammar(dialect.separator, dialect.comment)[2].match(rest).end()  # type: ignore[union-attr]
    quoted = re.compile(rb'[ \t]*+"[^"]*+"(?:"[^"]*+")*+').match(rest, at)
    if quoted:
        line += rest.count(b"\n", 0, quoted.end())
        return ConfigError(f"{path}, line {line}: cannot be read as CSV: text follows a closing quote")
    line += rest.count(b"\n", 0, at)
    if rest[at:].lstrip(b" \t").startswith(b'"'):
        return ConfigError(f"{path}, line {line}: cannot be read as CSV: a quote that is opened there is not closed")
    return ConfigError(f"{path}, line {line}: is longer than {LONGEST_LINE:,} bytes; is it a CSV file?")
