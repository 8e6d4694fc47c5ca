"""Where a table's columns come from, some samples at a time: a text in the form of a dialect, or a Parquet file."""

import csv
import difflib
import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_lab.config import ConfigError
from lstm_lab.tables.archives import Hashed, kind_of, unpack
from lstm_lab.tables.blocks import fill, is_comment, numbered, read_blocks
from lstm_lab.tables.dialect import BLANKS, LONGEST_LINE, Dialect, Form, find_dialect, listed

if TYPE_CHECKING:
    import pyarrow

LONGEST_TEXT = 40  # characters of a field that a message shows
SAMPLES = 2**17  # of a Parquet file that are read at a time


class FaultError(Exception):
    """Something is wrong with a sample: `said`, with {} for the text of its fields in those columns."""

    def __init__(self, sample: int, columns: Sequence[str], said: str) -> None:
        super().__init__(said)
        self.sample, self.columns, self.said = sample, columns, said


class CsvSource:
    """A text whose first line names the columns, every other line being a sample; maybe in an archive.

    `sha256` and `comments`, how many lines were left out, are known once it was read.
    """

    def __init__(self, path: Path, form: Form, numbers: Sequence[str], texts: Sequence[str]) -> None:
        self.path, self.form, self.columns = path, form, [*numbers, *texts]
        self.dialect = dialect_of(path, form)
        names = self.dialect.names
        self.places = [place_of(f"{path}, line {self.dialect.lines}", names, name) for name in self.columns]
        self.numbers = len(numbers)
        self.comments, self.sha256 = self.dialect.comments, ""

    def batches(self) -> "Iterator[tuple[list[pyarrow.Array], int]]":
        """The columns, doubles or texts, and how many samples at the end are empty rows."""
        samples = 0
        with open(self.path, "rb") as file, Hashed(file) as hashed, unpack(self.path, hashed) as stream:
            for block in read_blocks(self.path, stream, self.dialect):
                self.comments += block.comments
                if block.text:
                    arrays = self.parse(block.text, samples)
                    samples += len(arrays[0])
                    yield arrays, empty_rows(block.text, self.dialect)
            self.sha256 = hashed.hexdigest()

    def parse(self, text: bytes, samples: int) -> "list[pyarrow.Array]":
        """The columns of the rows; those of numbers are doubles unless one of them is not plainly a number."""
        import pyarrow

        as_texts = bool(self.dialect.thousands)
        try:
            return self.parsed(text, as_texts)
        except pyarrow.ArrowInvalid as error:
            if "columns, got" in str(error):
                text = self.refitted(text, samples)
        return self.parsed(text, as_texts=True)

    def parsed(self, text: bytes, as_texts: bool) -> "list[pyarrow.Array]":
        """The columns of those rows."""
        import pyarrow
        from pyarrow import csv as parser

        dialect = self.dialect
        places, fields = [str(place) for place in dict.fromkeys(self.places)], map(str, range(dialect.width))
        double = pyarrow.string() if as_texts else pyarrow.float64()
        types = dict.fromkeys(places, double) | {str(place): pyarrow.string() for place in self.places[self.numbers :]}
        table = parser.read_csv(
            pyarrow.BufferReader(text),
            parser.ReadOptions(use_threads=False, column_names=list(fields), block_size=len(text) + 1),
            parser.ParseOptions(
                delimiter="\t" if dialect.separator == BLANKS else dialect.separator,
                newlines_in_values=b'"' in text,
                ignore_empty_lines=False,
            ),
            parser.ConvertOptions(
                include_columns=places, column_types=types, null_values=list(dialect.missing),
                decimal_point=dialect.decimal,
            ),
        )  # fmt: skip
        return [table.column(str(place)).combine_chunks() for place in self.places]

    def refitted(self, text: bytes, samples: int) -> bytes:
        """The rows with as many fields as there are columns; FaultError unless nameless empty ones tell them apart."""
        dialect = self.dialect
        separator = "\t" if dialect.separator == BLANKS else dialect.separator
        refitted, rows = io.StringIO(), csv.reader(io.StringIO(text.decode(), newline=""), delimiter=separator)
        writer = csv.writer(refitted, delimiter=separator, lineterminator="\n")
        named = len("".join(name[:1] or " " for name in dialect.names).rstrip())
        try:
            for i, row in enumerate(rows):
                if len(row) < named or any(field.strip() for field in row[dialect.width :]):
                    raise FaultError(
                        samples + i, (), f"has {len(row)} fields, but the first line names {named} columns"
                    )
                writer.writerow([*row[: dialect.width], *[""] * (dialect.width - len(row))])
        except csv.Error as error:
            raise ConfigError(f"{self.path}: cannot be read as CSV ({error})") from None
        return refitted.getvalue().encode()

    def blame(self, fault: FaultError) -> ConfigError:
        """What is said of a fault, with the line that an editor shows."""
        line, row = locate(self.path, self.dialect, fault.sample)
        where = f"{self.path}, line {line}"
        if not fault.columns:
            return ConfigError(f"{where}: {fault.said}; the file was read as {self.told()}")
        places = [self.places[self.columns.index(name)] for name in fault.columns]
        text = " ".join(row[place].strip() for place in places if place < len(row)).strip()
        said = fault.said.replace("{}", shown(text)) if text else "is empty; " + fault.said.partition("; ")[2]
        if "; " not in said:
            said += f"; the file was read as {self.told()}"
        return ConfigError(f"{where}, column '{' '.join(map(shown, fault.columns))}': {said}")

    def told(self) -> str:
        """How the file was read, also what is the plain default."""
        said = self.dialect.told()
        if not any("separated" in part for part in said):
            said.insert(0, "separated by commas" if len(self.dialect.names) > 1 else "one column")
        return ", ".join(said)

    def understood(self) -> list[str]:
        """How the file was read, but for what is the plain default."""
        comments = [f"{self.comments:,} comment line{'s' * (self.comments != 1)}"] if self.comments else []
        columns = sum(map(bool, self.dialect.names))
        return [*self.dialect.told(), *comments, f"{columns:,} column{'s' * (columns != 1)}"]


class ParquetSource:
    """The columns of a Parquet file."""

    def __init__(self, path: Path, numbers: Sequence[str], texts: Sequence[str]) -> None:
        self.path, self.columns, self.numbers = path, [*numbers, *texts], len(numbers)
        self.names = parquet_names(path)
        self.places = [place_of(str(path), self.names, name) for name in self.columns]
        self.sha256 = ""

    def batches(self) -> "Iterator[tuple[list[pyarrow.Array], int]]":
        """The columns, doubles or texts or times, and 0."""
        import pyarrow
        from pyarrow import parquet

        try:
            with parquet.ParquetFile(self.path) as file:
                names = [file.schema_arrow.names[place] for place in dict.fromkeys(self.places)]
                for batch in file.iter_batches(SAMPLES, columns=names):
                    kinds = [True] * self.numbers + [False] * (len(self.columns) - self.numbers)
                    arrays = [batch.column(file.schema_arrow.names[place]) for place in self.places]
                    yield (
                        [
                            self.converted(array, name, number)
                            for array, name, number in zip(arrays, self.columns, kinds, strict=True)
                        ],
                        0,
                    )
        except (pyarrow.ArrowException, OSError) as error:
            raise broken_parquet(self.path, error) from None
        with open(self.path, "rb") as whole:
            self.sha256 = hashlib.file_digest(whole, "sha256").hexdigest()

    def converted(self, array: "pyarrow.Array", name: str, number: bool) -> "pyarrow.Array":
        """The column as doubles, texts, or times."""
        import pyarrow
        from pyarrow import compute, types

        kind = array.type.value_type if types.is_dictionary(array.type) else array.type
        target = pyarrow.float64() if number else pyarrow.string()
        if types.is_decimal(kind) or types.is_large_string(kind) or types.is_string(kind):
            target = pyarrow.string()  # of a decimal too: it becomes the nearest double only when read as a text is
        elif types.is_timestamp(kind) and not number:
            target = pyarrow.timestamp("us", kind.tz)
        refused = types.is_nested(kind) or types.is_binary(kind) or (number and types.is_temporal(kind))
        try:
            if not refused:
                return compute.cast(array, target, safe=False)
        except pyarrow.ArrowException:
            pass
        needs = "numbers" if number else "texts or times"
        raise ConfigError(f"{self.path}, column '{name}': is of type {kind}; it must be of {needs}")

    def blame(self, fault: FaultError) -> ConfigError:
        """What is said of a fault; rows are counted from 1."""
        said = fault.said.replace("{}", "that").removeprefix("'that' ")
        return ConfigError(
            f"{self.path}, row {fault.sample + 1}, column '{' '.join(map(shown, fault.columns))}': {said}"
        )

    def understood(self) -> list[str]:
        """How the file was read."""
        return ["Parquet", f"{len(self.names):,} columns"]


Source = CsvSource | ParquetSource


def open_source(path: Path, form: Form, numbers: Sequence[str], texts: Sequence[str]) -> Source:
    """The columns of that file, whatever it is; ConfigError if one is not there."""
    if kind_of(path) == "parquet":
        return ParquetSource(path, numbers, texts)
    return CsvSource(path, form, numbers, texts)


def dialect_of(path: Path, form: Form) -> Dialect:
    """How the file is written."""
    with open(path, "rb") as file, unpack(path, file) as stream:
        start = fill(stream, LONGEST_LINE)
        return find_dialect(path, start, len(start) < LONGEST_LINE, form)


def parquet_names(path: Path) -> list[str]:
    """The names of a Parquet file's columns."""
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            return list(file.schema_arrow.names)
    except (pyarrow.ArrowException, OSError) as error:
        raise broken_parquet(path, error) from None


def broken_parquet(path: Path, error: Exception) -> ConfigError:
    """What is said of a Parquet file that cannot be read; an error of the system passes."""
    if isinstance(error, OSError) and error.errno:
        raise error
    return ConfigError(f"{path}: is a broken Parquet file ({' '.join(str(error).split())[:200].rstrip('.')})")


def place_of(where: str, names: Sequence[str], column: str) -> int:
    """Where in a row the column stands."""
    if names.count(column) > 1:
        raise ConfigError(f"{where}: the column '{shown(column)}' stands there {names.count(column)} times")
    if column not in names:
        there = [name for name in names if name]
        cased = {name.casefold(): name for name in there}
        near = [cased[name] for name in difflib.get_close_matches(column.casefold(), cased, 1)]
        hint = f"; did you mean {listed(near)}?" if near else ""
        raise ConfigError(f"{where}: there is no column '{shown(column)}'; there is {listed(there)}{hint}")
    return names.index(column)


def locate(path: Path, dialect: Dialect, sample: int) -> tuple[int, list[str]]:
    """The line where the sample of that number stands, and its fields; the file is read again."""
    with open(path, "rb") as file, unpack(path, file) as stream:
        for block in read_blocks(path, stream, dialect):
            samples = block.rows(dialect)
            if sample < samples:
                break
            sample -= samples
        comment = dialect.comment.encode()
        rows = [item for item in numbered(block.lines, dialect, block.line) if item[1].strip()]
        line, row = [item for item in rows if not is_comment(item[1], comment)][sample]
    text = row.decode(errors="replace")
    if dialect.separator == BLANKS:
        text = text.strip(" \t\n").replace("\t", " ")
    try:
        return line, next(csv.reader([text], delimiter=dialect.separator, skipinitialspace=True), [])
    except csv.Error:  # a field longer than Python's csv takes
        return line, text.split(dialect.separator)


def empty_rows(text: bytes, dialect: Dialect) -> int:
    """How many rows at the end have no field that is not empty."""
    nothing = (b"\t" if dialect.separator == BLANKS else dialect.separator.encode()) + b' \t\n"'
    if text[text.rfind(b"\n", 0, -1) + 1 :].strip(nothing):
        return 0
    end = len(text.rstrip(nothing))
    return text.count(b"\n", end) - (end > 0)


def shown(text: str) -> str:
    """The text of a field as a message has it."""
    text = text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}..."
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
