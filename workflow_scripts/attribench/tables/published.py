"""Published numbers, from a CSV file that users extend, and ours beside them (docs/formats.md)."""

import io
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from attribench.common.errors import InputError, nearest
from attribench.common.tables_io import read_table
from attribench.common.text_files import csv_rows, decimal_number, read_text

if TYPE_CHECKING:
    import pandas as pd

# A difference that decimal notation would call equal to the tolerance is within it.
_SLACK = 1e-12


class Number(NamedTuple):
    """Hold a published value of a metric, how far from it ours may be, and who published it."""

    benchmark: str
    split: str
    prompt_type: str
    extractor: str
    variant: str
    metric: str
    value: float
    tolerance: float
    source: str

    @property
    def identity(self) -> tuple[str, ...]:
        """Return what it is a value of: the fields before `value`."""
        return self[:6]

    @property
    def cut_off(self) -> int | None:
        """Return the k of a metric such as recall@k; None for one without."""
        match = re.fullmatch(r".+@([1-9]\d*)", self.metric, re.ASCII)
        return int(match[1]) if match else None


PUBLISHED_COLUMNS = (*Number._fields, "ours", "difference", "within")


def read_published(path: Path | str) -> list[Number]:
    """Return the numbers in the file at `path`, in its order; blank lines count for nothing.

    Raises InputError for a file that cannot be read, and, naming file and line, for columns that are not those of `Number`,
    an empty field, a value or tolerance that is not from 0 to 1, and a number that the same source states twice.
    """
    columns = ",".join(Number._fields)
    try:
        text = read_text(path, "file", f"CSV with the columns {columns}, or null for none")
    except InputError as error:
        raise InputError(f"config key published_numbers: {error}") from error
    numbers: list[Number] = []
    lines: dict[tuple, int] = {}
    rows = csv_rows(io.StringIO(text, newline=""), path, columns)
    header = [name.strip() for name in next(rows, (1, []))[1]]
    _check_header(f"{path}, line 1", header)
    for line, row in rows:
        fields = [field.strip() for field in row]
        if any(fields):
            where = f"{path}, line {line}"
            number = _number(where, header, fields)
            numbers.append(number)
            first = lines.setdefault((*number.identity, number.source), line)
            if first != line:
                stated = f"{' '.join(number.identity)} of {number.source}"
                raise InputError(f"{where}: {stated} is in line {first} already; expected it once")
    return numbers


def published_table(numbers: list[Number], summary: "pd.DataFrame") -> "pd.DataFrame":
    """Return published.csv: each number with our value from summary.csv, ours - published, and `within`.

    `within` is `true` or `false`: whether the difference is at most the tolerance; `missing` where we have no value.
    """
    import pandas as pd  # here alone: every start of the workflow reads the numbers, and must not load it

    names = zip(*(summary[name] for name in Number._fields[:6]), strict=True)
    ours = dict(zip(names, summary["value"].tolist(), strict=True))
    rows = [_row(number, ours.get(number.identity, math.nan)) for number in numbers]
    return pd.DataFrame(rows, columns=PUBLISHED_COLUMNS)


def _row(number: Number, ours: float) -> tuple:
    difference = ours - number.value
    if math.isnan(difference):
        return (*number, ours, difference, "missing")
    return (*number, ours, difference, "true" if abs(difference) <= number.tolerance + _SLACK else "false")


def _check_header(where: str, header: list[str]) -> None:
    expected = f"expected {','.join(Number._fields)}"
    for name in header:
        if name not in Number._fields:
            raise InputError(f"{where}: unknown column `{name}`{nearest(name, Number._fields)} {expected}")
        if header.count(name) > 1:
            raise InputError(f"{where}: column `{name}` is there more than once; {expected}")
    if missing := [name for name in Number._fields if name not in header]:
        raise InputError(f"{where}: no column {', '.join(missing)}; {expected}")


def _number(where: str, header: list[str], fields: list[str]) -> Number:
    row = dict(zip(header, fields, strict=True))
    if empty := [name for name in Number._fields if not row[name]]:
        raise InputError(f"{where}: {', '.join(empty)} is empty; expected a value in every column")
    return Number(**{**row, **{name: _share(where, name, row[name]) for name in ("value", "tolerance")}})


def _share(where: str, name: str, text: str) -> float:
    try:
        value = decimal_number(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise InputError(f"{where}: {name} is {text!r}; expected a number from 0 to 1 (a share, no per cent)")
    return value


def read_published_table(path: Path | str) -> "pd.DataFrame":
    """Read published.csv exactly."""
    types = dict.fromkeys((*Number._fields[:6], "source", "within"), "object")
    return read_table(path, "table of published numbers", types, needed=PUBLISHED_COLUMNS)
