"""CSV files: exact floats, text that stays text, written whole or not at all."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from attribench.common.errors import InputError
from attribench.common.files import atomic_path
from attribench.common.text_files import csv_rows, read_text

if TYPE_CHECKING:
    import pandas as pd


def write_rows(path: Path | str, rows: Iterable[Sequence]) -> None:
    r"""Write `rows` to `path`, atomically: `,`, `\n`, shortest round-trip floats, an empty field for None."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        # With `\r\n`, fields that hold `\r` are put in quotes too: a reader takes it for a line's end otherwise.
        csv.writer(_Lines(file), lineterminator="\r\n").writerows(rows)


class _Lines:
    r"""Write rows that end with `\r\n` to `file`, with `\n` in its place."""

    def __init__(self, file: TextIO):
        self._file = file

    def write(self, row: str) -> None:
        self._file.write(row.removesuffix("\r\n") + "\n")


def write_table(path: Path | str, table: "pd.DataFrame") -> None:
    """Write `table` to `path` as `write_rows` does, with its columns' names first; a missing value is an empty field."""
    values = table.astype(object).where(table.notna(), None)
    write_rows(path, chain([table.columns], values.itertuples(index=False, name=None)))


def read_table(path: Path | str, what: str, types: Mapping[str, str], needed: Iterable[str] = ()) -> "pd.DataFrame":
    """Read the CSV file at `path`, to the last bit.

    types: pandas' type of each column that is none of floats. In a column of the type `object`, which is text, nothing is
    missing: a category may be called NA. Elsewhere an empty field is a missing value.

    Raises InputError that names the file, as `what`, when it is not there, is no CSV file in UTF-8, lacks a `needed` column,
    or has a value that is not of its column's type.
    """
    import pandas as pd  # here alone: what builds the graph writes rows too, and must not load it

    text = read_text(path, what, "a CSV file")
    header: list[str] = []
    for _, fields in csv_rows(io.StringIO(text, newline=""), path, f"a {what}"):
        header = header or fields
    if not header:
        raise InputError(f"{path}: not a {what}, it is empty")
    if missing := [name for name in needed if name not in header]:
        raise InputError(f"{path}: not a {what}, it lacks the column {', '.join(missing)}")
    try:
        return pd.read_csv(
            io.StringIO(text, newline=""),
            dtype=defaultdict(lambda: "float64", types),
            keep_default_na=False,
            na_values={name: [""] for name in header if types.get(name) != "object"},
        )
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: a value is not of its column's type ({error})") from error
