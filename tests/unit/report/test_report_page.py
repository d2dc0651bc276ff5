"""The page's parts: pictures, queries, costs, settings, provenance, and that all text in it is escaped."""

import base64
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from attribench.decode.reading import AS_PUBLISHED
from attribench.formats.ranking import Method
from attribench.plan.config import load
from attribench.plan.config_files import default_settings, read_settings
from attribench.plots.chosen import extreme_queries
from attribench.provenance.fingerprints import recorded_content, write_fingerprints
from attribench.report import TEMPLATES, data, machine, page, results
from attribench.report.costs import folder_sizes, stage_costs, total_cost, total_size
from attribench.report.pictures import figure_picture, first_sentence
from attribench.report.queries import equals, query_rows
from attribench.report.report import RunDescription, provenance_context, queries_context, results_context
from attribench.report.settings import changed_settings, settings_digest
from attribench.report.words import how_sure, marks, prompt_types
from attribench.tables.marks import CHANCE, SEEN, TIED, UNADJUSTED, UNKNOWN
from attribench.tables.published import PUBLISHED_COLUMNS, Number, published_table
from helpers.config import REPOSITORY
from helpers.rankings import four_entries, make_ranking
from helpers.standings import made_standings, summary_and_comparisons
from matplotlib.figure import Figure
from PIL import Image


def save(figure, stem):
    for ending in ("png", "svg"):
        figure.savefig(f"{stem}.{ending}")


def test_a_figure_is_drawn_from_its_svg_with_its_caption(tmp_path):
    save(Figure(figsize=(2, 1)), tmp_path / "zoo_recall")
    assert figure_picture(tmp_path / "zoo_recall", "recall").caption == "Recall over the cut-off."
    (tmp_path / "zoo_recall.txt").write_text("Recall at 0.5 of k. On zoo,\nwith 95 % intervals.\n")
    picture = figure_picture(tmp_path / "zoo_recall", "recall")
    assert picture.alt == "Recall at 0.5 of k."
    assert picture.caption == "Recall at 0.5 of k. On zoo, with 95 % intervals."
    assert picture.vector == f"{tmp_path}/zoo_recall.pdf"
    head, _, content = picture.source.partition(",")
    assert (
        head == "data:image/svg+xml;base64" and base64.b64decode(content) == (tmp_path / "zoo_recall.svg").read_bytes()
    )


def test_a_figure_of_photographs_becomes_webp(tmp_path):
    save(Figure(figsize=(2, 1)), tmp_path / "zoo_contact")
    (tmp_path / "zoo_contact.svg").write_bytes(b" " * 500_000)
    assert figure_picture(tmp_path / "zoo_contact", "contact").source.startswith("data:image/webp;base64,")


def test_the_first_sentence_ends_at_a_full_stop():
    assert first_sentence("Values of 0.5 and more. Then more.") == "Values of 0.5 and more."
    assert first_sentence("No end") == "No end"


def test_best_and_worst_are_of_different_entries_while_there_are_enough():
    precision = np.array([1.0, 1.0, 0.9, np.nan, 0.1, 0.1, 0.2, 0.5])
    entry = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    assert extreme_queries(precision, entry, 2, is_best=True) == [0, 2]
    assert extreme_queries(precision, entry, 2, is_best=False) == [4, 6]
    assert extreme_queries(precision, entry, 9, is_best=True) == [0, 1, 2, 7, 6, 4, 5], "all known ones, in order"


def test_rows_of_queries_with_and_without_images(tmp_path):
    ranking = four_entries("clip", 0)
    (tmp_path / "zoo").mkdir()
    for query in range(len(ranking.query_path)):
        Image.new("RGB", (40, 20), "red").save(tmp_path / "zoo" / f"{query}.png")
    rows = query_rows(ranking, "gpt", tmp_path, AS_PUBLISHED, 2)
    assert [row.extreme for row in rows] == ["best", "best", "worst", "worst"]
    assert min(row.precision for row in rows[:2]) >= max(row.precision for row in rows[2:])
    for row in rows:
        assert row.query.picture.source.startswith("data:image/webp;base64,")
        assert row.nearest[0].picture is None, "no such image"
        assert [shown.rank for shown in row.exemplars] == sorted(shown.rank for shown in row.exemplars)
        assert len(row.exemplars) == min(3, row.n_exemplars)


def test_equal_queries_are_counted():
    ranking = make_ranking([[1], [1], [2], [9], [1]], [0, 1, 2, 3, 0], ["gpt"] * 4 + ["media"])
    said = "2 of 4 queries have average precision 1.000: the first of these, of different entries, are shown."
    assert equals(ranking, "gpt") == said and equals(ranking, "media") == equals(ranking, "none") == ""


def test_of_few_queries_none_is_among_the_best_and_the_worst(tmp_path):
    rows = query_rows(four_entries("clip", 0), "gpt", tmp_path, AS_PUBLISHED, 99)
    assert len(rows) == len({row.query.path for row in rows}) and {row.extreme for row in rows} == {"best"}


def test_costs_are_added_up_by_stage(tmp_path):
    head = "s\th:m:s\tmax_rss\tcpu_time\n"
    for name, line in {
        "rank/a/b.tsv": "2.5\t-\t100\t1",
        "rank/c.tsv": "1\t-\t300\t2",
        "tables.tsv": "9\t-\t-\tNA",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(head + line + "\n")
    tables, rank = stage_costs(tmp_path)
    assert (tables.stage, tables.jobs, tables.seconds) == ("tables", 1, 9)
    assert np.isnan([tables.cpu_seconds, tables.peak_mb]).all(), "it was too short to be measured"
    assert (rank.stage, rank.jobs, rank.seconds, rank.cpu_seconds, rank.peak_mb) == (
        "rank",
        2,
        3.5,
        3,
        300 * 2**20 / 1e6,
    )
    assert total_cost([tables, rank]) == replace(rank, stage="all", jobs=3, seconds=12.5)
    filters = page.environment().filters
    shown = [filters["duration"](tables.cpu_seconds), filters["megabytes"](tables.peak_mb), filters["megabytes"](0.001)]
    assert shown == [results.NOTHING, results.NOTHING, "< 0.01 MB"]


def test_sizes_are_of_files_not_of_what_links_lead_to(tmp_path):
    for name, n in (("a/x", 10), ("b/c/y", 2000), ("b/z", 500), ("b/.keys/z", 90), (".keys/x", 9)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"0" * n)
    (tmp_path / "link").symlink_to(tmp_path / "b")
    sizes = [(Path(size.folder).name, size.files, size.megabytes) for size in folder_sizes(tmp_path)]
    assert sizes == [("b", 2, 0.0025), ("a", 1, 1e-05)]
    assert total_size(folder_sizes(tmp_path)).files == 3


def test_changed_settings_are_those_that_are_not_what_is_shipped():
    def changed(*pairs):
        config = load(read_settings([], pairs)).model_dump(mode="json")
        return changed_settings(config, default_settings(config))

    assert changed() == [], "what follows from the benchmark is no change"
    assert changed("results=mine") == [("results", "mine", "results")]
    assert changed("splits=[sample_style]", "bootstrap={seed: 1}") == [
        ("splits", "[sample_style]", "[sample_style, sample_object]"),
        ("bootstrap.seed", "1", "0"),
    ]


def test_the_digest_of_settings_is_the_same_wherever_data_lie():
    config = {"root": "a", "device": "cpu", "top_k": 5}
    assert settings_digest(config) == settings_digest(config | {"root": "b", "device": "cuda"})
    assert settings_digest(config) != settings_digest(config | {"top_k": 6})


def test_the_digest_of_data_is_of_content_alone(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    write_fingerprints(tmp_path / "record.csv", tmp_path, ["a", "b"], "token")
    before = recorded_content(tmp_path / "record.csv")
    expected = subprocess.run("sha256sum a b | sha256sum", shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert (before.files, before.digest) == (2, expected.stdout.split()[0])
    assert recorded_content(tmp_path / "none.csv") is None


def test_a_commit_and_whether_it_was_changed(tmp_path):
    assert machine.commit_of(tmp_path).startswith("unknown")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    (tmp_path / "file").write_text("1")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    assert machine.commit_of(tmp_path) == f"{head}, unchanged"
    (tmp_path / "file").write_text("2")
    assert machine.commit_of(tmp_path) == f"{head}, with uncommitted changes in 1 file: file"
    (tmp_path / "inside").mkdir()
    assert machine.commit_of(tmp_path / "inside").startswith("unknown"), "another project's repository around it"


def test_machine_and_versions_are_known_here():
    assert machine.versions()["numpy"] == np.__version__
    assert all(machine.machine().values())
    assert machine.gpus("NVIDIA H200, 143771\nOld, [N/A]") == "NVIDIA H200, 151 GB; Old" and machine.gpus("") == "none"


def test_facts_about_the_data():
    one = make_ranking([[1], [2]], [0, 1], ["gpt"] * 2, split="one")
    more = make_ranking([[1, 2], [1, 2], [1, 2, 3]], [0, 0, 1], ["gpt"] * 3, split="more")
    first, second = data.exemplar_counts([one, more])
    assert first == (
        "Each of the 2 entries of one has 1 exemplar. With one exemplar, average precision is one over its rank."
    )
    assert second == "Each of the 2 entries of more has 2 to 3 exemplars (median 2.5)."
    standings = made_standings({"a": {"gpt": [1] * 8}, "a_tuned": {"gpt": [2] * 8}})
    [sentence] = data.checked_overlap(standings, ["tuned"])
    assert sentence.startswith("No image of zoo is one that tuned is tuned on")
    assert data.checked_overlap(standings, []) == [], "a mapper from elsewhere"
    pairs = [("zoo", "a", "1", 0.9), ("zoo", "a", "1", 1.0), ("zoo", "a", "2", 0.8), ("farm", "a", "1", 0.7)]
    near = pd.DataFrame(pairs, columns=["split", "exemplar", "database_image", "similarity"])
    found = data.near_duplicates_found(near)
    assert "2 on zoo and 1 on farm, each counted once, 1 of them copies." in found, "two methods found the first"
    assert data.near_duplicates_found(near[:0]).endswith("to each method: none.")


def test_marks_in_the_table_of_results():
    mixed, bad = [1, 2] * 6, [60] * 12
    near = [2, 1] * 5 + [2, 2]
    standings = made_standings({"a": {"gpt": mixed}, "b": {"gpt": near}, "c": {"gpt": bad}, "d": {"gpt": mixed[::-1]}})
    table = results.summary_rows(standings)
    assert table.columns == ("split", "prompt type", "method", "mAP", "recall@5")
    cells = {row[2].text: row[3] for row in table.rows}
    assert cells["a"].is_bold and cells["d"].is_bold and not cells["a"].mark + cells["d"].mark
    assert cells["b"].is_tied and cells["b"].mark == TIED
    assert cells["c"].mark == CHANCE
    assert cells["(random ranking)"].order == pytest.approx(0.051, abs=1e-3)
    legend, there = marks(standings, 0.95), ("Bold:", "All others:", f"{TIED}:", f"{CHANCE}:")
    absent = [f"{mark}:" for mark in (UNADJUSTED, UNKNOWN, SEEN)]
    assert all(mark in legend for mark in there) and not any(mark in legend for mark in absent)
    few = made_standings({"a": {"gpt": [1] * 3}, "b": {"gpt": [2] * 3}})
    assert [row[3].mark for row in results.summary_rows(few).rows] == ["", UNKNOWN, ""]
    assert "All others" not in marks(few, 0.95) and "too few entries" in marks(few, 0.95)
    alone = made_standings({"a": {"gpt": bad}})
    assert not results.summary_rows(alone).rows[0][3].is_bold and "Bold" not in marks(alone, 0.95)


def test_queries_are_counted_by_entry_and_prompts_explained():
    standings = made_standings({"a": {"gpt": [1] * 8, "media": [1] * 8, "mine": [1] * 8}})
    ranking = make_ranking([[1]] * 24, [*range(8)] * 3, ["gpt"] * 8 + ["media"] * 8 + ["mine"] * 8, split="zoo")
    assert "(8 queries, 1 of each of 8 entries, for each split and prompt type)" in how_sure(standings, [ranking], 0.95)
    uneven = make_ranking([[1]] * 24, [*range(7), 0] * 3, ["gpt"] * 8 + ["media"] * 8 + ["mine"] * 8, split="zoo")
    assert "(8 queries in all, of 8 entries, for each" in how_sure(standings, [uneven], 0.95)
    found = prompt_types(standings, rendered=True)
    assert "gpt: a scene, as a language model would describe it; media: what" in found and "mine" not in found
    assert "gpt: written by a language model" in prompt_types(standings, rendered=False)


def test_gains_of_variants():
    good, bad = [1] * 12, [60] * 12
    entries = {("zoo", "gpt", Method("a", "tuned")): "12 / 0 / 0"}
    gains = results.gains(made_standings({"a": {"gpt": bad}, "a_tuned": {"gpt": good}, "b": {"gpt": good}}), entries)
    [row] = gains.rows
    assert [cell.text for cell in row[2:5]] == ["a_tuned", "0.017", "1.000"]
    assert [cell.text for cell in row[-2:]] == ["better", "12 / 0 / 0"]
    assert results.gains(made_standings({"a": {"gpt": bad}}), {}) is None


def test_what_is_said_of_tuning_comes_from_the_figures_data(tmp_path):
    (tmp_path / "variants.csv").write_text(
        "prompt_type,extractor,variant,entry,pretrained,mapped\ngpt,a,t,0,0.1,0.2\ngpt,a,t,1,0.1,0.1\nmedia,a,t,0,0.2,0.1\n"
    )
    t = Method("a", "t")
    assert results.entries_of(tmp_path / "variants.csv", "zoo") == {
        ("zoo", "gpt", t): "1 / 0 / 1",
        ("zoo", "media", t): "0 / 1 / 0",
    }
    head, a = "extractor,variant,penalty,step,val_mAP,chosen\n", "a,t,0.0,25,0.5,False\na,t,1.0,50,0.6494,True\n"
    (tmp_path / "curves.csv").write_text(head + a + "a,t,1.0,75,0.6,False\n")
    labels = {t: "A", Method("b", "t"): "B"}
    assert results.chosen_mappers(tmp_path / "curves.csv", labels) == ["A: step 50, penalty 1, val mAP 0.649"]
    (tmp_path / "curves.csv").write_text(head + a + "b,t,0.0,90,0.6,True\n")
    rising = "(the last that was tried: more may do better)"
    assert results.chosen_mappers(tmp_path / "curves.csv", labels) == [
        f"A: step 50 {rising}, penalty 1, val mAP 0.649",
        f"B: step 90 {rising}, penalty 0, val mAP 0.600",
        "Tried were A up to step 50 with penalty 0 and 1; B up to step 90 with penalty 0: what one of them has over "
        "another may come of these numbers as well as of head and training splits.",
    ]
    (tmp_path / "curves.csv").write_text(head + "a,t,0.0,0,0.6,True\na,t,0.0,25,0.5,False\n")
    [untrained] = results.chosen_mappers(tmp_path / "curves.csv", labels)
    assert untrained.startswith("A: step 0 (the start: no step was better, so its mappers are untrained)")


def test_text_of_a_page_is_escaped():
    """A label may hold anything that is printable."""
    evil = "<script>alert(1)</script>"
    table = results.Table((evil,), ((results.Cell(evil, evil),),), 1)
    macro = "{% from 'macros.html.j2' import data_table %}{{ data_table(table, caption) }}"
    html = page.environment().from_string(macro).render(table=table, caption=evil)
    assert evil not in html and html.count("&lt;script&gt;") == 6


def made_run(benchmark, rendered, labels):
    nothing = dict.fromkeys(("methods", "extractors", "collections", "ranks"), ())
    settings = {"confidence": 0.95, "samples": 1000, "tuned": {}, "sheet": "a"}
    return RunDescription(benchmark=benchmark, rendered=rendered, labels=labels, **settings, **nothing)


def made_page(folder, standings, figures):
    """Return the page of a run whose images no program drew; its queries are left out."""
    labels = {mean.method: mean.label for standing in standings for mean in standing.means}
    run = made_run("mine", False, labels)
    config = load(read_settings([], [f"results={folder}"])).model_dump(mode="json")
    context = results_context(run, standings, None, pd.DataFrame(columns=PUBLISHED_COLUMNS), figures)
    context |= queries_context(run, [], folder, AS_PUBLISHED, pd.DataFrame())
    return page.render(context | provenance_context(run, "a-key", config, {}, REPOSITORY))


def test_figures_stand_where_they_belong(tmp_path):
    names = ("metrics", "differences", "variants", "influence")
    for name in names:
        save(Figure(figsize=(2, 1)), tmp_path / f"zoo_{name}")
    (tmp_path / "zoo_variants.csv").write_text("prompt_type,extractor,variant,entry,pretrained,mapped\n")
    standings = made_standings({"a": {"gpt": [60] * 8}, "a_tuned": {"gpt": [1] * 8}})
    labels = {mean.method: mean.label for mean in standings[0].means}
    run = made_run("sample", True, labels)
    figures = [("zoo", name, str(tmp_path / f"zoo_{name}")) for name in names]
    found = results_context(run, standings, None, pd.DataFrame(columns=PUBLISHED_COLUMNS), figures)
    [(split, shown)] = found["figures"]
    assert split == "zoo" and [picture.title for picture in shown] == ["Metrics with intervals"]
    assert found["answer_figures"]["zoo"].title == "Which method is better, and by how much"
    assert [of for of, _ in found["tuning_figures"]] == [of for of, _ in found["influence_figures"]] == ["zoo"]
    assert "drawn by a program" in found["warning"] and "A few images of a style" in found["subtitle"]
    assert ("tuning", "Tuning") in found["sections"] and "calibration" not in dict(found["sections"])


def test_every_figure_is_on_the_page(tmp_path):
    """A run without features as they are gains nothing that could be shown; a split without a valid query has no answer."""
    names = [("zoo", "differences"), ("farm", "differences"), ("", "learning_curves")]
    for split, name in names:
        save(Figure(figsize=(2, 1)), tmp_path / f"{split}_{name}")
        (tmp_path / f"{split}_{name}.txt").write_text(f"{name} {split or 'of all'}.")
    (tmp_path / "_learning_curves.csv").write_text(
        "extractor,variant,penalty,step,val_mAP,chosen\na,tuned,1.0,50,0.6494,True\n"
    )
    standings = made_standings({"a_tuned": {"gpt": [1] * 8}, "b_tuned": {"gpt": [2] * 8}})
    figures = [(split, name, str(tmp_path / f"{split}_{name}")) for split, name in names]
    html = made_page(tmp_path, standings, figures)
    assert 'href="#tuning"' in html and "a_tuned: step 50" in html and "gains in mAP" not in html
    for caption in ("differences zoo.", "differences farm.", "learning_curves of all."):
        assert html.count(f"<figcaption>{caption}") == 1


def test_the_templates_that_belong_to_the_key_are_all_there_are():
    folder = REPOSITORY / "workflow_scripts/attribench/report"
    assert set(TEMPLATES) == {path for path in folder.iterdir() if path.is_file() and path.suffix != ".py"}


def made_influence(*rows):
    columns = ["split", "prompt_type", "label", "metric", "value", "ci_low", "ci_high"]
    return pd.DataFrame([("zoo", *row) for row in rows], columns=columns)


def test_influence_is_a_row_for_each_split_prompt_type_and_method():
    table = made_influence(
        ("gpt", "clip", "gain_over_uniform", 2.5, 1.0, 4.0),
        ("gpt", "clip", "effective_number", 1013.4, 979.7, 1048.3),
        ("gpt", "clip", "log_likelihood", -3.0, -4.0, -2.0),
        ("gpt", "dino", "gain_over_uniform", -np.inf, np.nan, np.nan),
    )
    found = results.influence_rows(table)
    assert found.columns[3:] == ("gain over uniform, nats", "effective number of images")
    assert [[cell.text for cell in row[2:]] for row in found.rows] == [
        ["clip", "2.500 [1.000, 4.000]", "1,013 [980, 1,048]"],
        ["dino", results.NOTHING, results.NOTHING],
    ]


def test_calibration_is_judged_by_the_interval_of_coverage():
    table = made_influence(
        ("gpt", "clip", "coverage@0.9", 0.76, 0.66, 0.84),
        ("media", "clip", "coverage@0.9", 0.88, 0.8, 0.93),
        ("gpt", "color", "coverage@0.9", 0.99, 0.95, 1.0),
        ("gpt", "few", "coverage@0.9", 0.9, np.nan, np.nan),
    )
    judged = [row[-1].text for row in results.calibration_rows(table).rows]
    assert judged == ["overconfident", "not told from calibrated", "too cautious", "too few entries to tell"]
    [sentence] = results.calibration_sentences(table)
    assert sentence.startswith(
        "zoo, 90 % sets: those of clip (0.760 with gpt) hold too few exemplars (overconfident); those of color (0.990"
    )
    assert sentence.endswith("those of few (0.900 with gpt) cannot be judged, for want of entries.")


def test_published_numbers_stand_beside_ours():
    number = Number("sample", "zoo", "gpt", "clip", "pretrained", "mAP", 0.25, 0.01, "a paper")
    summary, _ = summary_and_comparisons({"clip": {"gpt": [1, 1]}})
    [row] = results.published_rows(published_table([number], summary), {Method("clip", "pretrained"): "CLIP"}).rows
    assert [cell.text for cell in row] == ["zoo", "gpt", "CLIP", "mAP", "0.250", "0.010", "1.000", "false", "a paper"]
    assert results.published_rows(published_table([], summary), {}) is None


def test_a_run_without_a_valid_query_has_a_page(tmp_path):
    html = made_page(tmp_path, [], [])
    assert "Which feature attributes best" in html and "a-key" in html
    assert "A text-to-image model was tuned" in html and "drawn by a program" not in html
