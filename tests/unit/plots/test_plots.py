"""The figures: the values that they draw, texts that can be read, and the same bytes on every run."""

import math
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from attribench.formats.ranking import Method
from attribench.plots.bars import metric_bars
from attribench.plots.curves import recall_curves
from attribench.plots.differences import difference_forest
from attribench.plots.distribution import rank_distribution
from attribench.plots.figure_settings import FigureSettings, methods_by_value
from attribench.plots.learning import learning_curves
from attribench.plots.letters import letters_in_logs
from attribench.plots.save import save_plot
from attribench.plots.sizes import size_curves
from attribench.plots.style import method_styles, short_count
from attribench.plots.variants import variant_scatter
from attribench.tables.statistics import Resampling
from helpers.figures import (
    assert_legible,
    comparisons,
    drawn_texts,
    parts,
    random_rankings,
    save_one_of_each,
    sizes_table,
    small_curve,
    small_ranking,
    summary,
)
from helpers.rankings import make_ranking
from PIL import Image

TESTS = Path(__file__).parents[2]
LIBRARY = TESTS.parent / "workflow_scripts"


def test_recall_curves_values():
    data = recall_curves([small_ranking()], [2, 5]).data
    gpt = data[data["prompt_type"] == "gpt"].set_index("k")
    assert list(gpt.index) == list(range(1, 13))  # every k up to 10 + 2 candidates
    assert gpt.loc[[1, 2, 3, 4, 12], "recall"].tolist() == [0.25, 0.25, 0.75, 1.0, 1.0]
    assert gpt.loc[1, "chance"] == pytest.approx((1 / 12 + 1 / 11) / 2, abs=1e-15)
    assert gpt.loc[12, "chance"] == 1.0
    assert gpt.loc[[1, 2], "ceiling"].tolist() == [0.75, 1.0]
    assert set(gpt["n_queries"]) == {2}
    media = data[data["prompt_type"] == "media"].set_index("k")
    assert set(media["n_queries"]) == {1}  # the invalid query does not count
    assert media.loc[[10, 11], "recall"].tolist() == [0.0, 1.0]
    assert pd.api.types.is_integer_dtype(data["k"]) and pd.api.types.is_float_dtype(data["recall"])


def test_recall_curves_have_every_recall_k_and_reach_the_last_candidate():
    data = recall_curves(random_rankings([("clip", "tuned")], ["gpt"], 5, 1_000_000), [7, 123, 54321]).data
    assert {1, 7, 123, 54321} <= set(data["k"])
    assert data["k"].max() > 1_000_000 and len(data) < 400
    assert data["recall"].iloc[-1] == pytest.approx(1) and data["recall"].is_monotonic_increasing
    assert (data["recall"] <= data["ceiling"] + 1e-12).all()


def test_recall_curves_refuse_a_k_of_zero():
    with pytest.raises(ValueError, match="recall_ks"):
        recall_curves([small_ranking()], [0, 5])


def test_rank_distribution_values():
    data = rank_distribution([small_ranking()]).data
    gpt = data[data["prompt_type"] == "gpt"]
    assert gpt["rank_low"].iloc[0] == 1 and gpt["rank_high"].iloc[-1] == 12
    assert (gpt["rank_low"].to_numpy()[1:] == gpt["rank_high"].to_numpy()[:-1] + 1).all()
    for rank, share in ((1, 0.25), (3, 0.5), (4, 0.25)):  # queries weigh the same: the lone exemplar counts double
        others = [r for r in (1, 3, 4) if r != rank]
        bin_ = gpt[(gpt["rank_low"] <= rank) & (rank <= gpt["rank_high"])].iloc[0]
        if not any(bin_["rank_low"] <= r <= bin_["rank_high"] for r in others):
            assert bin_["share"] == pytest.approx(share)
    assert gpt["share"].iloc[0] == pytest.approx(0.25) and gpt["chance"].iloc[0] == pytest.approx((1 / 12 + 1 / 11) / 2)
    assert data.groupby("prompt_type")[["share", "chance"]].sum().to_numpy() == pytest.approx(1)
    assert gpt[["lower_quartile", "median", "upper_quartile"]].iloc[0].tolist() == [1, 3, 3]
    assert gpt["n_ranks"].iloc[0] == 3 and gpt["n_queries"].iloc[0] == 2
    media = data[data["prompt_type"] == "media"].iloc[0]
    assert media["median"] == 11
    assert media[["chance_lower_quartile", "chance_median", "chance_upper_quartile"]].tolist() == [3, 6, 9]  # of 11


def test_metric_bars_order_and_values():
    table = summary([("dino", "tuned"), ("clip", "tuned"), ("clip", "pretrained")], ["object", "gpt"], [10, 5])
    other = table.assign(split="other", value=0.0)
    data = metric_bars(pd.concat([table, other]), split="style").data
    first = data[(data["prompt_type"] == "object") & (data["metric"] == "mAP")]
    assert first["method"].tolist() == ["dino tuned", "clip tuned", "clip pretrained"], "as the user names them"
    assert first["value"].tolist() == pytest.approx([0.225, 0.45, 0.675])
    assert list(dict.fromkeys(data["metric"])) == ["mAP", "recall@5", "recall@10"]
    assert list(dict.fromkeys(data["prompt_type"])) == ["object", "gpt"]
    assert len(data) == 18 and set(data["split"]) == {"style"}


def test_metric_bars_draw_values_intervals_chance_and_ceiling():
    figure = metric_bars(summary([("clip", "tuned")], ["gpt"], [5])).figure
    recall = next(axes for axes in figure.findobj(matplotlib.axes.Axes) if axes.get_title(loc="left") == "recall@5")
    assert 0.45 in [round(bar.get_width(), 9) for bar in recall.patches]
    ends = [segment[:, 0].round(9).tolist() for lines in recall.collections for segment in lines.get_segments()]
    assert [0.4, 0.5] in ends and [0.01, 0.01] in ends and [0.95, 0.95] in ends
    number = next(box for text, box in drawn_texts(figure) if text == "0.450")
    own, following = (axes.get_window_extent() for axes in figure.axes)
    assert 0 < 2 * (number.x0 - own.x1) < following.x0 - number.x1, (
        "a number stands nearer to its bar than to the next one"
    )


def test_metric_bars_refuse_what_is_ambiguous():
    table = summary([("clip", "tuned")], ["gpt"], [5])
    with pytest.raises(ValueError, match="more than one split"):
        metric_bars(pd.concat([table, table.assign(split="other")]))
    with pytest.raises(ValueError, match="two values"):
        metric_bars(pd.concat([table, table]))
    with pytest.raises(ValueError, match="no column metric"):
        metric_bars(table.drop(columns="metric"))


def axes_of(figure, title, label):
    """The panel in the column `title` and the row `label`."""
    panels = [axes for axes in figure.axes if axes.get_visible()]
    x = next(axes for axes in panels if axes.get_title(loc="left") == title).get_position().x0
    y = next(axes for axes in panels if axes.get_ylabel() == label).get_position().y0
    return next(axes for axes in panels if np.allclose(axes.get_position().p0, (x, y)))


def test_size_curves_draw_the_tables_rows():
    methods = [("dino", "tuned"), ("clip", "tuned"), ("clip", "pretrained")]
    table = sizes_table(methods, ["object", "gpt"], [10, 5], [100, 1000, 1500])
    figure, data = parts(size_curves(pd.concat([table, table.assign(split="other", value=0.0)]), "style"))
    assert list(dict.fromkeys(data["metric"])) == ["mAP", "recall@5", "recall@10"]
    assert list(dict.fromkeys(data["method"])) == ["clip pretrained", "clip tuned", "dino tuned"]
    assert data["database_size"].tolist() == [100, 1000, 1500] * 18
    columns = list(table)
    found = data[columns].sort_values(columns, ignore_index=True)
    pd.testing.assert_frame_equal(found, table.sort_values(columns, ignore_index=True), check_dtype=False)
    for prompt in ("object", "gpt"):
        for metric in ("mAP", "recall@5", "recall@10"):
            rows = data[(data["prompt_type"] == prompt) & (data["metric"] == metric)]
            axes = axes_of(figure, prompt, metric)
            drawn = [line.get_xydata().tolist() for line in axes.lines]
            for _, mine in rows.groupby("method"):
                assert mine[["database_size", "value"]].to_numpy().tolist() in drawn
            assert [[100, 0.01], [1000, 0.001], [1500, 1 / 1500]] in drawn  # chance
            bars = np.concatenate(
                [lines.get_segments() for lines in axes.collections if hasattr(lines, "get_segments")]
            )
            ends = rows[["ci_low", "ci_high"]].to_numpy()
            assert sorted(bars[:, :, 1].round(9).tolist()) == sorted(ends.round(9).tolist())
            if metric != "mAP":  # `summary` gives mAP none
                assert [0.95, 0.95] in [list(line.get_ydata()) for line in axes.lines]
    texts = [text for text, _ in drawn_texts(figure)]
    assert {"clip tuned", "ceiling", "95 % interval", "chance: random ranking"} <= set(texts)
    assert {"100", "1.5k"} <= set(texts)


def test_size_curves_of_one_size_and_of_none():
    figure, data = parts(size_curves(sizes_table([("clip", "tuned")], ["gpt"], [5], [1500])))
    assert_legible(figure)
    assert data["database_size"].tolist() == [1500, 1500]
    segments = [s for lines in axes_of(figure, "gpt", "mAP").collections for s in lines.get_segments()]
    [bar] = [s for s in segments if s[0, 0] == pytest.approx(1500)]
    assert bar[:, 1].tolist() == data.loc[0, ["ci_low", "ci_high"]].tolist()
    figure, data = parts(size_curves(sizes_table([("clip", "tuned")], ["gpt"], [5], [10]), split="absent"))
    assert data.empty and drawn_texts(figure)[0][0] == "no database sizes to show"
    with pytest.raises(ValueError, match="two values for a prompt type, method, metric, database_size"):
        size_curves(sizes_table([("clip", "tuned")], ["gpt"], [5], [10, 10]))
    with pytest.raises(ValueError, match="no column database_size"):
        size_curves(summary([("clip", "tuned")], ["gpt"], [5]))


def test_ends_and_powers_of_ten_are_named_first():
    sizes = [1000, 3000, 10_000, 30_000, 90_000, 100_000, 110_000, 1_000_000]
    texts = [text for text, _ in drawn_texts(size_curves(sizes_table([("a", "b")], ["gpt"], [5], sizes)).figure)]
    assert {"1k", "10k", "100k", "1M"} <= set(texts) and not {"90k", "110k"} & set(texts)


def test_the_legend_says_which_interval_it_is():
    methods = [("clip", "tuned")]
    for figure in (
        metric_bars(summary(methods, ["gpt"], [5]), confidence=0.9).figure,
        size_curves(sizes_table(methods, ["gpt"], [5], [10]), confidence=0.9).figure,
    ):
        assert "90 % interval" in [text for text, _ in drawn_texts(figure)]


def test_single_entry_without_intervals(tmp_path):
    table = summary([("clip", "pretrained")], ["gpt"], [1], intervals=False)
    figure, data = parts(metric_bars(table))
    assert data["ci_low"].isna().all()
    texts = [text for text, _ in drawn_texts(figure)]
    assert "95 % interval" not in texts and "0.450" in texts
    assert any(text.endswith("no interval: fewer than 6 entries") for text in texts)
    assert_legible(figure)
    assert b",," in save_plot(metric_bars(table), tmp_path / "bars")[3].read_bytes()  # missing values are empty
    one = make_ranking([[2]], [0], ["gpt"], n_database=1)
    for figure, data in map(parts, (recall_curves([one], [1, 5]), rank_distribution([one]))):
        assert_legible(figure)
        assert len(data)
    figure, data = parts(recall_curves([one], [1, 5]))
    assert data["k"].tolist() == [1, 2], "among two candidates, recall@5 is 1 by construction"
    assert data.iloc[1][["recall", "chance"]].tolist() == [1, 1]


FIVE_BY_THREE = [(e, v) for e in ("clip", "dino", "moco", "vit", "sscd") for v in ("pretrained", "tuned", "tuned_mlp")]
TWELVE = [(f"some_extractor_name{'_of_many_letters' * (i % 4)}{i}", "pretrained") for i in range(12)]
FOUR = [("some_extractor", "pretrained"), ("some_extractor", "tuned"), ("b", "pretrained"), ("b", "tuned")]


@pytest.mark.parametrize(
    "methods, n_prompts, ks, n_database, width",
    [
        (FIVE_BY_THREE, 2, 2, 1500, 5.5),
        (TWELVE, 2, 5, 10**6, 5.5),
        (TWELVE[:1], 1, 1, 5, 5.5),
        (FOUR, 5, 1, 1500, 3.25),
    ],
    ids=["5x3", "12", "1", "narrow"],
)
def test_texts_neither_overlap_nor_leave_the_figure(methods, n_prompts, ks, n_database, width):
    """At the width that was asked for, in 7 points at least."""
    prompts, cuts = ["gpt", "object", "media", "another", "one_more"][:n_prompts], [1, 5, 10, 50, 100, 1000][:ks]
    ranks, settings = random_rankings(methods, prompts, 4, n_database), FigureSettings(width=width)
    names, table = [ranking.method for ranking in ranks], summary(methods, prompts, cuts)
    sizes = [n for n in (1, 2, 5, 10, 90, 100, 110, 999, 12_345, 100_000, 999_999) if n < n_database]
    plots = [
        metric_bars(table, settings=settings),
        recall_curves(
            ranks, cuts, "observed_imagenet", settings=settings, summary=table.assign(split="observed_imagenet")
        ),
        size_curves(sizes_table(methods, prompts, cuts, [*sizes, n_database]), settings=settings),
        rank_distribution(ranks, "observed_imagenet", settings),
        variant_scatter(ranks, "observed_imagenet", settings),
        difference_forest(comparisons(names, prompts), "style", Resampling(), settings),
        learning_curves({ranking.method: small_curve() for ranking in ranks}, settings),
    ]
    for plot in plots:
        assert_legible(plot.figure, width)


def test_a_variants_points_are_entries_and_compare_the_same_queries():
    before = small_ranking(ranks=((2, 4), (3,), (), (11,)))
    after = small_ranking("clip", "tuned", ranks=((1, 2), (3,), (5,), ()))
    data = variant_scatter([before, after, small_ranking("dino", "tuned")], "style").data
    rows = data[["prompt_type", "entry", "pretrained", "mapped", "n_queries"]].to_numpy().tolist()
    assert rows == [["gpt", 0, 0.5, 1.0, 1], ["gpt", 1, pytest.approx(1 / 3), pytest.approx(1 / 3), 1]]
    assert set(zip(data["extractor"], data["variant"], strict=True)) == {("clip", "tuned")}
    figure, data = parts(variant_scatter([before]))
    assert data.empty and drawn_texts(figure)[0][0] == "no variant to compare with pretrained"


def test_nothing_to_show_is_said():
    nothing = small_ranking(ranks=[[]] * 4)
    for figure, data in map(parts, (recall_curves([nothing], [5]), rank_distribution([nothing]))):
        assert data.empty and drawn_texts(figure)[0][0] == "no valid queries"
    figure, data = parts(metric_bars(summary([("clip", "tuned")], ["gpt"], [5]), split="absent"))
    assert data.empty and drawn_texts(figure)[0][0] == "no metrics to show"
    figure, data = parts(recall_curves([small_ranking(ranks=[[1, 4], [3], [], []])], [5]))
    assert set(data["prompt_type"]) == {"gpt"} and "no valid queries" in [text for text, _ in drawn_texts(figure)]


def test_out_of_reach_is_what_lies_from_the_ceiling_to_1():
    table = summary([("clip", "tuned"), ("dino", "tuned")], ["gpt"], [5])
    recall = table["metric"] == "recall@5"
    table.loc[recall, ["value", "ci_high", "ceiling"]] = 0.6, 0.65, 0.6
    rows = table.assign(ceiling_high=np.where(recall, 0.7, math.nan))
    figure = metric_bars(rows).figure
    axes = next(axes for axes in figure.findobj(matplotlib.axes.Axes) if axes.get_title(loc="left") == "recall@5")
    areas = {
        (round(bar.get_x(), 9), round(bar.get_x() + bar.get_width(), 9)) for bar in axes.patches if bar.get_x() > 0
    }
    assert areas == {(0.6, 1)}
    figure = size_curves(rows.assign(database_size=10)).figure
    [span] = axes_of(figure, "gpt", "recall@5").patches
    assert (span.get_y(), span.get_y() + span.get_height()) == pytest.approx((0.6, 1))
    for n, is_below in ((1, False), (3, True)):  # exemplars of a query
        figure = recall_curves([make_ranking([[*range(2, n + 2)]], [0], ["gpt"])], [5]).figure
        assert ("out of reach" in [text for text, _ in drawn_texts(figure)]) is is_below
        assert figure.axes[0].collections[0].get_datalim(figure.axes[0].transData).y1 == 1


def test_methods_have_their_labels_in_every_figure():
    methods = [("clip", "pretrained"), ("dino", "pretrained"), ("dino", "tuned")]
    labels = {Method(*method): f"Label {i}" for i, method in enumerate(methods)}
    rankings = [small_ranking(*method) for method in methods]
    plain = {"clip", "dino pretrained", "dino tuned"}  # a variant is named where an extractor has several
    for draw in (
        lambda labels: metric_bars(summary(methods, ["gpt"], [5]), settings=FigureSettings(labels=labels)),
        lambda labels: size_curves(
            sizes_table(methods, ["gpt"], [5], [10, 20]), settings=FigureSettings(labels=labels)
        ),
        lambda labels: recall_curves(rankings, [5], settings=FigureSettings(labels=labels)),
        lambda labels: rank_distribution(rankings, settings=FigureSettings(labels=labels)),
    ):
        assert {*labels.values()} <= {text for text, _ in drawn_texts(draw(labels).figure)}
    texts = {text for text, _ in drawn_texts(draw(None).figure)}
    assert plain <= texts and not any("_pretrained" in text for text in texts)


def test_a_method_given_twice_is_refused():
    with pytest.raises(ValueError, match="twice"):
        recall_curves([small_ranking(), small_ranking()], [5])


def test_a_method_has_one_style_in_all_figures_and_the_users_order():
    methods = [Method(f"extractor{i}", variant) for i in (3, 1, 2, 0, 5, 4) for variant in ("tuned", "pretrained")]
    labels = {method: method.name for method in methods}
    styles = method_styles(methods, labels)
    assert list(styles) == methods and len({style.colour for style in styles.values()}) == 12
    some = method_styles(methods[9:2:-2], labels)
    assert list(some) == [m for m in methods if m in some] and all(some[m] == styles[m] for m in some)
    settings = FigureSettings(labels=labels, order=methods[::-1])
    assert (
        settings.styles(methods[:3]) == {m: styles[m] for m in methods[2::-1]}
        and [*settings.styles(methods)] == methods[::-1]
    )
    plain = [styles[m] for m in methods if m.variant == "pretrained"]
    assert {(style.line, style.hatch, style.hollow) for style in plain} == {("-", "", False)}
    scores = method_styles([*methods, Method("a", "scores")])[Method("a", "scores")]
    assert (scores.line, scores.hatch) == ("-", "")
    one = method_styles([Method(name, "pretrained") for name in "abcdefghijkl"])
    assert len({style.colour for style in one.values()}) == 12 and len({style.marker for style in one.values()}) == 12
    many = method_styles([Method("a", f"v{i:02d}") for i in range(12)])
    assert len({style.colour for style in many.values()}) == 12


def test_an_order_by_value_has_the_highest_map_first():
    low, high = small_ranking("a", "x", ((9, 10), (9,), (), (11,))), small_ranking("b", "x", ((1, 2), (1,), (), (1,)))
    assert methods_by_value([low, small_ranking("c", "x"), high]) == [("b", "x"), ("c", "x"), ("a", "x")]
    section = {"width": 6.0, "title": False, "order": "value"}
    rows = [["a", "x", "A"], ["b", "x", "B"]]
    settings = FigureSettings.of(section, rows, [low, high])
    data = recall_curves([low, high], [5], "style", settings=settings).data
    assert list(dict.fromkeys(data["extractor"])) == ["b", "a"]
    assert settings.styles([low.method]) == FigureSettings.of(section | {"order": "config"}, rows).styles([low.method])


def test_short_count():
    assert [short_count(n) for n in (1, 20, 3000, 40_000, 5_000_000)] == ["1", "20", "3k", "40k", "5M"]


def test_the_same_bytes_whatever_the_process_and_settings(tmp_path):
    (tmp_path / "a").mkdir()
    files = save_one_of_each(tmp_path / "a")
    names = [
        f"{stem}.{suffix}"
        for stem in ("bars", "curves.v1", "differences", "distribution", "learning", "sizes", "variants")
        for suffix in ("csv", "pdf", "png", "svg", "txt")
    ]
    assert list(files) == names  # and no temporary file is left
    code = (
        f"import sys; sys.path[:0] = [{str(LIBRARY)!r}, {str(TESTS)!r}]\n"
        "import matplotlib; matplotlib.rcParams.update({'font.size': 20, 'svg.hashsalt': 'other', 'savefig.dpi': 50})\n"
        "import pathlib, helpers.figures; helpers.figures.save_one_of_each(pathlib.Path(sys.argv[1]))\n"
    )
    (tmp_path / "b").mkdir()
    subprocess.run([sys.executable, "-c", code, tmp_path / "b"], check=True, env={"PYTHONHASHSEED": "7"})
    assert files == {path.name: path.read_bytes() for path in sorted((tmp_path / "b").iterdir())}
    for name, content in files.items():
        assert b"atplotlib v" not in content and b"oftware" not in content and b"<dc:date>" not in content, name


def test_csv_is_the_data_returned_and_the_settings_are_left_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    plot = recall_curves([small_ranking()], [5])
    png, svg, pdf, csv, txt = save_plot(plot, tmp_path / "new" / "curves")
    assert dict(matplotlib.rcParams) == before
    assert pd.read_csv(csv).equals(plot.data)
    assert b"\r" not in csv.read_bytes() and svg.read_bytes().startswith(b"<?xml")
    assert txt.read_text() == plot.caption + "\n" and pdf.read_bytes().startswith(b"%PDF")
    with Image.open(png) as image:
        sides = plot.figure.get_size_inches() * plot.figure.dpi
        assert image.size == tuple(sides.astype(int)) and plot.figure.dpi >= 150


def test_letters_that_the_font_lacks_come_from_another_or_are_named_once(tmp_path, caplog, recwarn):
    """STIX, which matplotlib has beside DejaVu Sans, has the first of these letters; no font has the other."""
    lent, none = "\N{LATIN SMALL LETTER K WITH PALATAL HOOK}", chr(0x10FFFD)
    labels = {Method("clip", "pretrained"): f"a {none} b", Method("dino", "tuned"): f"k{lent}"}
    plot = recall_curves([small_ranking(*method) for method in labels], [5], settings=FigureSettings(labels=labels))
    svg, _ = (save_plot(plot, tmp_path / name)[1].read_text() for name in ("curves", "again"))
    [record] = caplog.records
    assert f"{none!r} (U+10FFFD), such as in {f'a {none} b'!r}" in record.message
    logs = [tmp_path / name for name in ("a.log", "b.log", "none.log")]
    for log in logs[:2]:
        log.write_text(f"12:00 a line\n12:01 {record.message}\n")
    assert letters_in_logs(logs) == [none] and letters_in_logs(logs[2:]) == []
    assert not recwarn.list  # of matplotlib's, one for each time it is drawn
    families = {name.strip("'") for names in re.findall("font-family: ([^;]+);", svg) for name in names.split(", ")}
    assert "DejaVu Sans" in families and any("STIX" in name for name in families)
    assert not any("Last Resort" in name for name in families)
