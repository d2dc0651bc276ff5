"""Figures can be printed: text is text, colours can be told apart, intervals can be seen, and captions say what was done."""

import itertools
import re
import subprocess

import numpy as np
import pytest
from attribench.formats.ranking import Method
from attribench.plots.bars import metric_bars
from attribench.plots.captions import protocol
from attribench.plots.curves import recall_curves
from attribench.plots.differences import difference_forest
from attribench.plots.distribution import rank_distribution
from attribench.plots.figure_settings import FigureSettings
from attribench.plots.learning import learning_curves
from attribench.plots.points import draw_intervals
from attribench.plots.save import save_plot
from attribench.plots.sizes import size_curves
from attribench.plots.style import CEILING_LINE, CHANCE_LINE, LINE, luminance, method_styles
from attribench.plots.variants import variant_scatter
from attribench.tables.statistics import Resampling
from helpers.figures import (
    assert_legible,
    comparisons,
    drawn_texts,
    random_rankings,
    sizes_table,
    small_curve,
    small_ranking,
    summary,
)
from helpers.rankings import make_ranking
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

FIVE_BY_THREE = [Method(e, v) for e in ("clip", "dino", "moco", "vit", "sscd") for v in ("pretrained", "tuned", "mlp")]
TWELVE = [Method(f"extractor{i}", "pretrained") for i in range(12)]
# What linear RGB looks like with a colour blindness (Machado, Oliveira and Fernandes 2009, severity 1).
SEEN_AS = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colour, matrix):
    """Return a colour in CIE L*a*b*, as it is seen through `matrix`."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(np.asarray(matrix) @ linear, 0, 1) / TO_XYZ.sum(axis=1)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("seen_as", SEEN_AS)
@pytest.mark.parametrize(("n", "least"), [(6, 20), (12, 8)])
def test_colours_of_extractors_are_apart(seen_as, n, least):
    colours = [style.colour for style in method_styles(TWELVE[:n]).values()]
    seen = [lab(colour, SEEN_AS[seen_as]) for colour in colours]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > least


@pytest.mark.parametrize("methods", [FIVE_BY_THREE, TWELVE])
def test_methods_are_apart_in_grey_and_none_is_pale(methods):
    """By marker and line where there are lines; by hatch among the variants of an extractor, whose bars have names."""
    styles = method_styles(methods)
    assert len({(style.marker, style.hollow, style.line) for style in styles.values()}) == len(methods)
    for extractor in {method.extractor for method in methods}:
        of_extractor = {method.variant: style for method, style in styles.items() if method.extractor == extractor}
        assert len({style.hatch for style in of_extractor.values()}) == len(of_extractor)
        contrast = {variant: 1.05 / (luminance(style.colour) + 0.05) for variant, style in of_extractor.items()}
        assert contrast["pretrained"] > 2.6 and min(contrast.values()) > 1.6


@pytest.mark.parametrize("methods", [FIVE_BY_THREE, TWELVE])
def test_chance_and_ceiling_are_no_methods_lines(methods):
    """They are thin and grey; each method has a colour, and a thicker line."""
    for line in (CHANCE_LINE, CEILING_LINE):
        assert len({*to_rgb(line["color"])}) == 1 and line["linestyle"] == "-" and line["linewidth"] < LINE
    assert luminance(CHANCE_LINE["color"]) > 5 * luminance(CEILING_LINE["color"]), "apart in grey"
    assert min(np.ptp(to_rgb(style.colour)) for style in method_styles(methods).values()) > 0.15


def test_an_interval_is_seen_on_a_bar_of_any_colour():
    """Across the part of an interval that lies on the bar, there is a dark line with white beside it."""
    methods = [*FIVE_BY_THREE[:6], *FIVE_BY_THREE[12:]]
    figure = metric_bars(summary(methods, ["gpt"], [5])).figure
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3] / 255
    grey = pixels @ [0.2126, 0.7152, 0.0722]
    axes = figure.axes[0]
    [heights] = [axes.get_yticks()]
    for i, y in enumerate(heights):
        value = (i + 1) / (len(methods) + 1) * 0.9
        column, row = axes.transData.transform((value - 0.025, y)).round().astype(int)
        across = grey[len(grey) - row - 5 : len(grey) - row + 5, column]
        assert across.min() < 0.25 and across.max() > 0.9, methods[i]


def test_text_is_text_in_svg_and_pdf(tmp_path):
    labels = {Method("clip", "pretrained"): "Colour $1", Method("dino", "tuned"): "An extractor"}
    rankings = [small_ranking(), small_ranking("dino", "tuned")]
    _, svg, pdf, _, _ = save_plot(
        recall_curves(rankings, [5], "style", settings=FigureSettings(labels=labels)), tmp_path / "curves"
    )
    drawing = svg.read_text()
    assert all(f">{text}</text>" in drawing for text in ("Colour $1", "An extractor", "recall@k"))
    assert not re.search(r'id="DejaVu', drawing)  # letters as paths have such names
    content = pdf.read_bytes()
    assert b"/Type3" not in content and b"/FontFile2" in content
    read = subprocess.run(["pdftotext", pdf, "-"], capture_output=True, text=True, check=True).stdout
    assert all(text in read for text in ("Colour $1", "An extractor", "recall@k"))


def test_a_title_is_drawn_where_it_is_asked_for():
    for has_title, width in ((False, 5.5), (True, 5.5), (True, 3.25)):
        settings = FigureSettings(width=width, has_title=has_title)
        plots = [
            metric_bars(summary(TWELVE[:2], ["gpt"], [5]), settings=settings),
            rank_distribution([small_ranking()], "style", settings),
            difference_forest(comparisons(TWELVE[:2]), "style", Resampling(), settings),
        ]
        titles = [[text for text, _ in drawn_texts(plot.figure) if text.startswith("style: ")] for plot in plots]
        assert [len(found) for found in titles] == [has_title] * 3
        for plot in plots:
            assert_legible(plot.figure, width)


def test_captions_say_what_is_shown_and_the_settings_used():
    methods = [Method("clip", "pretrained"), Method("clip", "tuned")]
    rankings = random_rankings(methods, ["gpt", "media"], 12, 1500)
    said = protocol(rankings)
    counts = "gpt and media: 12 queries of 12 entries each"
    assert said == f"Ranked: 1,500 database images and the query's own exemplars; {counts}."
    hard = random_rankings(methods, ["gpt"], 2, 1500)
    hard = [type(r)(**{**r.__dict__, "hard_negatives": True}) for r in hard]
    assert "all exemplars of the split (hard negatives)" in protocol(hard)
    table, resampling = summary(methods, ["gpt", "media"], [5, 10]), Resampling(samples=500, confidence=0.9, seed=3)
    sizes = sizes_table(methods, ["gpt"], [5], [10, 1500])
    forest = difference_forest(comparisons(methods), "style", resampling, protocol=said)
    for plot, *parts in (
        (
            metric_bars(table, "style", 0.9, protocol=said),
            "on style: mAP, recall@5 and recall@10",
            "90 % intervals",
            said,
        ),
        (recall_curves(rankings, [5, 10], "style", 0.9, summary=table), "k = 5 and 10", "90 % intervals", said),
        (
            rank_distribution(rankings, "style"),
            "Ranks of the exemplars on style",
            "divided by its width on the axis",
            "random ranking, whose row has no histogram",
            said,
        ),
        (size_curves(sizes, "style", 0.9), "the first 10 and 1,500 images", "90 % intervals"),
        (variant_scatter(rankings, "style"), "What tuning changed on style", said, "the others are equal"),
        (forest, "Which method is better on style", "90 % intervals", "p is above 0.1", said),
        (forest, "500 random sign vectors at most, seed 3", "Holm's adjustment over the 1 pair "),
        (
            learning_curves({methods[1]: small_curve()}),
            "A line per weight of the penalty that was tried: 0 and 1.",
            "there is none at step 0",
        ),
        (
            learning_curves({methods[0]: small_curve()[3:], methods[1]: small_curve()}),
            "0 and 1, not all by each method.",
        ),
    ):
        assert all(part in plot.caption for part in parts), plot.caption
        assert not re.search("dotted|dashed", plot.caption, re.IGNORECASE), "variants have such lines"
        assert "\n" not in plot.caption and "  " not in plot.caption and plot.caption.endswith(".")
    few = metric_bars(summary(methods, ["gpt"], [5], intervals=False)).caption
    assert "no interval: fewer than 6 entries" in few and "% intervals" not in few


def test_recall_curves_have_the_intervals_of_the_summary_at_the_marked_ks():
    rankings = random_rankings(TWELVE[:2], ["gpt"], 12, 1500)
    table = summary(TWELVE[:2], ["gpt"], [5, 10])
    figure, data = (plot := recall_curves(rankings, [5, 10], "style", summary=table)).figure, plot.data
    for i, method in enumerate(TWELVE[:2]):
        rows = data[data["extractor"] == method.extractor].set_index("k")
        value = (i + 1) / 3 * 0.9
        assert rows.loc[[5, 10], ["ci_low", "ci_high"]].to_numpy() == pytest.approx(
            np.tile([value - 0.05, value + 0.05], (2, 1))
        )
        assert rows["ci_low"].notna().sum() == 2
    bars = [segment for lines in figure.axes[0].collections[1:] for segment in lines.get_segments()]
    assert len(bars) == 4 and {"95 % interval", "chance"} <= {text for text, _ in drawn_texts(figure)}
    assert recall_curves(rankings, [5], "style").data["ci_low"].isna().all()


def test_learning_curves_name_what_was_chosen_and_each_penalty():
    """A penalty has the same dashes in all panels, also where a method tried it alone."""
    figure = learning_curves({TWELVE[0]: small_curve()[3:], TWELVE[1]: small_curve()}).figure
    texts = [text for text, _ in drawn_texts(figure)]
    assert texts.count("chosen: step 40, penalty 1") == 2 and {"penalty 0", "penalty 1"} <= {*texts}
    alone, *both = (
        line.get_linestyle() for axes in figure.axes[::2] for line in axes.lines if len(line.get_xdata()) == 3
    )
    assert both == ["-", alone] and alone != "-"


def test_intervals_stand_at_their_points_unless_one_would_hide_another():
    """Inside the panel, also those of a point on its edge."""
    axes, styles = Figure().add_axes((0, 0, 1, 1), xlim=(0, 10)), method_styles(TWELVE[:3])
    ends = (([5, 0], [0.1, 0.12], [0.4, 0.4]), ([5, 0], [0.3, 0.32], [0.6, 0.6]), ([5], [0.7], [0.9]))
    draw_intervals(axes, dict(zip(styles, ends, strict=True)), styles)
    x = {low: at for lines in axes.collections for (at, low), _ in lines.get_segments()}
    assert x[0.7] == pytest.approx(5) and x[0.1] < 5 < x[0.3] and x[0.1] + x[0.3] == pytest.approx(10)
    assert x[0.12] == pytest.approx(0, abs=1e-9) and x[0.32] - x[0.12] == pytest.approx(x[0.3] - x[0.1])


def test_a_forest_has_the_better_method_first_and_marks_what_is_significant():
    methods = [Method(name, "pretrained") for name in "abc"]
    values = dict(zip(methods, (0.3, 0.5, 0.1), strict=True))
    plot = difference_forest(comparisons(methods, ["gpt", "media"], values), "style", Resampling())
    data = plot.data[plot.data["prompt_type"] == "gpt"]
    assert list(zip(data["extractor_a"], data["extractor_b"], strict=True)) == [("b", "a"), ("b", "c"), ("a", "c")]
    assert data["difference"].tolist() == pytest.approx([0.2, 0.4, 0.2])
    # The table has a - b = -0.2 with the interval from -0.35 to -0.15: turned, with its ends.
    assert data[["ci_low", "ci_high"]].to_numpy() == pytest.approx(np.array([[0.15, 0.35], [0.25, 0.45], [0.05, 0.25]]))
    assert data["significant"].tolist() == [True, True, True]
    texts = [text for text, _ in drawn_texts(plot.figure)]
    assert texts.count("+0.200*") == 4 and texts.count("+0.400*") == 2
    long = difference_forest(comparisons([Method(60 * "L", "pretrained"), methods[0]], ["gpt"]), "style", Resampling())
    assert "\N{MINUS SIGN}" not in [text.split("\n")[0] for text, _ in drawn_texts(long.figure)]
    close = difference_forest(comparisons(methods, values=dict.fromkeys(methods, 0.2)), "style", Resampling())
    assert not close.data["significant"].any() and "+0.000" in [text for text, _ in drawn_texts(close.figure)]
    strict = difference_forest(comparisons(methods, ["gpt"], values), "style", Resampling(confidence=0.99))
    assert not strict.data["significant"].any(), "p_holm is 0.04"


def test_a_forest_tells_ahead_from_likely_ahead_from_not_told_apart_and_hides_no_interval():
    """By marks that no method has, in the legend, the numbers and the caption; a mark is lower than an interval's ends."""
    values = dict(zip((Method(name, "pretrained") for name in "abc"), (0.3, 0.4, 0.2), strict=True))
    plot = difference_forest(comparisons(list(values), values=values), "style", Resampling())
    texts = [text for text, _ in drawn_texts(plot.figure)]
    assert {"+0.100~", "+0.200*", "+0.100"} <= {*texts}
    lines = [line for line in plot.figure.axes[0].lines if line.get_marker() != "None"]
    ends, marks = lines[::2], lines[1::2]
    drawn = [(line.get_marker(), line.get_fillstyle()) for line in marks]
    assert drawn == [("o", "bottom"), ("o", "full"), ("x", "full")], "b - a, b - c, a - c"
    assert all(line.get_marker() == "|" and len(line.get_xdata()) == 2 for line in ends)
    assert min(line.get_markersize() for line in ends) > 1.5 * max(line.get_markersize() for line in marks)
    for text in (
        "Dot and star: one is ahead",
        "Half a dot and ~: one is likely ahead",
        "Cross: the two are not told apart",
    ):
        assert text in plot.caption


def test_a_forest_of_many_methods_has_the_best_ones_pairs_and_those_with_pretrained():
    data = difference_forest(comparisons(FIVE_BY_THREE), "style", Resampling()).data
    best = data[(data["extractor_a"] == "sscd") & (data["variant_a"] == "mlp")]
    assert len(best) == 14
    rest = data.drop(best.index)
    assert len(rest) == 2 * 5 - 1 and (rest["extractor_a"] == rest["extractor_b"]).all()
    assert ((rest["variant_a"] == "pretrained") | (rest["variant_b"] == "pretrained")).all()
    worst_first = [Method("clip", variant) for variant in ("pretrained", *"abcdef")]
    few, many = (difference_forest(comparisons(worst_first[:n]), "style", Resampling()) for n in (6, 7))
    assert (len(few.data), len(many.data)) == (15, 6 + 5)
    assert (
        "Of all pairs, those with the best" not in few.caption and "Of all pairs, those with the best" in many.caption
    )
    nothing = difference_forest(comparisons(FIVE_BY_THREE), "absent", Resampling())
    assert nothing.data.empty and "no two methods to compare" in nothing.caption


def test_of_the_same_metric_all_panels_have_the_same_range():
    """Whatever the values of a prompt type or method are."""
    methods, prompts = [Method("a", "pretrained"), Method("a", "tuned")], ["gpt", "media"]
    table = summary(methods, prompts, [5, 100])
    table.loc[table["prompt_type"] == "media", ["value", "ci_low", "ci_high", "ceiling"]] /= 4
    unlike = [
        make_ranking(
            [[1], [2], [900], [1000]], [0, 1, 0, 1], ["gpt", "gpt", "media", "media"], n_database=1500, variant=v
        )
        for v in ("pretrained", "tuned")
    ]
    pairs = comparisons(methods, prompts)
    pairs.loc[pairs["prompt_type"] == "media", ["difference", "ci_low", "ci_high"]] *= 5
    curves = {
        method: small_curve().assign(loss=lambda rows, i=i: rows["loss"] * i) for i, method in enumerate(methods, 1)
    }
    curves[methods[0]]["val_mAP"] /= 3
    learned = learning_curves(curves).figure.axes
    sizes = sizes_table(methods, prompts, [5], [10, 1500])
    sizes.loc[sizes["prompt_type"] == "media", ["value", "ci_low", "ci_high", "ceiling"]] /= 4
    for panels in (
        metric_bars(table).figure.axes,
        recall_curves(unlike, [5]).figure.axes,
        rank_distribution(unlike).figure.axes,
        size_curves(sizes).figure.axes,
        variant_scatter(unlike).figure.axes,
        difference_forest(pairs, "style", Resampling()).figure.axes,
        learned[::2],
        learned[1::2],
    ):
        assert len(panels) > 1
        assert len({axes.get_xlim() for axes in panels}) == len({axes.get_ylim() for axes in panels}) == 1


def test_all_histograms_of_ranks_have_one_scale():
    """A method's area over an axis of decades is the share of its ranks that lie there, times the same height."""
    sharp = make_ranking([[3]] * 8, range(8), ["gpt"] * 8, n_database=1500, extractor="sharp")
    flat = make_ranking([[3], [9], [27], [81], [243], [500], [700], [900]], range(8), ["gpt"] * 8, n_database=1500)
    figure = rank_distribution([sharp, flat]).figure
    areas = {}
    for extractor, patch in zip(("sharp", "clip"), figure.axes[0].patches, strict=True):
        values, edges, baseline = patch.get_data()
        areas[extractor] = ((baseline - values) * np.diff(np.log10(edges))).sum()
    assert areas["sharp"] == pytest.approx(areas["clip"])
