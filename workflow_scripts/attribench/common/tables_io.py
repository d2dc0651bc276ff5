"""CSV files: exact floats, text that stays text, written whole or not at all."""

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from attribench.common.errors import InputError
from attribench.common.files import atomic_path

if TYPE_CHECKING:
    import pandas as pd


def write_rows(path: Path | str, rows: Iterable[Sequence]) -> None:
    r"""Write `rows` to `path`, atomically: `,`, `\n`, shortest round-trip floats, an empty field for None."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


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

    try:
        header = pd.read_csv(path, nrows=0).columns
    except FileNotFoundError:
        raise InputError(f"{path}: the {what} does not exist") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a {what} ({error})") from error
    if missing := [name for name in needed if name not in header]:
        raise InputError(f"{path}: not a {what}, it lacks the column {', '.join(missing)}")
    try:
        return pd.read_csv(
            path,
            dtype=defaultdict(lambda: "float64", types),
            keep_default_na=False,
            na_values={name: [""] for name in header if types.get(name) != "object"},
        )
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: a value is not of its column's type ({error})") from error
