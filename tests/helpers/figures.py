"""Share what figure tests need: what is drawn, and whether it can be read; tables and rankings to draw."""

from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from attribench.formats.ranking import Method, Ranking
from attribench.plots.bars import metric_bars
from attribench.plots.curves import recall_curves
from attribench.plots.differences import difference_forest
from attribench.plots.distribution import rank_distribution
from attribench.plots.learning import learning_curves
from attribench.plots.save import save_plot
from attribench.plots.sizes import size_curves
from attribench.plots.variants import variant_scatter
from attribench.tables.statistics import Resampling
from attribench.tables.tables import COMPARISON_COLUMNS
from helpers.rankings import make_ranking
from matplotlib.text import Text


def drawn_texts(figure) -> list[tuple[str, object]]:
    """Return every text that drawing the figure puts on the canvas, with its box in pixels."""
    texts, draw = [], Text.draw

    def record(self, renderer, *args, **kwargs):
        if self.get_visible() and self.get_text().strip():
            texts.append((self.get_text(), self.get_window_extent(renderer).frozen()))
        return draw(self, renderer, *args, **kwargs)

    try:
        Text.draw = record
        figure.draw_without_rendering()
    finally:
        Text.draw = draw
    return texts


def parts(plot) -> tuple:
    """Return a plot's figure and data."""
    return plot.figure, plot.data


def assert_legible(figure, width: float = 5.5) -> None:
    """Fail where a text leaves the figure, overlaps another or is below 7 points, or the figure has another width."""
    texts = drawn_texts(figure)
    assert texts
    assert figure.get_size_inches()[0] == pytest.approx(width, abs=1e-9)
    small = {text.get_text(): text.get_size() for text in figure.findobj(Text) if text.get_text().strip()}
    assert min(small.values()) >= 7, small
    width, height = figure.bbox.size
    low, high = np.array([box.min for _, box in texts]), np.array([box.max for _, box in texts])
    for i, (text, box) in enumerate(texts):
        inside = (low[i] > -1).all() and (high[i] < [width + 1, height + 1]).all()
        assert inside, f"{text!r} leaves the figure: {box} of {width} x {height}"
        x, y = (np.minimum(high[i], high[i + 1 :]) - np.maximum(low[i], low[i + 1 :])).T
        # Boxes leave space for letters below and above the line, so a little overlap in height shows no touch.
        touched = np.flatnonzero((x >= 1) & (y >= 0.025 * figure.dpi))
        assert not len(touched), f"{text!r} and {texts[i + 1 + touched[0]][0]!r} overlap"


def small_ranking(extractor="clip", variant="pretrained", ranks=((1, 4), (3,), (), (11,)), **changes) -> Ranking:
    """Return two gpt queries (ranks 1 and 4; rank 3), an invalid media query, a media query with the worst rank of 11."""
    names = {"extractor": extractor, "variant": variant, "n_database": 10}
    return make_ranking(ranks, [0, 1, 2, 2], ["gpt", "gpt", "media", "media"], **names | changes)


def random_rankings(methods, prompts, n_entries, n_database, seed=0) -> list[Ranking]:
    """Return a ranking of each method: a query a prompt type and entry, with up to 8 exemplars at any ranks."""
    random = np.random.default_rng(seed)
    entry = np.repeat(np.arange(n_entries), len(prompts))
    n_exemplars = random.integers(1, 9, n_entries)[entry]
    made = []
    for extractor, variant in methods:
        # A step of its own for each exemplar keeps a query's ranks apart.
        step = [(n_database + m) // m for m in n_exemplars]
        ranks = [np.arange(m) * s + random.integers(1, s + 1, m) for m, s in zip(n_exemplars, step, strict=True)]
        names = {"extractor": extractor, "variant": variant, "n_database": n_database}
        made.append(make_ranking(ranks, entry, list(prompts) * n_entries, **names))
    return made


def summary(methods, prompts, ks, intervals=True) -> pd.DataFrame:
    """Return a made-up summary.csv."""
    rows = []
    for i, (extractor, variant) in enumerate(methods):
        for prompt in prompts:
            for j, metric in enumerate(["mAP", *(f"recall@{k}" for k in ks)]):
                value = (i + 1) / (len(methods) + 1) * 0.9
                row = {"benchmark": "sample", "split": "style", "prompt_type": prompt, "extractor": extractor}
                row |= {"variant": variant, "metric": metric, "value": value, "n_queries": 1234, "n_entries": 255}
                row |= {"ci_low": value - 0.05 if intervals else None, "ci_high": value + 0.05 if intervals else None}
                row |= {"chance": 0.01 * j, "ceiling": 0.95 if j else None, "n_invalid": 0}
                rows.append(row)
    return pd.DataFrame(rows)


def sizes_table(methods, prompts, ks, sizes) -> pd.DataFrame:
    """Return `summary` at each size, values falling with it; in the table's order, which has a method's sizes together."""
    parts = [summary(methods, prompts, ks).assign(database_size=size, chance=min(1.0, 1 / size)) for size in sizes]
    for part, size in zip(parts, sizes, strict=True):
        part[["value", "ci_low", "ci_high"]] /= 1 + np.log10(size)
    return pd.concat(parts).sort_values(["prompt_type", "extractor", "variant"], kind="stable", ignore_index=True)


def comparisons(methods, prompts=("gpt",), values=None) -> pd.DataFrame:
    """Return a made-up comparisons.csv: by default each method is 0.1 better than the one before it."""
    values = values or {method: 0.1 * i for i, method in enumerate(methods)}
    rows = []
    for prompt in prompts:
        for (a, b), metric in product(combinations(methods, 2), ("mAP", "recall@5")):
            d = values[a] - values[b]
            row = {"benchmark": "sample", "split": "style", "prompt_type": prompt, "metric": metric}
            row |= {"extractor_a": a[0], "variant_a": a[1], "extractor_b": b[0], "variant_b": b[1]}
            row |= {"difference": d, "ci_low": d - 0.15, "ci_high": d + 0.05, "p_value": 0.01, "n_queries": 40}
            rows.append(row | {"p_holm": 0.04 if abs(d) > 0.15 else 0.3, "n_entries": 20, "note": ""})
    return pd.DataFrame(rows, columns=COMPARISON_COLUMNS)


def save_one_of_each(folder: Path) -> dict[str, bytes]:
    """Save a figure of each sort below `folder`; return the files' content by name."""
    both = [small_ranking(), small_ranking("dino", "tuned", ((2, 3), (9,), (), (1,)))]
    names = [ranking.method for ranking in both]
    save_plot(metric_bars(summary([("clip", "pretrained"), ("dino", "tuned")], ["gpt", "media"], [5])), folder / "bars")
    save_plot(recall_curves(both, [5], "style"), folder / "curves.v1")
    save_plot(difference_forest(comparisons(names), "style", Resampling()), folder / "differences")
    save_plot(rank_distribution(both, "style"), folder / "distribution")
    save_plot(size_curves(sizes_table([("clip", "pretrained")], ["gpt"], [5], [10, 300])), folder / "sizes")
    tuned = [small_ranking(), small_ranking("clip", "tuned", ((2, 3), (9,), (), (1,)))]
    save_plot(variant_scatter(tuned, "style"), folder / "variants")
    save_plot(learning_curves({Method("clip", "tuned"): small_curve()}), folder / "learning")
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def small_curve() -> pd.DataFrame:
    """Return a learning curve of two penalties."""
    steps = [0, 20, 40] * 2
    columns = {"penalty": [0.0] * 3 + [1.0] * 3, "step": steps, "learning_rate": [0.1] * 6}
    scores = {"loss": [np.nan, 2.0, 1.0] * 2, "val_mAP": [0.1, 0.3, 0.2, 0.1, 0.2, 0.4], "chosen": [False] * 5 + [True]}
    return pd.DataFrame(columns | scores)
