"""How often intervals hold the mean that they are for: entries are drawn from populations whose mean is known.

Run it to print the tables of docs/methods.md, "Coverage".
"""

import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
from attribench.tables.statistics import Resampling, intervals, sign_flips

# Of each of the sample's 24 entries: the mean over its queries, by metric, split and prompt type, and extractor.
SAMPLE = json.loads((Path(__file__).parents[1] / "data/entry_means.json").read_text())
Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


def from_values(values: np.ndarray) -> tuple[Draw, float]:
    """Return a population that has just these values, and its mean."""
    return lambda rng, shape: rng.choice(values, shape), float(np.mean(values))


def skewed(mean: float, weight: float) -> tuple[Draw, float]:
    """Return a beta distribution with this mean, the flatter towards 0 and 1 the smaller `weight` is."""
    return lambda rng, shape: rng.beta(mean * weight, (1 - mean) * weight, shape), mean


def all_or_nothing(mean: float) -> tuple[Draw, float]:
    """Return a population of 1 with probability `mean`, else 0."""
    return lambda rng, shape: (rng.random(shape) < mean).astype(float), mean


def sample_populations(metric: str) -> dict[str, tuple[Draw, float]]:
    """Return the sample's entries by each extractor, for each split and prompt type where they differ."""
    means = {f"{group} {name}": values for group, of in SAMPLE[metric].items() for name, values in of.items()}
    return {name: from_values(np.array(values)) for name, values in means.items() if np.ptp(values) > 0}


def sample_differences(metric: str) -> dict[str, tuple[Draw, float]]:
    """Return the differences of the sample's entries between each two extractors."""
    return {
        f"{group} {a} {b}": from_values(np.subtract(of[a], of[b]))
        for group, of in SAMPLE[metric].items()
        for a, b in combinations(of, 2)
        if np.ptp(np.subtract(of[a], of[b])) > 0
    }


def coverage(population: tuple[Draw, float], n_entries: int, trials: int, seed: int = 0) -> tuple[float, float]:
    """Return the share of `intervals` that hold the population's mean, and their median width.

    Entries have from 1 to 8 queries, whatever their mean is.
    """
    draw, mean = population
    rng = np.random.default_rng([seed, n_entries])
    counts = rng.integers(1, 9, (n_entries, trials)).astype(float)
    ends = intervals(draw(rng, counts.shape) * counts, counts, np.ones(trials), 0.95)
    return _share(ends, mean)


def coverage_of_differences(
    population: tuple[Draw, float], n_entries: int, trials: int, samples: int = 4096
) -> tuple[float, float]:
    """Return `coverage` of the intervals of paired differences."""
    draw, mean = population
    rng = np.random.default_rng([1, n_entries])
    counts = rng.integers(1, 9, (n_entries, trials)).astype(float)
    _, ends = sign_flips(draw(rng, counts.shape) * counts, counts, Resampling(samples=samples))
    return _share(ends, mean)


def _share(ends: np.ndarray, mean: float) -> tuple[float, float]:
    inside = (ends[:, 0] <= mean + 1e-9) & (mean - 1e-9 <= ends[:, 1])
    return float(inside.mean()), float(np.median(ends[:, 1] - ends[:, 0]))


SIZES = (6, 8, 12, 24, 50, 200)
MADE_UP = {
    "beta, mean 0.5": skewed(0.5, 2),
    "beta, mean 0.9": skewed(0.9, 2),
    "beta, mean 0.98": skewed(0.98, 2),
    "beta, mean 0.02": skewed(0.02, 2),
    "0 or 1, mean 0.5": all_or_nothing(0.5),
    "0 or 1, mean 0.9": all_or_nothing(0.9),
    "0 or 1, mean 0.98": all_or_nothing(0.98),
}


def main() -> None:
    """Print the tables of docs/methods.md."""
    rows = {f"{m}, the sample's entries": sample_populations(m) for m in SAMPLE} | {
        name: {"": population} for name, population in MADE_UP.items()
    }
    differences = {f"difference in {m}, the sample's entries": sample_differences(m) for m in SAMPLE}
    for table, measure, trials in ((rows, coverage, 2000), (differences, coverage_of_differences, 500)):
        print("| population | " + " | ".join(f"{n} entries" for n in SIZES) + " |")
        print("|---" * (1 + len(SIZES)) + "|")
        for name, populations in table.items():
            cells = []
            for n in SIZES:
                shares = [100 * measure(population, n, trials)[0] for population in populations.values()]
                spread = f" ({min(shares):.0f} to {max(shares):.0f})" if len(shares) > 1 else ""
                cells.append(f"{np.mean(shares):.0f}{spread}")
            print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
