"""The README's table of the sample's results, from results/tables/summary.csv. Run it to put the table into README.md."""

import csv
import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
MARKS = ("<!-- sample results -->\n", "<!-- end of sample results -->")


def sample_table(summary: Path) -> str:
    """mAP with its interval, a row per method and a column per (split, prompt type), as Markdown."""
    with open(summary, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "mAP"]
    columns = list(dict.fromkeys((row["split"], row["prompt_type"]) for row in rows))
    methods = list(dict.fromkeys(row["label"] for row in rows))
    cells = {(row["label"], row["split"], row["prompt_type"]): _cell(row) for row in rows}
    chance = {(row["split"], row["prompt_type"]): f"{float(row['chance']):.3f}" for row in rows}
    lines = [["method", *(f"{split}, {prompt_type}" for split, prompt_type in columns)], ["---"] * (len(columns) + 1)]
    lines += [[f"`{label}`", *(cells[label, *column] for column in columns)] for label in methods]
    lines.append(["chance", *(chance[column] for column in columns)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(row: dict) -> str:
    """Return the value and its interval, with as many digits as chance has."""
    return f"{float(row['value']):.3f} [{float(row['ci_low']):.3f}, {float(row['ci_high']):.3f}]"


def main() -> None:
    readme = REPOSITORY / "README.md"
    table = sample_table(REPOSITORY / "results/tables/summary.csv")
    pattern = re.compile(f"{re.escape(MARKS[0])}.*?{re.escape(MARKS[1])}", re.DOTALL)
    readme.write_text(pattern.sub(lambda _: MARKS[0] + "\n" + table + "\n" + MARKS[1], readme.read_text()))


if __name__ == "__main__":
    main()
