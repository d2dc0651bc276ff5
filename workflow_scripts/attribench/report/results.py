"""The tables of the page: the summary with marks, what tuning gains, what influence says, and published numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from attribench.formats.ranking import PRETRAINED, SCORES, Method
from attribench.report.answer import difference_text, plain_number
from attribench.tables.standings import Mean, Outcome, Standing

NOTHING = "\N{EN DASH}"
_LAST = -1e9  # by what a missing value is sorted
# Marks beside values, and what they mean; the best value is bold.
TIED, UNADJUSTED, CHANCE, SEEN = "\N{ALMOST EQUAL TO}", "~", "\N{DEGREE SIGN}", "\N{DAGGER}"
# Metrics of influence.csv that the page shows, with their headings.
_INFLUENCE = {
    "gain_over_uniform": "gain over uniform, nats",
    "gain_over_pretrained": "gain over pretrained, nats",
    "mass_on_exemplars": "influence of the exemplars",
    "calibration_error": "calibration error",
    "calibration_error_if_calibrated": "error if calibrated",
    "coverage@0.9": "coverage of 90 % sets",
    "effective_number": "effective number of images",
}


@dataclass(frozen=True)
class Cell:
    """Hold a table's cell: its `text`, what it is sorted by, its `mark`, and whether it is bold or underlined."""

    text: str
    order: float | str
    mark: str = ""
    is_bold: bool = False
    is_tied: bool = False


@dataclass(frozen=True)
class Table:
    """Hold a table of the page: its columns' headings and rows; the first `n_names` columns name what a row is of."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    n_names: int


def names(*texts: str) -> tuple[Cell, ...]:
    """Return cells of texts, sorted by them."""
    return tuple(Cell(text, text) for text in texts)


def summary_rows(standings: Sequence[Standing]) -> Table:
    """Return a row for each split, prompt type and method, with a column for each metric."""
    metrics = list(dict.fromkeys(standing.metric for standing in standings))
    metrics.sort(key=lambda metric: metric != "mAP")
    by_group: dict[tuple[str, str], dict[str, Standing]] = {}
    for standing in standings:
        by_group.setdefault((standing.split, standing.prompt_type), {})[standing.metric] = standing
    rows = []
    for (split, prompt_type), of_metric in by_group.items():
        methods = {mean.method: mean.label for standing in of_metric.values() for mean in standing.means}
        for method, label in methods.items():
            cells = [_metric_cell(of_metric.get(metric), method) for metric in metrics]
            rows.append((*names(split, prompt_type, label), *cells))
        chance = [_plain(of_metric[m].chance if m in of_metric else math.nan) for m in metrics]
        rows.append((*names(split, prompt_type, "(random ranking)"), *chance))
    return Table(("split", "prompt type", "method", *metrics), tuple(rows), 3)


def _metric_cell(standing: Standing | None, method: Method) -> Cell:
    mean = next((m for m in standing.means if m.method == method), None) if standing else None
    if mean is None:
        return Cell(NOTHING, _LAST)
    is_best, mark = mean is standing.best, ""
    outcome = None if is_best else standing.lead(method).outcome(standing.confidence)
    if outcome in (Outcome.TIED, Outcome.UNADJUSTED):
        mark = TIED if outcome is Outcome.TIED else UNADJUSTED
    if not math.isnan(mean.low) and not standing.is_above_chance(mean):
        mark += CHANCE
    if mean.seen in ("train", "val"):
        mark += SEEN
    return Cell(_text(mean), mean.value, mark, is_best, outcome is Outcome.TIED)


def _text(mean: Mean) -> str:
    return difference_text(mean.value, mean.low, mean.high)


def _plain(value: float) -> Cell:
    return Cell(NOTHING, _LAST) if math.isnan(value) else Cell(plain_number(value), value)


def gains(standings: Sequence[Standing]) -> Table | None:
    """Return what each variant gains over its extractor's features as they are, in mAP; None where there is no variant."""
    rows = []
    for standing in (standing for standing in standings if standing.metric == "mAP"):
        by_method = {mean.method: mean for mean in standing.means}
        for method, mean in by_method.items():
            base = Method(method.extractor, PRETRAINED)
            if method.variant in (PRETRAINED, SCORES) or base not in by_method:
                continue
            pair = standing.pair(method, base)
            outcome = pair.outcome(standing.confidence)
            judged = {
                Outcome.AHEAD: "better" if pair.value > 0 else "worse",
                Outcome.UNADJUSTED: f"likely {'better' if pair.value > 0 else 'worse'}",
            }.get(outcome, str(outcome))
            rows.append(
                (
                    *names(standing.split, standing.prompt_type, mean.label),
                    *(_plain(by_method[base].value), _plain(mean.value)),
                    Cell(difference_text(pair.value, pair.low, pair.high), pair.value),
                    *names(judged),
                )
            )
    columns = ("split", "prompt type", "method", "mAP, pretrained", "mAP, this variant", "gain", "judgement")
    return Table(columns, tuple(rows), 3) if rows else None


def influence_rows(table: pd.DataFrame) -> Table:
    """Return a row for each split, prompt type and method of influence.csv, with a column for each metric that is shown."""
    shown = [metric for metric in _INFLUENCE if (table["metric"] == metric).any()]
    rows = []
    for (split, prompt_type, label), part in table.groupby(["split", "prompt_type", "label"], sort=False):
        of_metric = {row.metric: row for row in part.itertuples()}
        cells = [
            Cell(difference_text(row.value, row.ci_low, row.ci_high), row.value)
            if (row := of_metric.get(metric)) is not None and math.isfinite(row.value)
            else Cell(NOTHING, _LAST)
            for metric in shown
        ]
        rows.append((*names(split, prompt_type, label), *cells))
    return Table(("split", "prompt type", "method", *(_INFLUENCE[metric] for metric in shown)), tuple(rows), 3)


def published_rows(table: pd.DataFrame, labels: Mapping[Method, str]) -> Table | None:
    """Return a row for each published number that concerns the run; None where there is none."""
    rows = []
    for row in table.itertuples():
        method = Method(row.extractor, row.variant)
        rows.append(
            (
                *names(row.split, row.prompt_type, labels.get(method, method.name), row.metric),
                *(_plain(row.value), _plain(row.tolerance), _plain(row.ours)),
                *names(row.within, row.source),
            )
        )
    columns = ("split", "prompt type", "method", "metric", "published", "tolerance", "ours", "within", "source")
    return Table(columns, tuple(rows), 4) if rows else None
