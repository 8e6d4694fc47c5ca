"""CSV files as spreadsheets read them."""

import csv
from collections.abc import Iterable, Sequence
from typing import IO, Any

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what a formula in a spreadsheet may begin with


def write_rows(text: IO[str], header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a CSV file."""
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(in_a_cell, header))
    writer.writerows(rows)


def in_a_cell(text: str) -> str:
    """A text as a cell of a CSV file: no spreadsheet takes it for a formula and runs it."""
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) else text
