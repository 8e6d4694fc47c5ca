"""How a table is written: given, or found out from its first part.

What is found out: the encoding, which lines are comments, what separates two fields, the decimal point or comma, and
what stands between thousands. What is given is taken as it is.
"""

import codecs
import contextlib
import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lstm_lab.config import ConfigError

LONGEST_LINE = 2**20  # bytes
LOOKED_AT = 2000  # lines, to find out how the file is written
MISSING = (
    *("", "NA", "N/A", "n/a", "na", "<NA>", "#N/A", "#NA", "#NV", "NaN", "nan", "NAN", "-nan", "NaT"),
    *("null", "NULL", "Null", "None", "none", "NONE", "nil", "?", "-", "--", "---", "\N{EN DASH}", "\N{EM DASH}"),
)
COMMENTS = ("#", "%", "//")
SEPARATORS = ("\t", ";", "|", ",")  # if two serve as well, the one less often found in a text or a number is meant
BLANKS = " "  # any number of them, and tabs, as a separator
SPELT = {"tab": "\t", "space": BLANKS}
SAID = {"\t": "tabs", BLANKS: "blanks", ",": "commas"}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
WITH_COMMA = re.compile(r"[+-]?(\d*,\d+|\d+,)([eE][+-]?\d+)?")
LIKE_A_NUMBER = re.compile(r"[+-]?[.,]?\d[\d.,eE+'\N{RIGHT SINGLE QUOTATION MARK}\s-]*")
TELLING = {  # what a number can be written like, and so tells of the others
    "1.5": r"[+-]?\d*\.(\d{1,2}|\d{4,})([eE][+-]?\d+)?|[+-]?0\.\d+([eE][+-]?\d+)?",
    "1,5": r"[+-]?(0\d*,\d+|\d*,\d{1,2}|\d*,\d{4,}|\d{4,},\d*|,\d+)([eE][+-]?\d+)?",
    "1,234": r"[+-]?[1-9]\d{0,2},\d{3}",
    "1.234": r"[+-]?[1-9]\d{0,2}\.\d{3}",
    "1,234.5": r"[+-]?[1-9]\d{0,2}((,\d{3})+\.\d*|(,\d{3}){2,})",
    "1.234,5": r"[+-]?[1-9]\d{0,2}((\.\d{3})+,\d*|(\.\d{3}){2,})",
}
PARTED = re.compile(r"[+-]?\d{1,3}(['\u2019\xa0\u202f ])\d{3}(\1\d{3})*([.,]\d+)?")


@dataclass(frozen=True)
class Form:
    """How a file is written; None: found out from the file.

    `separator` is one character, 'tab', or 'space' for any number of blanks; `comment` what a line to be left out
    begins with; `missing_values` what stands for a missing value, where an empty field always does.
    """

    separator: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    comment: str | None = None
    missing_values: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Dialect:
    """How a file is written: a Form in which all is known, the columns' `names`, and the `lines` down to them.

    `thousands` and `comment` are "" if there are none. `width` is how many fields a line has. `comments` are those
    above the names, `marks` the missing values seen in the first part, and `assumed` what decided where nothing did.
    """

    separator: str
    decimal: str
    thousands: str
    encoding: str
    comment: str
    missing: tuple[str, ...]
    names: tuple[str, ...]
    width: int
    lines: int
    comments: int
    marks: tuple[str, ...]
    assumed: str

    def told(self) -> list[str]:
        """What is not the plain default."""
        said = []
        if self.separator != "," and len(self.names) > 1:
            said.append(f"separated by {SAID.get(self.separator, self.separator)}")
        if self.decimal == ",":
            said.append("decimal comma")
        if self.thousands:
            said.append(f"'{self.thousands}' between thousands")
        if self.encoding not in ("utf-8", "ascii"):
            said.append(self.encoding)
        return [*said, self.assumed] if self.assumed else said


def find_dialect(path: Path, start: bytes, whole: bool, form: Form) -> Dialect:
    """From the `start` of the file's bytes, which is all of it if `whole`; ConfigError if it is no table."""
    encoding = form.encoding or encoding_of(path, start, whole)
    text = decoded(path, start, encoding, whole)
    if not whole:
        text = text[: text.rfind("\n") + 1]
    if start and not text:
        raise ConfigError(f"{path}, line 1: is longer than {LONGEST_LINE:,} bytes; is it a CSV file?")
    if not text.strip():
        raise ConfigError(f"{path}: is empty, or its first line is: that line must name the columns")
    lines = text.split("\n")[:LOOKED_AT]
    comment = comment_of(lines) if form.comment is None else form.comment
    hint = re.fullmatch(r"sep=([ -~\t])", lines[0].strip("\n "), re.IGNORECASE)  # as a spreadsheet program has it
    kept = [i for i, line in enumerate(lines) if line.strip() and not is_comment(line, comment)][bool(hint) :]
    if not kept:
        raise ConfigError(f"{path}: has comments alone; a line must name the columns")
    rows_in = [lines[i] + "\n" for i in kept]
    separator = SPELT.get(form.separator or "", form.separator) or (hint[1] if hint else separator_of(rows_in))
    rows = rows_of(rows_in, separator)
    if not rows:
        raise ConfigError(f"{path}, line {kept[0] + 1}: cannot be read as CSV; is a quote opened there and not closed?")
    comments = [line for line in lines[: kept[0]] if is_comment(line, comment)]
    return with_numbers(path, Draft(separator, encoding, comment, rows, lines[kept[0] :], comments), form, kept[0])


@dataclass(frozen=True)
class Draft:
    """What is found out before the numbers are looked at: `lines` from that of the names on, `above` them comments."""

    separator: str
    encoding: str
    comment: str
    rows: list[list[str]]
    lines: list[str]
    above: list[str]


def with_numbers(path: Path, draft: Draft, form: Form, before: int) -> Dialect:
    """The dialect: the columns' names, and how numbers are written in the rows below; `before` is how many lines."""
    names, body, comments = draft.rows[0], draft.rows[1:], len(draft.above)
    lines = before + spanned(draft.lines, draft.separator)
    if any(map(is_number, names)) and (above := names_above(draft)):
        names, body, lines, comments = above, draft.rows, before, comments - 1
    elif any(names) and all(is_number(name) or not name for name in names):
        raise ConfigError(f"{path}, line {before + 1}: has numbers alone; the first line must name the columns")
    fields = [field for row in body for field in row]
    missing = MISSING if form.missing_values is None else ("", *form.missing_values)
    decimal, thousands, assumed = numbers_of(fields, draft.separator, form)
    longer = body[0][len(names) :] if body else []
    return Dialect(
        separator=draft.separator,
        decimal=decimal,
        thousands=thousands,
        encoding=draft.encoding,
        comment=draft.comment,
        missing=missing,
        names=tuple(names),
        width=len(names) + (0 if any(longer) else len(longer)),
        lines=lines,
        comments=comments,
        marks=tuple(mark for mark in missing if mark and mark in set(fields)),
        assumed=assumed,
    )


def names_above(draft: Draft) -> list[str]:
    """The names that the last comment has for the columns, as NumPy writes them; [] if it has none."""
    for line in draft.above[-1:]:
        for names in rows_of([line.removeprefix(draft.comment) + "\n"], draft.separator):
            if len(names) == len(draft.rows[0]) and not any(map(is_number, names)):
                return names
    return []


def encoding_of(path: Path, start: bytes, whole: bool) -> str:
    """The encoding of a text that begins so."""
    for mark, encoding in ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32")):
        if start.startswith(mark):
            return encoding
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in start:
        even, odd = start[::2].count(0), start[1::2].count(0)
        encoding = "utf-16-be" if even > odd else "utf-16-le"
        with contextlib.suppress(UnicodeDecodeError):
            if "\0" not in codecs.getincrementaldecoder(encoding)().decode(start, whole):
                return encoding
        raise ConfigError(f"{path}: is no text but a binary file; save the table as CSV or Parquet")
    for encoding in ("utf-8", "gb18030", "cp1252"):
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(start, whole)
        except UnicodeDecodeError:
            continue
        if encoding != "gb18030" or is_chinese(text):
            return encoding
    raise ConfigError(f"{path}: is neither UTF-8 nor cp1252; give data.encoding, such as gb18030 or cp1251")


def is_chinese(text: str) -> bool:
    """A text that was decoded as GB 18030 is one: most of its letters have the two high bytes of the common ones.

    In Latin letters' encodings a high byte stands alone, as in '\N{DEGREE SIGN}C', and would pair with the letter.
    """
    beyond = [char.encode("gb18030") for char in text if not char.isascii()]
    return 2 * sum(len(char) == 2 and char[1] >= 0xA1 for char in beyond) > len(beyond)


def decoded(path: Path, start: bytes, encoding: str, whole: bool) -> str:
    """The text, its lines ended by \\n; ConfigError names what cannot be decoded."""
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(start, whole)
    except UnicodeError as error:
        raise not_decoded(path, error, encoding, 1) from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def not_decoded(path: Path, error: UnicodeError, encoding: str, line: int) -> ConfigError:
    """What is said of bytes that begin with that line and cannot be decoded."""
    if not isinstance(error, UnicodeDecodeError):
        return ConfigError(f"{path}: is not {encoding} ({' '.join(str(error).split())})")
    before = error.object[: error.start].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    place, line = len(before) - before.rfind(b"\n"), line + before.count(b"\n")
    name = "UTF-8" if encoding == "utf-8" else encoding
    return ConfigError(
        f"{path}, line {line}: byte {place} (0x{error.object[error.start]:02x}) is not {name}; save the file in that "
        "encoding, or give data.encoding, such as cp1252 or gb18030"
    )


def is_comment(line: str, comment: str) -> bool:
    """A line to be left out."""
    return bool(comment) and line.startswith(comment)


def comment_of(lines: list[str]) -> str:
    """What comments begin with: of COMMENTS the one that the most lines do; "" if none.

    Where most lines below the first that does not begin so do, they are no comments.
    """
    counts = {mark: sum(line.startswith(mark) for line in lines) for mark in COMMENTS}
    mark = max(COMMENTS, key=counts.__getitem__)
    first = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith(mark)), len(lines))
    below = [line.startswith(mark) for line in lines[first + 1 :] if line.strip()]
    return mark if counts[mark] and 2 * sum(below) <= len(below) else ""


def rows_of(lines: list[str], separator: str) -> list[list[str]]:
    """The fields of the lines, as far as they can be told."""
    if separator == BLANKS:
        lines = [line.strip(" \t\n").replace("\t", " ") + "\n" for line in lines]
    rows = []
    with contextlib.suppress(csv.Error):  # a field longer than Python's csv takes
        for row in csv.reader(lines, delimiter=separator, skipinitialspace=True):
            rows.append([field.strip() for field in row])
    return rows


def separator_of(lines: list[str]) -> str:
    """What separates two fields: the separator that gives the most rows as many fields as the first has."""
    scores = {separator: evenness(lines, separator) for separator in SEPARATORS}
    best = max(SEPARATORS, key=scores.__getitem__)
    if scores[best][0] < 1 and evenness(lines, BLANKS) > max(scores[best], (0.9, 1)):
        return BLANKS
    if scores[best][0] >= 0.5:
        return best
    below = [line.strip() for line in lines[1:]]  # one column
    return ";" if below and all(map(WITH_COMMA.fullmatch, below)) else ","


def evenness(lines: list[str], separator: str) -> tuple[float, int]:
    """The share of rows that have as many fields as the first one, but for empty ones at the end, and how many.

    (0, 1) if there is but one.
    """
    first, *rows = rows_of(lines, separator) or [[]]
    fields = len(strip_empty(first))
    if fields < 2:
        return 0.0, 1
    even = [len(row) == len(first) or len(strip_empty(row)) == fields for row in rows if any(row)]
    return (sum(even) / len(even) if even else 1.0), fields


def strip_empty(row: list[str]) -> list[str]:
    """Without the empty fields at its end."""
    while row and not row[-1]:
        row = row[:-1]
    return row


def spanned(lines: list[str], separator: str) -> int:
    """How many lines the first row takes: more than one if a field has line ends in it."""
    reader = csv.reader((line + "\n" for line in lines), delimiter=separator, skipinitialspace=True)
    next(reader, None)
    return reader.line_num


def is_number(text: str) -> bool:
    """It is no name of a column."""
    return bool(NUMBER.fullmatch(text) or WITH_COMMA.fullmatch(text))


def numbers_of(fields: list[str], separator: str, form: Form) -> tuple[str, str, str]:
    """The decimal sign, the one between thousands ("" if none), and what was assumed because nothing told.

    '1,234' can be both. A comma is decimal if some number can be read no other way ('1,5', '0,123'); it parts thousands
    if some number has two, or a point behind it. If neither is to be found, it is decimal where the fields are
    separated by something else and no number has a decimal point.
    """
    numbers = {field for field in fields if LIKE_A_NUMBER.fullmatch(field)}
    seen = {sign: any(map(re.compile(form).fullmatch, numbers)) for sign, form in TELLING.items()}
    decimal, thousands, assumed = form.decimal, form.thousands, ""
    if decimal is None:
        comma = seen["1.234,5"] or (seen["1,5"] and not seen["1,234.5"])
        if not comma and seen["1,234"] and not seen["1,234.5"] and not seen["1.5"] and separator != ",":
            comma, assumed = True, "1,234 taken for 1.234"
        decimal = "," if comma and thousands != "," else "."
    if thousands is None:
        blank = next(filter(None, map(PARTED.fullmatch, sorted(numbers))), None)
        if decimal == ",":
            parted = seen["1.234,5"] or (seen["1.234"] and not seen["1.5"])
        else:
            parted = seen["1,234.5"] or seen["1,234"]
        thousands = blank[1] if blank else {",": ".", ".": ","}[decimal] if parted else ""
    return decimal, thousands, assumed


MOST_SHOWN, LONGEST_SHOWN = 12, 40  # columns that a message names, and characters of each


def listed(names: Sequence[str]) -> str:
    """The names of columns as a message has them: some of many, and of a long one its beginning."""
    short = [name if len(name) <= LONGEST_SHOWN else f"{name[:LONGEST_SHOWN]}..." for name in names[:MOST_SHOWN]]
    more = [f"and {len(names) - MOST_SHOWN:,} more"] if len(names) > MOST_SHOWN else []
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in ", ".join([*short, *more]))
