"""The rows of a table that a figure draws, checked and in the order in which it draws them."""

import math
from collections.abc import Sequence

import pandas as pd

from attribench.formats.ranking import Method
from attribench.plots.figure_settings import SHIPPED, FigureSettings

_NEEDED = ["split", "prompt_type", "extractor", "variant", "metric", "value"]
_OPTIONAL = ["ci_low", "ci_high", "chance", "ceiling", "n_queries", "n_entries"]


def metric_rows(
    table: pd.DataFrame,
    split: str | None,
    within: Sequence[str] = (),
    settings: FigureSettings = SHIPPED,
) -> pd.DataFrame:
    """Return the rows of `table` (in the columns of tables/summary.csv) of `split`, with the method's label as `method`.

    Sorted by prompt type (as they come), metric (mAP first, then recall by cut-off), method and the columns `within`,
    which tell a method's rows of one metric apart. Intervals, chance and ceiling may be missing: they are NaN then. With
    None for `split`, the table must hold one only. Methods come in the order of `settings`. Raises ValueError for missing
    columns, several splits or benchmarks, or a row that is there twice.
    """
    missing = [name for name in [*_NEEDED, *within] if name not in table.columns]
    if missing:
        raise ValueError(f"summary has no column {', '.join(missing)}")
    data = table if split is None else table[table["split"] == split]
    for column in ("benchmark", "split"):
        if column in data and data[column].nunique() > 1:
            raise ValueError(f"more than one {column} in summary: {', '.join(sorted(data[column].unique()))}")
    data = data.copy()
    for name in ["value", *_OPTIONAL, *within]:
        data[name] = pd.to_numeric(data[name]) if name in data else math.nan
    styles = settings.styles(methods_of(data))
    data["method"] = [styles[method].label for method in methods_of(data)]
    if data.duplicated(["prompt_type", "method", "metric", *within]).any():
        raise ValueError(f"summary has two values for a {', '.join(['prompt type', 'method', 'metric', *within])}")
    order = {style.label: i for i, style in enumerate(styles.values())}
    prompts = {name: i for i, name in enumerate(dict.fromkeys(data["prompt_type"]))}
    keys = [
        (prompts[row.prompt_type], _metric_key(row.metric), order[row.method], [getattr(row, name) for name in within])
        for row in data.itertuples(index=False)
    ]
    return data.iloc[sorted(range(len(keys)), key=keys.__getitem__)].reset_index(drop=True)


def methods_of(data: pd.DataFrame) -> list[Method]:
    """Return the method of each row."""
    return [Method(*names) for names in zip(data["extractor"], data["variant"], strict=True)]


def _metric_key(metric: str) -> tuple[int, str, int]:
    """Sort mAP first, then recall by k, then whatever else there is, by name and k."""
    name, _, k = metric.partition("@")
    if metric == "mAP":
        return (0, "", 0)
    return (1 if name == "recall" else 2, name, int(k) if k.isdecimal() else 0)
