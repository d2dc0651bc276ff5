"""The CSV tables, from the metrics of every query of every method (docs/formats.md has the columns).

`Tables` maps (split, extractor, variant) to that method's metrics, as `metrics.query_table` makes and
`metrics.read_query_table` reads them. Splits and methods come out in its order, prompt types in that of the split file.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from attribench.common.errors import InputError
from attribench.common.tables_io import read_table
from attribench.formats.ranking import Method, Ranking
from attribench.metrics import all_metrics, query_table
from attribench.tables import statistics
from attribench.tables.statistics import Resampling

Tables = dict[tuple[str, str, str], pd.DataFrame]

SUMMARY_COLUMNS = (
    *("benchmark", "split", "prompt_type", "extractor", "variant", "metric", "value", "ci_low", "ci_high"),
    *("n_queries", "n_entries", "chance", "ceiling", "n_invalid"),
)
BREAKDOWN_COLUMNS = (*SUMMARY_COLUMNS[:5], "group", "level", *SUMMARY_COLUMNS[5:])
SIZE_COLUMNS = (*SUMMARY_COLUMNS[:5], "database_size", *SUMMARY_COLUMNS[5:])
NEAR_DUPLICATE_COLUMNS = ("split", "extractor", "variant", "exemplar", "database_image", "similarity")
MISSING_VARIANT_COLUMNS = ("extractor", "variant", "file")
LEFT_OUT_COLUMNS = ("collection", "reason", "ending", "count", "example")
INVALID_COLUMNS = ("collection", "path", "role", "reason")
COMPARISON_COLUMNS = (
    *("benchmark", "split", "prompt_type", "metric", "extractor_a", "variant_a", "extractor_b", "variant_b"),
    *("difference", "ci_low", "ci_high", "p_value", "p_holm", "n_queries", "n_entries"),
)
# First and last number of exemplars of each bin of the breakdown.
EXEMPLAR_BINS = ((1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, 32), (33, 64), (65, None))


def split_table(tables: Tables, split: str, recall_ks: list[int]) -> pd.DataFrame:
    """Return SPLIT.csv: one row per method, by feature and name, in the columns of the published benchmark."""
    metrics, rows = all_metrics(recall_ks), []
    methods = _methods(tables, split, recall_ks)
    prompt_types = _prompt_types(methods)
    for method, table in methods.items():
        row = {"name": method.name, "feature": method.extractor}
        for prompt_type in prompt_types:
            chosen = table[table["prompt_type"] == prompt_type]
            for metric in metrics:
                row[f"{prompt_type}-{metric.name}"] = statistics.mean(chosen[metric.column].to_numpy())
        rows.append(row)
    columns = ["name", "feature", *(f"{p}-{metric.name}" for p in prompt_types for metric in metrics)]
    return pd.DataFrame(sorted(rows, key=lambda row: (row["feature"], row["name"])), columns=columns)


def summary_table(tables: Tables, benchmark: str, recall_ks: list[int], resampling: Resampling) -> pd.DataFrame:
    """Return summary.csv: one row per split, prompt type, method and metric."""
    rows: list[dict] = []
    for split, prompt_type, methods in _groups(tables, recall_ks):
        for row in _summaries(methods, recall_ks, resampling):
            rows.append({"benchmark": benchmark, "split": split, "prompt_type": prompt_type, **row})
    return pd.DataFrame(rows, columns=SUMMARY_COLUMNS)


def read_summary(path: Path | str) -> pd.DataFrame:
    """Read summary.csv, or database_sizes.csv, exactly."""
    counts = ("database_size", "n_queries", "n_entries", "n_invalid")
    types = {**dict.fromkeys(SUMMARY_COLUMNS[:6], "object"), **dict.fromkeys(counts, "int64")}
    return read_table(path, "summary", types, needed=SUMMARY_COLUMNS)


def breakdown_table(tables: Tables, benchmark: str, recall_ks: list[int], resampling: Resampling) -> pd.DataFrame:
    """Return breakdown.csv: summary.csv's rows within each bin of the number of exemplars, and in each category there is."""
    rows: list[dict] = []
    for split, prompt_type, methods in _groups(tables, recall_ks):
        head = {"benchmark": benchmark, "split": split, "prompt_type": prompt_type}
        order, section = list(methods), []
        for group, level, chosen in _levels(methods):
            of_level = {method: table[chosen] for method, table in methods.items()}
            for row in _summaries(of_level, recall_ks, resampling):
                section.append({**head, "group": group, "level": level, **row})
        # Method by method, as in summary.csv; a method's levels stay in their order.
        rows += sorted(section, key=lambda row, order=order: order.index((row["extractor"], row["variant"])))
    return pd.DataFrame(rows, columns=BREAKDOWN_COLUMNS)


def sizes_table(
    rankings: Iterable[Ranking], benchmark: str, recall_ks: list[int], resampling: Resampling
) -> pd.DataFrame:
    """Return database_sizes.csv: summary.csv's rows at each database size ranked, the whole last.

    It is empty where no sizes were ranked.
    """
    by_size: dict[int, Tables] = {}
    for ranking in rankings:
        sizes = {size: ranking.at_size(size) for size in ranking.sizes.tolist()}
        if sizes:
            sizes[ranking.database_size] = ranking
        for size, at_size in sizes.items():
            table = query_table(at_size, recall_ks)
            by_size.setdefault(size, {})[ranking.split, ranking.extractor, ranking.variant] = table
    sections = []
    for size in sorted(by_size):
        section = summary_table(by_size[size], benchmark, recall_ks, resampling)
        section.insert(SIZE_COLUMNS.index("database_size"), "database_size", size)
        sections.append(section)
    table = pd.concat(sections, ignore_index=True) if sections else pd.DataFrame(columns=SIZE_COLUMNS)
    # By split, prompt type and method as they first appear; each one's sizes stay together, in their order.
    number = table.groupby(list(SIZE_COLUMNS[:5]), sort=False).ngroup()
    return table.iloc[np.argsort(number.to_numpy(), kind="stable")].reset_index(drop=True)


def near_duplicates_table(rankings: Iterable[Ranking]) -> pd.DataFrame:
    """Return near_duplicates.csv: database images that are near an exemplar, by each method, the nearest first."""
    rows = [
        (ranking.split, *ranking.method, *near)
        for ranking in rankings
        for near in sorted(ranking.near_duplicates, key=lambda near: (-near[2], near[0], near[1]))
    ]
    return pd.DataFrame(rows, columns=NEAR_DUPLICATE_COLUMNS)


def missing_variants_table(missing: Iterable[Sequence[str]]) -> pd.DataFrame:
    """Return missing_variants.csv: each method that was left out, with the checkpoint that is not there."""
    return pd.DataFrame([tuple(row) for row in missing], columns=MISSING_VARIANT_COLUMNS)


def invalid_table(rankings: Iterable[Ranking]) -> pd.DataFrame:
    """Return invalid_images.csv: every quarantined image of the rankings once, by collection and path."""
    images = {image[:2]: image for ranking in rankings for image in ranking.invalid}
    return pd.DataFrame(sorted(images.values()), columns=INVALID_COLUMNS)


def left_out_table(paths: Iterable[Path | str]) -> pd.DataFrame:
    """Return left_out.csv: what was left out of each collection, and why, from the files that list it."""
    types = dict.fromkeys(LEFT_OUT_COLUMNS, "object") | {"count": "int64"}
    tables = [read_table(path, "list of what was left out", types, needed=LEFT_OUT_COLUMNS) for path in paths]
    return pd.concat(tables, ignore_index=True)


def comparisons_table(tables: Tables, benchmark: str, recall_ks: list[int], resampling: Resampling) -> pd.DataFrame:
    """Return comparisons.csv: each two methods, paired on the queries valid for both.

    p_holm is Holm's adjustment over the pairs of one split, prompt type and metric.
    """
    metrics, rows = all_metrics(recall_ks), []
    columns = [metric.column for metric in metrics]
    for split, prompt_type, methods in _groups(tables, recall_ks):
        pairs = list(combinations(methods, 2))
        if not pairs:
            continue
        by_pair_and_metric = statistics.paired_differences(
            np.hstack([methods[a][columns].to_numpy() for a, _ in pairs]),
            np.hstack([methods[b][columns].to_numpy() for _, b in pairs]),
            next(iter(methods.values()))["entry"].to_numpy(),
            resampling,
        )
        for m, metric in enumerate(metrics):
            differences = by_pair_and_metric[m :: len(metrics)]
            adjusted = statistics.holm(np.array([difference.p_value for difference in differences]))
            for (a, b), difference, p_holm in zip(pairs, differences, adjusted, strict=True):
                names = (benchmark, split, prompt_type, metric.name, *a, *b)
                numbers = (difference.value, difference.ci_low, difference.ci_high, difference.p_value, p_holm)
                rows.append((*names, *numbers, difference.n_queries, difference.n_entries))
    return pd.DataFrame(rows, columns=COMPARISON_COLUMNS)


def _methods(tables: Tables, split: str, recall_ks: list[int]) -> dict[Method, pd.DataFrame]:
    """Return the metrics of each method on `split`; refuse missing ones, and methods that list different queries."""
    methods = {Method(extractor, variant): table for (s, extractor, variant), table in tables.items() if s == split}
    if not methods:
        raise InputError(f"no metrics of split {split}; found {', '.join(sorted({s for s, _, _ in tables})) or 'none'}")
    (first, expected), *others = methods.items()
    for method, table in methods.items():
        if missing := [metric.column for metric in all_metrics(recall_ks) if metric.column not in table]:
            raise InputError(f"metrics of {split} by {method.name}: no column {', '.join(missing)}")
    identity = ["query", "prompt_type", "entry"]
    for method, table in others:
        if len(table) != len(expected) or (table[identity].to_numpy() != expected[identity].to_numpy()).any():
            raise InputError(f"metrics of {split}: {method.name} lists other queries than {first.name}")
    return {method: table.reset_index(drop=True) for method, table in methods.items()}


def _prompt_types(methods: dict[Method, pd.DataFrame]) -> list[str]:
    return list(dict.fromkeys(next(iter(methods.values()))["prompt_type"]))


def _groups(tables: Tables, recall_ks: list[int]) -> Iterator[tuple[str, str, dict[Method, pd.DataFrame]]]:
    """Yield each split and prompt type with its methods' rows."""
    for split in dict.fromkeys(split for split, _, _ in tables):
        methods = _methods(tables, split, recall_ks)
        for prompt_type in _prompt_types(methods):
            yield split, prompt_type, {m: t[t["prompt_type"] == prompt_type] for m, t in methods.items()}


def _levels(methods: dict[Method, pd.DataFrame]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield (group, level, bool [Q] of its rows) for each level that has queries.

    A level's rows are the same for all methods: the number of exemplars is the largest that a method could read.
    """
    first = next(iter(methods.values()))
    m = np.max([table["n_exemplars"].to_numpy() for table in methods.values()], axis=0)
    for low, high in EXEMPLAR_BINS:
        chosen = (m >= low) & (m <= (high or math.inf))
        if chosen.any():
            yield "exemplars", f"{low}+" if high is None else str(low) if low == high else f"{low}-{high}", chosen
    category = first["category"].to_numpy()
    for level in sorted(set(category) - {""}):
        yield "category", level, category == level


def _summaries(methods: dict[Method, pd.DataFrame], recall_ks: list[int], resampling: Resampling) -> Iterator[dict]:
    """Yield summary.csv's columns from `extractor` on, of each method and metric over the rows of `methods`."""
    metrics = all_metrics(recall_ks)
    columns = [metric.column for metric in metrics]
    values = np.hstack([table[columns].to_numpy() for table in methods.values()])
    sums, counts = statistics.column_sums(values, next(iter(methods.values()))["entry"].to_numpy())
    ends = statistics.intervals(sums, counts, resampling)
    column = 0
    for method, table in methods.items():
        valid = table[table["valid"]]
        m, n = valid["n_exemplars"].to_numpy(), valid["n_candidates"].to_numpy()
        for metric in metrics:
            yield {
                "extractor": method.extractor,
                "variant": method.variant,
                "metric": metric.name,
                "value": statistics.mean(values[:, column]),
                "ci_low": ends[column, 0],
                "ci_high": ends[column, 1],
                "n_queries": len(valid),
                "n_entries": int((counts[:, column] > 0).sum()),
                "chance": statistics.mean(np.asarray(metric.chance(m, n), np.float64)),
                "ceiling": statistics.mean(np.asarray(metric.ceiling(m, n), np.float64)),
                "n_invalid": len(table) - len(valid),
            }
            column += 1
