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
from attribench.metrics import Metric, all_metrics, least_candidates, query_table, telling_metrics
from attribench.tables import statistics
from attribench.tables.statistics import Resampling

Tables = dict[tuple[str, str, str], pd.DataFrame]

SUMMARY_COLUMNS = (
    *("benchmark", "split", "prompt_type", "extractor", "variant", "metric", "value", "ci_low", "ci_high"),
    *("n_queries", "n_entries", "chance", "ceiling", "n_invalid", "ceiling_low", "ceiling_high", "note"),
)
BREAKDOWN_COLUMNS = (*SUMMARY_COLUMNS[:5], "group", "level", *SUMMARY_COLUMNS[5:])
SIZE_COLUMNS = (*SUMMARY_COLUMNS[:5], "database_size", *SUMMARY_COLUMNS[5:])
NEAR_DUPLICATE_COLUMNS = ("split", "extractor", "variant", "exemplar", "database_image", "similarity")
MISSING_VARIANT_COLUMNS = ("extractor", "variant", "file")
LEFT_OUT_COLUMNS = ("collection", "reason", "ending", "count", "example")
INVALID_COLUMNS = ("collection", "path", "role", "reason")
COMPARISON_COLUMNS = (
    *("benchmark", "split", "prompt_type", "metric", "extractor_a", "variant_a", "extractor_b", "variant_b"),
    *("difference", "ci_low", "ci_high", "p_value", "p_holm", "n_queries", "n_entries", "note"),
)
# First and last number of exemplars of each bin of the breakdown.
EXEMPLAR_BINS = ((1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, 32), (33, 64), (65, None))


def split_table(tables: Tables, split: str, recall_ks: list[int]) -> pd.DataFrame:
    """Return SPLIT.csv: one row per method, by feature and name, in the columns of the published benchmark."""
    rows, methods = [], _methods(tables, split, recall_ks)
    metrics = [metric for metric in telling_metrics(methods.values(), recall_ks) if metric.published]
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
    for split, prompt_type, methods, metrics in _groups(tables, recall_ks):
        for row in _summaries(methods, metrics, resampling.confidence):
            rows.append({"benchmark": benchmark, "split": split, "prompt_type": prompt_type, **row})
    return pd.DataFrame(rows, columns=SUMMARY_COLUMNS)


def read_summary(path: Path | str) -> pd.DataFrame:
    """Read summary.csv, or database_sizes.csv, exactly."""
    counts = ("database_size", "n_queries", "n_entries", "n_invalid")
    types = {
        **dict.fromkeys((*SUMMARY_COLUMNS[:6], "note", "label", "seen"), "object"),
        **dict.fromkeys(counts, "int64"),
    }
    return read_table(path, "summary", types, needed=SUMMARY_COLUMNS)


def read_comparisons(path: Path | str) -> pd.DataFrame:
    """Read comparisons.csv exactly."""
    texts = (*COMPARISON_COLUMNS[:8], "note", "label_a", "label_b", "seen_a", "seen_b")
    types = {**dict.fromkeys(texts, "object"), **dict.fromkeys(("n_queries", "n_entries"), "int64")}
    return read_table(path, "comparisons", types, needed=COMPARISON_COLUMNS)


def breakdown_table(tables: Tables, benchmark: str, recall_ks: list[int], resampling: Resampling) -> pd.DataFrame:
    """Return breakdown.csv: summary.csv's rows within each bin of the number of exemplars, and in each category there is."""
    rows: list[dict] = []
    for split, prompt_type, methods, metrics in _groups(tables, recall_ks):
        head = {"benchmark": benchmark, "split": split, "prompt_type": prompt_type}
        order, section = list(methods), []
        for group, level, chosen in _levels(methods):
            of_level = {method: table[chosen] for method, table in methods.items()}
            for row in _summaries(of_level, metrics, resampling.confidence):
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
    rows = []
    for split, prompt_type, methods, metrics in _groups(tables, recall_ks):
        columns = [metric.column for metric in metrics]
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
                counts = (difference.n_queries, difference.n_entries)
                notes = (statistics.note(difference.n_entries), _unlike(methods[a], methods[b]))
                rows.append((*names, *numbers, *counts, "; ".join(filter(None, notes))))
    return pd.DataFrame(rows, columns=COMPARISON_COLUMNS)


def _unlike(a: pd.DataFrame, b: pd.DataFrame) -> str:
    """Return how many queries, valid for both, two methods ranked among other numbers of images; nothing for none."""
    counts = ["n_exemplars", "n_candidates"]
    differs = (a[counts].to_numpy() != b[counts].to_numpy()).any(axis=1)
    n = int((differs & (a["valid"] & b["valid"]).to_numpy()).sum())
    return f"of {n} queries one method had fewer images: some are invalid for it alone" if n else ""


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


def _groups(
    tables: Tables, recall_ks: list[int]
) -> Iterator[tuple[str, str, dict[Method, pd.DataFrame], list[Metric]]]:
    """Yield each split and prompt type with its methods' rows, and the metrics that the split has."""
    for split in dict.fromkeys(split for split, _, _ in tables):
        methods = _methods(tables, split, recall_ks)
        metrics = telling_metrics(methods.values(), recall_ks)
        for prompt_type in _prompt_types(methods):
            yield split, prompt_type, {m: t[t["prompt_type"] == prompt_type] for m, t in methods.items()}, metrics


def left_out(tables: Tables, recall_ks: list[int]) -> list[str]:
    """Return a sentence for each split of which the tables leave out metrics that cannot tell rankings apart."""
    sentences = []
    for split in dict.fromkeys(split for split, _, _ in tables):
        of_split = [table for (name, _, _), table in tables.items() if name == split]
        kept = [metric.name for metric in telling_metrics(of_split, recall_ks)]
        if names := [metric.name for metric in all_metrics(recall_ks) if metric.name not in kept]:
            sentences.append(
                f"{split}: {', '.join(names)} left out of tables and figures, because a query has only "
                f"{least_candidates(of_split)} candidates (database images and exemplars): every ranking has the same value"
            )
    return sentences


def with_labels(table: pd.DataFrame, labels: dict[Method, str]) -> pd.DataFrame:
    """Return `table` with a last column `label` for its columns extractor and variant, or label_a and label_b for two."""
    for end in ("", "_a", "_b"):
        if {f"extractor{end}", f"variant{end}"} <= {*table.columns}:
            methods = zip(table[f"extractor{end}"], table[f"variant{end}"], strict=True)
            table = table.assign(**{f"label{end}": [labels[Method(*method)] for method in methods]})
    return table


def with_seen(table: pd.DataFrame, seen: dict[tuple[str, str, str], str]) -> pd.DataFrame:
    """Return `table` with a last column `seen`, or seen_a and seen_b, for its columns split, extractor and variant."""
    for end in ("", "_a", "_b"):
        if {f"extractor{end}", f"variant{end}"} <= {*table.columns}:
            methods = zip(table["split"], table[f"extractor{end}"], table[f"variant{end}"], strict=True)
            table = table.assign(**{f"seen{end}": [seen[method] for method in methods]})
    return table


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


def _summaries(methods: dict[Method, pd.DataFrame], metrics: list[Metric], confidence: float) -> Iterator[dict]:
    """Yield summary.csv's columns from `extractor` on, of each method and metric over the rows of `methods`."""
    entry = next(iter(methods.values()))["entry"].to_numpy()
    for method, table in methods.items():
        valid = table["valid"].to_numpy()
        m, n = table.loc[valid, "n_exemplars"].to_numpy(), table.loc[valid, "n_candidates"].to_numpy()
        ceilings = np.full((len(table), len(metrics)), math.nan)
        ceilings[valid] = np.stack([metric.ceiling(m, n) for metric in metrics], axis=1)
        values = table[[metric.column for metric in metrics]].to_numpy()
        bounds = np.max(ceilings[valid], axis=0, initial=0.0)
        sums, counts = statistics.column_sums(values, entry)
        ends = statistics.intervals(sums, counts, bounds, confidence)
        # What can be reached is known of every entry that there is, so none is added that was not seen.
        ceiling_sums, ceiling_counts = statistics.column_sums(ceilings, entry)
        ceiling_ends = statistics.intervals(ceiling_sums, ceiling_counts, bounds, confidence, unseen=0.0)
        for i, metric in enumerate(metrics):
            n_entries = int((counts[:, i] > 0).sum())
            yield {
                "extractor": method.extractor,
                "variant": method.variant,
                "metric": metric.name,
                "value": statistics.mean(values[:, i]),
                "ci_low": ends[i, 0],
                "ci_high": np.minimum(ends[i, 1], ceiling_ends[i, 1]),  # no entry exceeds its ceiling
                "n_queries": len(m),
                "n_entries": n_entries,
                "chance": statistics.mean(np.asarray(metric.chance(m, n), np.float64)),
                "ceiling": statistics.mean(ceilings[:, i]),
                "n_invalid": len(table) - len(m),
                "ceiling_low": ceiling_ends[i, 0],
                "ceiling_high": ceiling_ends[i, 1],
                "note": statistics.note(n_entries),
            }
