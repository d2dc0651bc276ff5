"""The figure of calibration draws what the table says, with a line per method, and can be read."""

import matplotlib
import numpy as np
import pytest
from attribench.formats.calibrator import Calibrator
from attribench.formats.influence import LEVELS
from attribench.formats.ranking import Method
from attribench.influence import influence_of
from attribench.plots.figure_settings import FigureSettings
from attribench.plots.influence import calibration_figure
from attribench.plots.save import save_plot
from attribench.tables.influence import influence_table
from helpers.figures import assert_legible, drawn_texts, parts
from helpers.influences import influence_with, of_scores
from helpers.rankings import RESAMPLING, make_ranking
from PIL import Image

METHODS = [("clip", "tuned"), ("clip", "pretrained"), ("dino", "pretrained"), ("sscd", "mlp"), ("vit", "tuned")]


def made_up(n_methods=1, n_entries=12, prompts=("gpt", "object"), seed=0):
    """Return rankings of made-up scores by several methods, each the worse at them, and their influence."""
    rng, of_methods = np.random.default_rng(seed), []
    entry, prompt = np.repeat(np.arange(n_entries), 2 * len(prompts)), [*prompts] * 2 * n_entries
    database = np.round(0.15 * rng.standard_normal((len(entry), 200)), 2)
    for i, (extractor, variant) in enumerate(METHODS[:n_methods]):
        exemplars = [np.sort(np.round(rng.normal(0.5 - 0.08 * i, 0.12, 1 + e % 3), 2))[::-1] for e in entry]
        ranking, histogram = of_scores(database, exemplars, entry, prompt, extractor=extractor, variant=variant)
        of_methods.append((ranking, influence_of(ranking, histogram, Calibrator(15.0, 1.0))))
    return of_methods


def panels(figure):
    """Return the panels by prompt type: two each, of which the first has the title."""
    axes = [axes for axes in figure.axes if axes.get_xlabel()]
    return {left.get_title(loc="left"): (left, right) for left, right in zip(axes[::2], axes[1::2], strict=True)}


def lines(axes, joined=False):
    """Return the points of each line that is drawn, without the diagonal; of those that are `joined` alone."""
    marked = [line for line in axes.get_lines() if line.get_marker() not in ("None", "")]
    return [line.get_xydata() for line in marked if not joined or line.get_linestyle() != "None"]


def bars(axes):
    return [segment for lines in axes.collections for segment in lines.get_segments()]


@pytest.mark.parametrize("n_methods", [1, 5])
def test_a_line_per_method_and_the_rows_that_are_returned(n_methods):
    figure, data = parts(calibration_figure(made_up(n_methods), RESAMPLING, "style"))
    assert list(panels(figure)) == ["gpt", "object"]
    for prompt, axes_of_prompt in panels(figure).items():
        for name, axes in zip(("reliability", "coverage"), axes_of_prompt, strict=True):
            rows = data[(data["prompt_type"] == prompt) & (data["panel"] == name)]
            joined, drawn = lines(axes, joined=True), lines(axes)
            assert len(joined) == n_methods == len(set(zip(rows["extractor"], rows["variant"], strict=True)))
            points = rows[["predicted", "observed"]].to_numpy(copy=True)
            if name == "reliability":  # a share of 0 has a row of its own, below the log axis
                zero = axes.get_yticks()[0]
                assert axes.get_ylim()[0] < zero < axes.get_xlim()[0] and (points[:, 1] == 0).any()
                points[:, 1] = np.where(points[:, 1] == 0, zero, points[:, 1])
            expected = {(x, y) for x, y in points.round(9).tolist()}
            assert {(x, y) for x, y in np.concatenate(drawn).round(9).tolist() if x == x} == expected
            assert len(bars(axes)) == (rows["ci_low"].notna() & ~(rows["n_candidates"] < 20)).sum() > 0
    texts = [text for text, _ in drawn_texts(figure)]
    labels = {1: ["clip tuned"], 5: ["clip tuned", "clip pretrained", "dino", "sscd mlp", "vit tuned"]}[n_methods]
    assert {*labels, "calibrated", "95 % interval", "0", "10⁻²", "1"} <= {*texts} and "0.01" not in texts
    assert_legible(figure)


def test_coverage_is_that_of_the_table():
    of_methods = made_up(2)
    data = calibration_figure(of_methods, RESAMPLING).data
    table = influence_table(of_methods, "sample", {ranking.method: "val" for ranking, _ in of_methods}, RESAMPLING)
    drawn = data[data["panel"] == "coverage"]
    assert len(drawn) == 2 * 2 * len(LEVELS)
    for row in drawn.itertuples():
        same = (table["prompt_type"] == row.prompt_type) & (table["variant"] == row.variant)
        [found] = table[same & (table["metric"] == f"coverage@{row.predicted:g}")].itertuples()
        assert (row.observed, row.ci_low, row.ci_high) == (found.value, found.ci_low, found.ci_high)


def test_reliability_by_hand():
    """A bin's point: the mean influence of its candidates, and how many exemplars one of them is."""
    n = 8
    ranking = make_ranking([[1]] * n, np.arange(n), ["gpt"] * n)
    in_bin, predicted, observed = (
        {(q, 9): a for q in range(n)} | {(q, 15): b for q in range(n)} for a, b in ((40, 1), (0.4, 0.6), (0.2, 0.8))
    )
    influence = influence_with(ranking, in_bin=in_bin, predicted=predicted, observed=observed)
    figure, data = parts(plot := calibration_figure([(ranking, influence)], RESAMPLING))
    rows = data[data["panel"] == "reliability"]
    numbers = rows[["predicted", "observed", "ci_low", "ci_high", "n_candidates"]].to_numpy()
    assert numbers == pytest.approx(np.array([[0.01, 0.005, 0.005, 0.005, 320], [0.6, 0.8, 0.8, 0.8, 8]]))
    # The second one, of 8 images, has a mark of its own in the figure, and neither an interval nor a line to it.
    reliability = figure.axes[0]
    assert lines(reliability, joined=True)[0] == pytest.approx(np.array([[0.01, 0.005]]))
    assert lines(reliability)[1] == pytest.approx(np.array([[0.6, 0.8]]))
    assert [segment[0][0] for segment in bars(reliability)] == pytest.approx([0.01])
    sizes = [line.get_markersize() for line in reliability.get_lines() if line.get_marker() not in ("None", "")]
    assert sizes[1] < 0.7 * sizes[0] and "fewer than 20 images" in [text for text, _ in drawn_texts(figure)]
    assert "marks are of fewer than 20 images, too few for an interval" in plot.caption
    assert f"those of reliability from {RESAMPLING.samples:,} draws" in plot.caption
    assert "those of coverage by the Wilson score" in plot.caption


def test_fewer_than_six_entries_have_points_without_intervals():
    figure, data = parts(calibration_figure(made_up(2, n_entries=5), RESAMPLING, "style"))
    assert len(data) and data[["ci_low", "ci_high"]].isna().all(axis=None)
    assert not any(bars(axes) for axes in figure.axes)
    assert [len(lines(axes, joined=True)) for of_prompt in panels(figure).values() for axes in of_prompt] == [2] * 4
    texts = [text for text, _ in drawn_texts(figure)]
    assert "95 % interval" not in texts and "no interval: fewer than 6 entries" in texts
    assert_legible(figure)


def test_methods_have_their_labels_in_a_narrow_figure():
    of_methods = made_up(2)
    labels = {Method("clip", "tuned"): "Ours", Method("clip", "pretrained"): "Theirs $1"}
    plot = calibration_figure(of_methods, RESAMPLING, settings=FigureSettings(width=3.25, labels=labels))
    assert_legible(plot.figure, 3.25)
    assert "Above, reliability" in plot.caption
    texts = [text for text, _ in drawn_texts(plot.figure)]
    assert {"Ours", "Theirs $1"} <= {*texts}


def test_without_valid_queries_that_is_said():
    nothing = make_ranking([[], []], [0, 1], ["gpt", "gpt"])
    figure, data = parts(calibration_figure([(nothing, influence_with(nothing))], RESAMPLING, "style"))
    assert data.empty and drawn_texts(figure)[0][0] == "no valid queries"
    some = make_ranking([[1], [2], []], [0, 1, 2], ["gpt", "gpt", "object"])
    figure, data = parts(calibration_figure([(some, influence_with(some))], RESAMPLING, "style"))
    assert set(data["prompt_type"]) == {"gpt"} and list(panels(figure)) == ["gpt", "object"]
    assert [text for text, _ in drawn_texts(figure)].count("no valid queries") == 2


def test_the_same_bytes_and_the_settings_left_alone(tmp_path):
    before, of_methods = dict(matplotlib.rcParams), made_up(2, prompts=["gpt"])
    for name in ("one", "other"):
        save_plot(calibration_figure(of_methods, RESAMPLING, "style"), tmp_path / name / "influence")
    for ending in (".png", ".svg", ".pdf", ".csv", ".txt"):
        one, other = ((tmp_path / name / "influence").with_suffix(ending).read_bytes() for name in ("one", "other"))
        assert one == other
    assert dict(matplotlib.rcParams) == before
    with Image.open(tmp_path / "one/influence.png") as image:
        assert min(image.size) > 500
