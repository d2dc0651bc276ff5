"""The tables of the sample's results in README.md and docs/methods.md. Run it to put them there: [results/tables]."""

import csv
import re
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
# How far numbers may be from those of another processor: of what is tuned, where another step may be the best one, and of
# influence, which is fitted. All others are the same everywhere.
TUNED, FITTED = 0.02, 0.002


def sample_table(summary: Path) -> str:
    """mAP with its interval, a row per method and a column per (split, prompt type), as Markdown."""
    rows = _rows(summary, "mAP")
    chance = {_column(row): f"{float(row['chance']):.3f}" for row in rows}
    return _table(rows) + _line(["chance", *chance.values()])


def influence_table(influence: Path) -> str:
    """Return what log-likelihood gains over uniform influence, in nats, in the same form."""
    return _table(_rows(influence, "gain_over_uniform"))


# By file: the comment before the table, the table of results/tables that it is made from, and how.
TABLES = {
    "README.md": ("sample results", "summary.csv", sample_table),
    "docs/methods.md": ("sample influence", "influence.csv", influence_table),
}


def table_in(document: str) -> str:
    """Return the table that stands in `document`."""
    first, last = _marks(document)
    return (REPOSITORY / document).read_text().split(first)[1].split(last)[0].strip()


def differences(document: str, tables: Path) -> list[tuple[str, str]]:
    """Return the lines in which a document's table differs from `tables`: in words, or in a number by more than it may."""
    _, table, made_of = TABLES[document]
    least = FITTED if made_of is influence_table else 0
    pairs = zip(table_in(document).splitlines(), made_of(tables / table).strip().splitlines(), strict=True)
    return [(a, b) for a, b in pairs if not _agree(a, b, TUNED if "tuned" in a else least)]


def _agree(a: str, b: str, tolerance: float) -> bool:
    number = r"-?\d+\.\d+"
    if re.sub(number, "#", a) != re.sub(number, "#", b):
        return False
    return all(
        abs(float(x) - float(y)) <= tolerance for x, y in zip(*(re.findall(number, t) for t in (a, b)), strict=True)
    )


def _rows(table: Path, metric: str) -> list[dict]:
    with open(table, newline="") as file:
        return [row for row in csv.DictReader(file) if row["metric"] == metric]


def _column(row: dict) -> str:
    return f"{row['split']}, {row['prompt_type']}"


def _table(rows: list[dict]) -> str:
    columns = list(dict.fromkeys(map(_column, rows)))
    cells = {(row["label"], _column(row)): _cell(row) for row in rows}
    lines = [["method", *columns], ["---"] * (len(columns) + 1)]
    labels = dict.fromkeys(row["label"] for row in rows)
    lines += [[f"`{label}`", *(cells[label, column] for column in columns)] for label in labels]
    return "".join(map(_line, lines))


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _cell(row: dict) -> str:
    """Return the value and its interval, with as many digits as chance has."""
    return f"{float(row['value']):.3f} [{float(row['ci_low']):.3f}, {float(row['ci_high']):.3f}]"


def _marks(document: str) -> tuple[str, str]:
    name = TABLES[document][0]
    return f"<!-- {name} -->\n", f"<!-- end of {name} -->"


def main(tables: Path) -> None:
    for document, (_, table, made_of) in TABLES.items():
        path, (first, last) = REPOSITORY / document, _marks(document)
        pattern = re.compile(f"{re.escape(first)}.*?{re.escape(last)}", re.DOTALL)
        text = f"{first}\n{made_of(tables / table)}\n{last}"
        path.write_text(pattern.sub(lambda _, text=text: text, path.read_text()))


if __name__ == "__main__":
    main(Path(*sys.argv[1:] or ["results/tables"]))
