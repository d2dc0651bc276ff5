"""Tell which method is best, which cannot be told from it, and which it beats, from summary.csv and comparisons.csv."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import pandas as pd

from attribench.formats.ranking import Method

_SLACK = 1e-12


class Outcome(StrEnum):
    """Say how sure it is that the best method is better than another one.

    AHEAD: the paired interval leaves out 0, and the p-value that Holm adjusted for all pairs does not exceed 1 - confidence.
    UNADJUSTED: the first alone. TIED: the interval holds 0. UNKNOWN: there is no interval.
    """

    AHEAD = "ahead"
    UNADJUSTED = "ahead, but not for all pairs at once"
    TIED = "cannot be told apart"
    UNKNOWN = "too few entries to tell"


@dataclass(frozen=True)
class Mean:
    """Hold a method's value of a metric with its interval (NaN: none), and what part the split had in its training."""

    method: Method
    label: str
    value: float
    low: float
    high: float
    seen: str = ""


@dataclass(frozen=True)
class Pair:
    """Hold the paired difference of two methods, `first` - `second`, with its interval and p-values."""

    first: Method
    second: Method
    value: float
    low: float
    high: float
    p_value: float
    p_holm: float

    def outcome(self, confidence: float) -> Outcome:
        """Return how sure it is that the two methods differ."""
        if math.isnan(self.low):
            return Outcome.UNKNOWN
        if self.low <= 0 <= self.high:
            return Outcome.TIED
        return Outcome.AHEAD if self.p_holm <= 1 - confidence + _SLACK else Outcome.UNADJUSTED


@dataclass(frozen=True)
class Standing:
    """Hold the methods on one split and prompt type by one metric: `means` in the order of the table, and all pairs.

    chance: the value that a random ranking has; ceiling: the largest that any ranking can have.
    """

    split: str
    prompt_type: str
    metric: str
    means: tuple[Mean, ...]
    pairs: tuple[Pair, ...]
    chance: float
    ceiling: float
    n_queries: int
    n_entries: int
    confidence: float

    @property
    def best(self) -> Mean:
        """Return the method with the highest value; of equal ones the first."""
        return max(self.means, key=lambda mean: mean.value)

    def is_best(self, mean: Mean) -> bool:
        """Return whether no method has a higher value; several may be equal."""
        return mean.value >= self.best.value - _SLACK

    @property
    def leaders(self) -> list[Mean]:
        """Return the best method and those that are equal to it."""
        return [mean for mean in self.means if self.is_best(mean)]

    @property
    def others(self) -> list[Mean]:
        """Return all methods but the best, by falling value."""
        return sorted((mean for mean in self.means if mean is not self.best), key=lambda mean: -mean.value)

    def lead(self, other: Method) -> Pair:
        """Return the best method compared with `other`: the difference is above 0 where the best is better."""
        return self.pair(self.best.method, other)

    def pair(self, first: Method, second: Method) -> Pair:
        """Return the difference `first` - `second`, whichever way round the table has it."""
        for pair in self.pairs:
            if (pair.first, pair.second) == (first, second):
                return pair
            if (pair.first, pair.second) == (second, first):
                return Pair(first, second, -pair.value, -pair.high, -pair.low, pair.p_value, pair.p_holm)
        raise KeyError(f"{first.name} and {second.name} are not compared on {self.split}, {self.prompt_type}")

    def with_outcome(self, *outcomes: Outcome) -> list[Mean]:
        """Return the methods behind the best of which one of `outcomes` is true, by falling value."""
        return [mean for mean in self.others if self.outcome(mean) in outcomes]

    def outcome(self, mean: Mean) -> Outcome | None:
        """Return how sure it is that the best is better than a method; None for the best and those equal to it."""
        return None if self.is_best(mean) else self.lead(mean.method).outcome(self.confidence)

    def is_above_chance(self, mean: Mean) -> bool:
        """Return whether the method's interval lies above what a random ranking has; False without an interval."""
        return mean.low > self.chance


def standings(summary: pd.DataFrame, comparisons: pd.DataFrame, confidence: float) -> list[Standing]:
    """Return a standing for each split, prompt type and metric, in the order of `summary`, as `read_summary` reads it."""
    keys = ["split", "prompt_type", "metric"]
    pairs = {key: tuple(_pairs(rows)) for key, rows in comparisons.groupby(keys, sort=False)}
    return [
        Standing(
            *key,
            means=tuple(
                Mean(Method(row.extractor, row.variant), row.label, row.value, row.ci_low, row.ci_high, row.seen)
                for row in rows.itertuples()
                if not math.isnan(row.value)
            ),
            pairs=pairs.get(key, ()),
            chance=float(rows["chance"].iloc[0]),
            ceiling=float(rows["ceiling"].iloc[0]),
            n_queries=int(rows["n_queries"].max()),
            n_entries=int(rows["n_entries"].max()),
            confidence=confidence,
        )
        for key, rows in summary.groupby(keys, sort=False)
        if rows["value"].notna().any()
    ]


def _pairs(rows: pd.DataFrame) -> Iterator[Pair]:
    for row in rows.itertuples():
        methods = Method(row.extractor_a, row.variant_a), Method(row.extractor_b, row.variant_b)
        yield Pair(*methods, row.difference, row.ci_low, row.ci_high, row.p_value, row.p_holm)
