"""The CSV tables, from the metrics of every query of every method (docs/formats.md has the columns).

`Tables` maps (split, extractor, variant) to that method's metrics, as `metrics.query_table` makes and
`metrics.read_query_table` reads them. Splits and methods come out in its order, prompt types in that of the split file.
"""

import csv
import io
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from attribench import statistics
from attribench.errors import InputError
from attribench.files import write_text
from attribench.metrics import ceiling_recall, chance_average_precision, chance_recall, query_table, recall_name
from attribench.rank_file import RankFile

Tables = dict[tuple[str, str, str], pd.DataFrame]

SUMMARY_COLUMNS = (
    *("benchmark", "split", "prompt_type", "extractor", "variant", "metric", "value", "ci_low", "ci_high"),
    *("n_queries", "n_entries", "chance", "ceiling", "n_invalid"),
)
BREAKDOWN_COLUMNS = (*SUMMARY_COLUMNS[:5], "group", "level", *SUMMARY_COLUMNS[5:])
SIZE_COLUMNS = (*SUMMARY_COLUMNS[:5], "database_size", *SUMMARY_COLUMNS[5:])
NEAR_DUPLICATE_COLUMNS = ("split", "extractor", "variant", "exemplar", "database_image", "similarity")
MISSING_VARIANT_COLUMNS = ("extractor", "variant", "file")
COMPARISON_COLUMNS = (
    *("benchmark", "split", "prompt_type", "metric", "extractor_a", "variant_a", "extractor_b", "variant_b"),
    *("difference", "ci_low", "ci_high", "p_value", "p_holm", "n_queries", "n_entries"),
)
# First and last number of exemplars of each bin of the breakdown.
EXEMPLAR_BINS = ((1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, 32), (33, 64), (65, None))


@dataclass(frozen=True)
class Resampling:
    """The bootstrap's settings, and those of the permutation test: `samples`, `confidence` in (0, 1), `seed`."""

    samples: int = 10000
    confidence: float = 0.95
    seed: int = 0

    def options(self) -> dict:
        return {"samples": self.samples, "confidence": self.confidence, "seed": self.seed}


@dataclass(frozen=True)
class _Metric:
    """A metric of the tables: its name, its column in the metrics CSV, its chance and ceiling from m and n."""

    name: str
    column: str
    chance: Callable
    ceiling: Callable


def split_table(tables: Tables, split: str, recall_ks: list[int]) -> pd.DataFrame:
    """SPLIT.csv: one row a method, by feature and name, in the columns of the published benchmark."""
    metrics, rows = _metrics(recall_ks), []
    methods = _methods(tables, split, recall_ks)
    prompt_types = _prompt_types(methods)
    for (extractor, variant), table in methods.items():
        row = {"name": f"{extractor}_{variant}", "feature": extractor}
        for prompt_type in prompt_types:
            chosen = table[table["prompt_type"] == prompt_type]
            for metric in metrics:
                row[f"{prompt_type}-{metric.name}"] = statistics.mean(chosen[metric.column].to_numpy())
        rows.append(row)
    columns = ["name", "feature", *(f"{p}-{metric.name}" for p in prompt_types for metric in metrics)]
    return pd.DataFrame(sorted(rows, key=lambda row: (row["feature"], row["name"])), columns=columns)


def summary_table(tables: Tables, benchmark: str, recall_ks: list[int], resampling: Resampling) -> pd.DataFrame:
    """summary.csv: one row a split, prompt type, method and metric."""
    rows: list[dict] = []
    for split, prompt_type, methods in _groups(tables, recall_ks):
        for row in _summaries(methods, recall_ks, resampling):
            rows.append({"benchmark": benchmark, "split": split, "prompt_type": prompt_type, **row})
    return pd.DataFrame(rows, columns=SUMMARY_COLUMNS)


def breakdown_table(tables: Tables, benchmark: str, recall_ks: list[int], resampling: Resampling) -> pd.DataFrame:
    """breakdown.csv: summary.csv's rows within each bin of the number of exemplars, and each category there is."""
    rows: list[dict] = []
    for split, prompt_type, methods in _groups(tables, recall_ks):
        head = {"benchmark": benchmark, "split": split, "prompt_type": prompt_type}
        order, section = list(methods), []
        for group, level, chosen in _levels(methods):
            part = {method: table[chosen] for method, table in methods.items()}
            for row in _summaries(part, recall_ks, resampling):
                section.append({**head, "group": group, "level": level, **row})
        # Method by method, as in summary.csv; a method's levels stay in their order.
        rows += sorted(section, key=lambda row, order=order: order.index((row["extractor"], row["variant"])))
    return pd.DataFrame(rows, columns=BREAKDOWN_COLUMNS)


def sizes_table(
    rank_files: Iterable[RankFile], benchmark: str, recall_ks: list[int], resampling: Resampling
) -> pd.DataFrame:
    """database_sizes.csv: summary.csv's rows at each database size ranked, the whole last; empty where there is none."""
    by_size: dict[int, Tables] = {}
    for content in rank_files:
        sizes = {size: content.at_size(size) for size in content.ranking.sizes.tolist()}
        if sizes:
            whole = content.ranking.n_database + content.ranking.n_database_invalid
            sizes[whole] = content
        for size, part in sizes.items():
            method = (content.split, content.extractor, content.variant)
            by_size.setdefault(size, {})[method] = query_table(part, recall_ks)
    parts = []
    for size in sorted(by_size):
        part = summary_table(by_size[size], benchmark, recall_ks, resampling)
        part.insert(SIZE_COLUMNS.index("database_size"), "database_size", size)
        parts.append(part)
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=SIZE_COLUMNS)
    about = list(SIZE_COLUMNS[:5])
    order = {tuple(row): i for i, row in enumerate(table[about].drop_duplicates().itertuples(index=False, name=None))}
    place = [order[row] for row in table[about].itertuples(index=False, name=None)]
    return table.iloc[np.argsort(place, kind="stable")].reset_index(drop=True)


def near_duplicates_table(rank_files: Iterable[RankFile]) -> pd.DataFrame:
    """near_duplicates.csv: database images that are near an exemplar, by each method, the nearest first."""
    rows = [
        (content.split, content.extractor, content.variant, *row)
        for content in rank_files
        for row in sorted(content.near_duplicates, key=lambda row: (-row[2], row[0], row[1]))
    ]
    return pd.DataFrame(rows, columns=NEAR_DUPLICATE_COLUMNS)


def missing_variants_table(missing: Iterable[Sequence[str]]) -> pd.DataFrame:
    """missing_variants.csv: each method that was left out, with the checkpoint that is not there."""
    return pd.DataFrame([tuple(row) for row in missing], columns=MISSING_VARIANT_COLUMNS)


def comparisons_table(tables: Tables, benchmark: str, recall_ks: list[int], resampling: Resampling) -> pd.DataFrame:
    """comparisons.csv: each two methods, paired on the queries valid for both.

    p_holm is Holm's adjustment over the pairs of one split, prompt type and metric.
    """
    metrics, rows = _metrics(recall_ks), []
    columns = [metric.column for metric in metrics]
    for split, prompt_type, methods in _groups(tables, recall_ks):
        pairs = list(combinations(methods, 2))
        if not pairs:
            continue
        entry = next(iter(methods.values()))["entry"].to_numpy()
        found = statistics.paired_differences(
            np.hstack([methods[a][columns].to_numpy() for a, _ in pairs]),
            np.hstack([methods[b][columns].to_numpy() for _, b in pairs]),
            entry,
            **resampling.options(),
        )
        for m, metric in enumerate(metrics):
            differences = found[m :: len(metrics)]
            adjusted = statistics.holm(np.array([difference.p_value for difference in differences]))
            for (a, b), difference, p_holm in zip(pairs, differences, adjusted, strict=True):
                names = (benchmark, split, prompt_type, metric.name, *a, *b)
                numbers = (difference.value, difference.ci_low, difference.ci_high, difference.p_value, p_holm)
                rows.append((*names, *numbers, difference.n_queries, difference.n_entries))
    return pd.DataFrame(rows, columns=COMPARISON_COLUMNS)


def invalid_table(lists: Iterable[Sequence[tuple[str, str, str, str]]]) -> pd.DataFrame:
    """invalid_images.csv from the `invalid` of each rank file: every quarantined image once, by collection and path."""
    rows = sorted({image[:2]: image for images in lists for image in images}.values())
    return pd.DataFrame(rows, columns=["collection", "path", "role", "reason"])


def read_summary(path: Path | str) -> pd.DataFrame:
    """Read summary.csv, or a table with more columns of numbers: text stays text, an empty number is NaN."""
    text, numbers = SUMMARY_COLUMNS[:6], SUMMARY_COLUMNS[6:]
    types, missing = dict.fromkeys(text, str), dict.fromkeys(numbers, "")
    return pd.read_csv(path, dtype=types, keep_default_na=False, na_values=missing)


def write_csv(path: Path | str, frame: pd.DataFrame) -> None:
    r"""Write `frame` to `path`, atomically: `,`, `\n`, shortest round-trip floats, empty fields for missing values."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(frame.columns)
    writer.writerows(zip(*([_field(value) for value in frame[name].tolist()] for name in frame.columns), strict=True))
    write_text(path, text.getvalue())


def _field(value: object) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(value) if isinstance(value, float) else str(value)


def _metrics(recall_ks: list[int]) -> list[_Metric]:
    recalls = [
        _Metric(
            recall_name(k),
            recall_name(k),
            lambda m, n, k=k: chance_recall(k, n),
            lambda m, n, k=k: ceiling_recall(k, m),
        )
        for k in recall_ks
    ]
    return [*recalls, _Metric("mAP", "AP", chance_average_precision, lambda m, n: np.ones(len(m)))]


def _methods(tables: Tables, split: str, recall_ks: list[int]) -> dict[tuple[str, str], pd.DataFrame]:
    """The methods of `split`; refuses metrics that are missing, and methods that list different queries."""
    methods = {(extractor, variant): table for (s, extractor, variant), table in tables.items() if s == split}
    if not methods:
        raise InputError(f"no metrics of split {split}; found {', '.join(sorted({s for s, _, _ in tables})) or 'none'}")
    (first, expected), *others = methods.items()
    for method, table in methods.items():
        if missing := [m.column for m in _metrics(recall_ks) if m.column not in table]:
            raise InputError(f"metrics of {split} by {'_'.join(method)}: no column {', '.join(missing)}")
    identity = ["query", "prompt_type", "entry"]
    for method, table in others:
        if len(table) != len(expected) or (table[identity].to_numpy() != expected[identity].to_numpy()).any():
            raise InputError(f"metrics of {split}: {'_'.join(method)} lists other queries than {'_'.join(first)}")
    return {method: table.reset_index(drop=True) for method, table in methods.items()}


def _prompt_types(methods: dict[tuple[str, str], pd.DataFrame]) -> list[str]:
    return list(dict.fromkeys(next(iter(methods.values()))["prompt_type"]))


def _groups(tables: Tables, recall_ks: list[int]) -> Iterator[tuple[str, str, dict]]:
    """Each split and prompt type with its methods' rows."""
    for split in dict.fromkeys(split for split, _, _ in tables):
        methods = _methods(tables, split, recall_ks)
        for prompt_type in _prompt_types(methods):
            yield split, prompt_type, {m: t[t["prompt_type"] == prompt_type] for m, t in methods.items()}


def _levels(methods: dict[tuple[str, str], pd.DataFrame]) -> Iterator[tuple[str, str, np.ndarray]]:
    """(group, level, bool [Q] of its rows) of each level that has queries.

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


def _summaries(
    methods: dict[tuple[str, str], pd.DataFrame], recall_ks: list[int], resampling: Resampling
) -> Iterator[dict]:
    """Summary's columns from `extractor` on, of each method and metric over the rows given."""
    metrics = _metrics(recall_ks)
    columns = [metric.column for metric in metrics]
    values = np.hstack([table[columns].to_numpy() for table in methods.values()])
    sums, counts = statistics.column_sums(values, next(iter(methods.values()))["entry"].to_numpy())
    ends = statistics.intervals(sums, counts, **resampling.options())
    position = 0
    for (extractor, variant), table in methods.items():
        valid = table[table["valid"]]
        m, n = valid["n_exemplars"].to_numpy(), valid["n_candidates"].to_numpy()
        for metric in metrics:
            yield {
                "extractor": extractor,
                "variant": variant,
                "metric": metric.name,
                "value": statistics.mean(values[:, position]),
                "ci_low": ends[position, 0],
                "ci_high": ends[position, 1],
                "n_queries": len(valid),
                "n_entries": int((counts[:, position] > 0).sum()),
                "chance": statistics.mean(np.asarray(metric.chance(m, n), np.float64)),
                "ceiling": statistics.mean(np.asarray(metric.ceiling(m, n), np.float64)),
                "n_invalid": len(table) - len(valid),
            }
            position += 1
