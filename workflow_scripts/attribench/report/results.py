"""The tables of the page: the summary with marks, what tuning gains, what influence says, and published numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from attribench.formats.ranking import PRETRAINED, SCORES, Method
from attribench.plots.captions import listing
from attribench.report.answer import difference_text, plain_number
from attribench.tables.marks import marks_of
from attribench.tables.standings import Mean, Outcome, Standing

NOTHING = "\N{EN DASH}"
_LAST = -1e9  # by what a missing value is sorted
# Metrics of influence.csv that the page shows, with their headings, in two tables.
_INFLUENCE = {
    "gain_over_uniform": "gain over uniform, nats",
    "gain_over_pretrained": "gain over pretrained, nats",
    "mass_on_exemplars": "influence of the exemplars",
    "effective_number": "effective number of images",
}
_SHARE = 0.9  # of the influence, in the sets by which calibration is judged
_COVERAGE = f"coverage@{_SHARE}"
_CALIBRATION = {
    _COVERAGE: f"coverage of {100 * _SHARE:.0f} % sets",
    "calibration_error": "calibration error",
    "calibration_error_if_calibrated": "error if calibrated",
}
_VERDICTS = {
    "overconfident": "hold too few exemplars (overconfident)",
    "too cautious": "hold too many exemplars (too cautious)",
    "not told from calibrated": "cannot be told from calibrated ones",
    "too few entries to tell": "cannot be judged, for want of entries",
}


_ENTRIES = "entries better / worse / equal"
Entries = Mapping[tuple[str, str, Method], str]  # by split, prompt type and method


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
    is_best, outcome = len(standing.means) > 1 and standing.is_best(mean), standing.outcome(mean)
    return Cell(_text(mean), mean.value, marks_of(standing, mean), is_best, outcome is Outcome.TIED)


def _text(mean: Mean) -> str:
    return difference_text(mean.value, mean.low, mean.high)


def _plain(value: float) -> Cell:
    return Cell(NOTHING, _LAST) if math.isnan(value) else Cell(plain_number(value), value)


def gains(standings: Sequence[Standing], entries: Entries) -> Table | None:
    """Return what each variant gains over its extractor's features as they are, in mAP; None where there is no variant.

    entries: of how many entries the variant is better, worse, and equal.
    """
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
                    *names(judged, entries.get((standing.split, standing.prompt_type, method), NOTHING)),
                )
            )
    columns = ("split", "prompt type", "method", "mAP, pretrained", "mAP, this variant", "gain", "judgement", _ENTRIES)
    return Table(columns, tuple(rows), 3) if rows else None


def influence_rows(table: pd.DataFrame) -> Table:
    """Return a row for each split, prompt type and method of influence.csv: what influence gains, and where it lies."""
    return _influence_table(table, _INFLUENCE)


def calibration_rows(table: pd.DataFrame) -> Table:
    """Return a row for each split, prompt type and method of influence.csv: how well it is calibrated, and a judgement."""
    return _influence_table(table, _CALIBRATION, f"judgement of {100 * _SHARE:.0f} % sets")


def calibration_sentences(table: pd.DataFrame) -> list[str]:
    """Return for each split whose sets hold too few exemplars, whose too many, and whose just as many as they say."""
    sentences = []
    for split, of_split in table[table["metric"] == _COVERAGE].groupby("split", sort=False):
        parts = []
        for verdict, words in _VERDICTS.items():
            found = of_split[[_judged(row) == verdict for row in of_split.itertuples()]]
            methods = [
                f"{label} ({listing(f'{plain_number(row.value)} with {row.prompt_type}' for row in rows.itertuples())})"
                for label, rows in found.groupby("label", sort=False)
            ]
            parts += [f"those of {listing(methods)} {words}"] if methods else []
        sentences.append(f"{split}, {100 * _SHARE:.0f} % sets: {'; '.join(parts)}.")
    return sentences


def _judged(row) -> str:
    """Return the verdict on a row of coverage, by its interval: the sets should hold the same share of exemplars."""
    overconfident, cautious, calibrated, unknown = _VERDICTS
    if math.isnan(row.ci_low):
        return unknown
    return overconfident if row.ci_high < _SHARE else cautious if row.ci_low > _SHARE else calibrated


def _influence_table(table: pd.DataFrame, headings: Mapping[str, str], *judgement: str) -> Table:
    shown = [metric for metric in headings if (table["metric"] == metric).any()]
    rows = []
    for (split, prompt_type, label), part in table.groupby(["split", "prompt_type", "label"], sort=False):
        of_metric = {row.metric: row for row in part.itertuples()}
        cells = [_influence_cell(of_metric.get(metric)) for metric in shown]
        judged = names(_judged(of_metric[_COVERAGE]) if _COVERAGE in of_metric else NOTHING) if judgement else ()
        rows.append((*names(split, prompt_type, label), *cells, *judged))
    columns = ("split", "prompt type", "method", *(headings[metric] for metric in shown), *judgement)
    return Table(columns, tuple(rows), 3)


def _influence_cell(row) -> Cell:
    if row is None or not math.isfinite(row.value):
        return Cell(NOTHING, _LAST)
    if row.metric != "effective_number":
        return Cell(difference_text(row.value, row.ci_low, row.ci_high), row.value)
    interval = f" [{row.ci_low:,.0f}, {row.ci_high:,.0f}]" if row.ci_low == row.ci_low else ""
    return Cell(f"{row.value:,.0f}{interval}", row.value)


def entries_of(path: Path, split: str) -> Entries:
    """Return how many entries are better, worse and equal by each variant, from the data of the figure `variants`."""
    groups = pd.read_csv(path).groupby(["prompt_type", "extractor", "variant"], sort=False)
    return {
        (split, prompt_type, Method(extractor, variant)): " / ".join(
            str(int(n.sum()))
            for n in (
                rows["mapped"] > rows["pretrained"],
                rows["mapped"] < rows["pretrained"],
                rows["mapped"] == rows["pretrained"],
            )
        )
        for (prompt_type, extractor, variant), rows in groups
    }


def chosen_mappers(path: Path, labels: Mapping[Method, str]) -> list[str]:
    """Return which step and weight of the penalty were chosen for each tuned method, from its learning curve, and a caution.

    The latter stands last, where not all methods were tried for as many steps and with the same penalties.
    """
    curves = pd.read_csv(path)
    sentences, budgets = [], {}
    for (extractor, variant), curve in curves.groupby(["extractor", "variant"], sort=False):
        budget = int(curve["step"].max()), *sorted(curve["penalty"].unique().tolist())
        budgets.setdefault(budget, []).append(labels[Method(extractor, variant)])
        for row in curve[curve["chosen"]].itertuples():
            about = ""
            if not row.step:
                about = " (the start: no step was better, so its mappers are untrained)"
            elif row.step == curve.loc[curve["penalty"] == row.penalty, "step"].max():
                about = " (the last that was tried: more may do better)"
            label = labels[Method(extractor, variant)]
            sentences.append(f"{label}: step {row.step}{about}, penalty {row.penalty:g}, val mAP {row.val_mAP:.3f}")
    if len(budgets) > 1:
        tried = [
            f"{listing(methods)} up to step {steps} with penalty {listing(f'{penalty:g}' for penalty in penalties)}"
            for (steps, *penalties), methods in budgets.items()
        ]
        sentences.append(
            f"Tried were {'; '.join(tried)}: what one of them has over another may come of these numbers as well as of "
            "head and training splits."
        )
    return sentences


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
