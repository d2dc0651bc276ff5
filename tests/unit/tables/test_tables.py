"""The tables: columns, order, values against the queries' metrics, and the bytes of the CSV files."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from attribench.common.errors import InputError
from attribench.common.folders import LeftOut
from attribench.common.tables_io import write_table
from attribench.formats.ranking import Method
from attribench.manifest import write_left_out
from attribench.metrics import all_metrics, chance_average_precision, query_table
from attribench.tables import tables
from helpers.rankings import RESAMPLING, four_entries

KS = [5, 10]
EXEMPLARS = [1, 2, 4, 70, 1, 2, 4, 2]
CATEGORIES = ["", "dog", "NA", *["dog"] * 5]
METRICS = [metric.name for metric in all_metrics(KS)]
BELOW_10 = [metric.name for metric in all_metrics(KS) if metric.cut_off != 10]  # of 10 candidates, all are among 10
NAN = math.nan


def method_table(seed, prompt_types=("object", "gpt"), per_type=3, invalid=()):
    """Metrics of 8 entries with `EXEMPLARS`, in the order of a split file."""
    rng = np.random.default_rng(seed)
    rows = []
    for entry, m in enumerate(EXEMPLARS):
        for prompt_type in prompt_types:
            for i in range(per_type):
                rows.append((f"{entry}/{prompt_type}/{i}.png", prompt_type, entry, m, CATEGORIES[entry]))
    frame = pd.DataFrame(rows, columns=["query", "prompt_type", "entry", "n_exemplars", "category"])
    frame["class_id"] = frame["entry"].astype(str)
    frame["valid"] = [query not in invalid for query in frame["query"]]
    frame["n_candidates"] = frame["n_exemplars"] + 1000
    frame["best_rank"] = pd.array(rng.integers(1, 100, len(frame)), dtype="Int64")
    for metric in all_metrics(KS):
        ceiling = metric.ceiling(frame["n_exemplars"].to_numpy(), frame["n_candidates"].to_numpy())
        frame[metric.column] = np.where(frame["valid"], rng.random(len(frame)) * ceiling, NAN)
    return frame


@pytest.fixture
def methods():
    invalid = ("1/gpt/0.png",)
    return {
        ("zoo", "dino", "tuned"): method_table(0, invalid=invalid),
        ("zoo", "dino", "pretrained"): method_table(1, invalid=invalid),
        ("zoo", "clip", "pretrained"): method_table(2, invalid=invalid),
        ("art", "dino", "tuned"): method_table(3, ("media",)),
        ("art", "dino", "pretrained"): method_table(4, ("media",)),
        ("art", "clip", "pretrained"): method_table(5, ("media",)),
    }


def test_the_table_of_a_split(methods):
    table = tables.split_table(methods, "zoo", KS)
    metrics = ["recall@5", "recall@10", "mAP"]
    assert list(table) == ["name", "feature", *(f"{p}-{m}" for p in ("object", "gpt") for m in metrics)]
    assert table["name"].tolist() == ["clip_pretrained", "dino_pretrained", "dino_tuned"]
    assert table["feature"].tolist() == ["clip", "dino", "dino"]
    source = methods["zoo", "dino", "tuned"]
    assert table["gpt-mAP"][2] == pytest.approx(source[source["prompt_type"] == "gpt"]["AP"].mean(), abs=1e-15)
    assert table["object-recall@10"][2] == pytest.approx(
        source[source["prompt_type"] == "object"]["recall@10"].mean(), abs=1e-15
    )


def test_the_summary(methods):
    table = tables.summary_table(methods, "sample", KS, RESAMPLING)
    assert list(table) == (
        "benchmark split prompt_type extractor variant metric value ci_low ci_high n_queries n_entries chance ceiling"
        " n_invalid ceiling_low ceiling_high note"
    ).split(" ")
    keys = list(table[["split", "prompt_type", "extractor", "variant", "metric"]].itertuples(index=False, name=None))
    order = [("dino", "tuned"), ("dino", "pretrained"), ("clip", "pretrained")]
    groups = [("zoo", "object"), ("zoo", "gpt"), ("art", "media")]
    assert keys == [(*g, *m, name) for g in groups for m in order for name in METRICS]
    assert (table["ci_low"] < table["value"]).all() and (table["value"] < table["ci_high"]).all()

    gpt = table[(table["prompt_type"] == "gpt") & (table["variant"] == "tuned")].set_index("metric")
    assert set(gpt["n_queries"]) == {23} and set(gpt["n_entries"]) == {8} and set(gpt["n_invalid"]) == {1}
    m = np.repeat(EXEMPLARS, [3, 2, *[3] * 6])  # one query of entry 1 is invalid
    assert gpt["ceiling"]["recall@5"] == pytest.approx(np.mean(np.minimum(5, m) / m))
    assert gpt["chance"]["recall@5"] == pytest.approx(np.mean(5 / (1000 + m)))
    assert gpt["ceiling"]["mAP"] == 1
    assert gpt["chance"]["mAP"] == pytest.approx(np.mean(chance_average_precision(m, 1000 + m)))


def test_the_comparisons(methods):
    table = tables.comparisons_table(methods, "sample", KS, RESAMPLING)
    assert list(table) == (
        "benchmark split prompt_type metric extractor_a variant_a extractor_b variant_b difference ci_low ci_high"
        " p_value p_holm n_queries n_entries note"
    ).split(" ")
    assert len(table) == 3 * len(METRICS) * 3  # split and prompt type, metric, pair
    row = table[(table["prompt_type"] == "gpt") & (table["metric"] == "mAP")].iloc[1]
    assert row[["variant_a", "extractor_b"]].tolist() == ["tuned", "clip"]
    a, b = (methods["zoo", *key].query("prompt_type == 'gpt'") for key in (("dino", "tuned"), ("clip", "pretrained")))
    assert row["difference"] == pytest.approx(a["AP"].mean() - b["AP"].mean(), abs=1e-15)
    assert (row["n_queries"], row["n_entries"]) == (23, 8)
    # Exact test: 256 sign vectors of the entries' sums.
    sums = (a["AP"] - b["AP"]).groupby(a["entry"]).sum().to_numpy()
    signs = 1 - 2 * (np.arange(256)[:, None] >> np.arange(8) & 1)
    assert row["p_value"] == (np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9).mean()
    for _, family in table.groupby(["split", "prompt_type", "metric"]):
        smallest = family["p_value"].idxmin()
        assert family["p_holm"][smallest] == min(1.0, 3 * family["p_value"][smallest])


def test_no_interval_exceeds_what_can_be_reached(methods):
    """Perfect rankings by one method; with other entries the ceiling could be higher, and its interval says how much."""
    best = methods["zoo", "clip", "pretrained"]
    for metric in all_metrics(KS):
        ceiling = metric.ceiling(best["n_exemplars"].to_numpy(), best["n_candidates"].to_numpy())
        best[metric.column] = np.where(best["valid"], ceiling, NAN)
    table = tables.summary_table(methods, "sample", KS, RESAMPLING)
    assert (table["ci_high"] <= table["ceiling_high"]).all() and (table["ceiling_low"] <= table["ceiling"]).all()
    perfect = table[(table["split"] == "zoo") & (table["extractor"] == "clip")].set_index(["prompt_type", "metric"])
    assert perfect["value"].tolist() == pytest.approx(perfect["ceiling"].tolist(), abs=1e-15)
    recall, average = perfect.loc["gpt", "recall@5"], perfect.loc["gpt", "mAP"]
    assert recall["ceiling"] < recall["ci_high"] <= recall["ceiling_high"] < 1 and recall["ci_low"] < recall["value"]
    assert average["ceiling_low"] == average["ceiling_high"] == average["ci_high"] == 1 and average["ci_low"] < 0.8


def test_a_ceiling_that_all_entries_share_bounds_the_interval():
    """Recall at 5 of entries of 8 exemplars each is 5 / 8 at most, for any other such entry too."""
    table = method_table(0, ("gpt",))
    table["n_exemplars"], table["recall@5"] = 8, 5 / 8
    row = (
        tables.summary_table({("zoo", "clip", "tuned"): table}, "sample", KS, RESAMPLING)
        .set_index("metric")
        .loc["recall@5"]
    )
    assert (
        row["ci_low"] < 0.45
        and row[["value", "ci_high", "ceiling", "ceiling_low", "ceiling_high"]].tolist() == [5 / 8] * 5
    )


def test_a_cut_off_that_no_ranking_can_miss_is_left_out_and_said(methods):
    settings = "sample", KS, RESAMPLING
    assert tables.left_out(methods, KS) == []
    methods = {key: table.assign(n_candidates=table["n_exemplars"] + 9) for key, table in methods.items()}
    for table in (
        tables.summary_table(methods, *settings), tables.comparisons_table(methods, *settings),
        tables.breakdown_table(methods, *settings),
    ):  # fmt: skip
        assert {"recall@5", "mAP"} <= {*table["metric"]} <= {*METRICS} - {"recall@10"}
    assert list(tables.split_table(methods, "art", KS))[2:] == ["media-recall@5", "media-mAP"]
    sentences = tables.left_out(methods, KS)
    assert len(sentences) == 2 and "zoo: recall@10" in sentences[0] and "only 10 candidates" in sentences[0]


def test_labels_stand_in_the_last_columns(methods):
    labels = {
        Method("dino", "tuned"): "DINO, tuned",
        Method("dino", "pretrained"): "DINO",
        Method("clip", "pretrained"): "C",
    }
    table = tables.with_labels(tables.summary_table(methods, "sample", KS, RESAMPLING), labels)
    assert list(table)[-1] == "label" and table["label"].iloc[0] == "DINO, tuned" and table["label"].iloc[-1] == "C"
    pairs = tables.with_labels(tables.comparisons_table(methods, "sample", KS, RESAMPLING), labels)
    assert list(pairs)[-2:] == ["label_a", "label_b"] and pairs.iloc[0, -2:].tolist() == ["DINO, tuned", "DINO"]


def test_one_method_has_nothing_to_compare(methods):
    one = {key: table for key, table in methods.items() if key[1:] == ("dino", "tuned")}
    assert tables.comparisons_table(one, "sample", KS, RESAMPLING).empty


def test_a_query_invalid_for_one_method_is_not_compared(methods):
    methods["art", "clip", "pretrained"] = method_table(5, ("media",), invalid=("0/media/0.png", "0/media/1.png"))
    table = tables.comparisons_table(methods, "sample", KS, RESAMPLING)
    assert table[table["split"] == "art"]["n_queries"].tolist() == [24, 22, 22] * len(METRICS)


def test_queries_that_two_methods_ranked_among_other_images_are_counted(methods):
    """An exemplar, or images of the database, that are invalid for one method alone."""
    table = methods["art", "clip", "pretrained"]
    table.loc[2:3, "n_exemplars"] += 1
    table.loc[3:4, "n_candidates"] -= 1
    table.loc[5, ["valid", "n_candidates"]] = False, 1  # of an invalid query nothing is compared
    found = tables.comparisons_table(methods, "sample", KS, RESAMPLING)
    note = "of 3 queries one method had fewer images: some are invalid for it alone"
    assert found[found["split"] == "art"]["note"].tolist() == ["", note, note] * len(METRICS)
    assert set(found[found["split"] == "zoo"]["note"]) == {""}


def test_the_breakdown(methods):
    table = tables.breakdown_table(methods, "sample", KS, RESAMPLING)
    summary = tables.summary_table(methods, "sample", KS, RESAMPLING)
    assert list(table) == [*list(summary)[:5], "group", "level", *list(summary)[5:]]
    one = table[(table["split"] == "art") & (table["variant"] == "tuned") & (table["metric"] == "mAP")]
    levels = [("exemplars", level) for level in ("1", "2", "3-4", "65+")] + [("category", "NA"), ("category", "dog")]
    assert list(one[["group", "level"]].itertuples(index=False, name=None)) == levels
    assert one["n_entries"].tolist() == [2, 3, 2, 1, 1, 6]
    assert one["ci_low"].isna().tolist() == [True] * 5 + [False]
    assert one["note"].tolist() == ["no interval: fewer than 6 entries"] * 5 + [""]
    source = methods["art", "dino", "tuned"]
    assert one["value"].iloc[5] == pytest.approx(source[source["category"] == "dog"]["AP"].mean(), abs=1e-15)
    bins = table[(table["group"] == "exemplars")].groupby(["split", "prompt_type", "extractor", "variant", "metric"])
    total = summary.groupby(["split", "prompt_type", "extractor", "variant", "metric"])
    assert (bins["n_queries"].sum() == total["n_queries"].sum()).all()
    assert (bins["n_invalid"].sum() == total["n_invalid"].sum()).all()


def test_the_table_of_database_sizes():
    """At each size, and last for the whole, what the summary would be if that were all of the database."""
    rankings = [four_entries("dino", 0), four_entries("clip", 1), four_entries("dino", 2, "art", ("media",))]
    table = tables.sizes_table(rankings, "sample", KS, RESAMPLING)
    assert list(table) == [*tables.SUMMARY_COLUMNS[:5], "database_size", *tables.SUMMARY_COLUMNS[5:]]
    keys = ["split", "prompt_type", "extractor", "database_size", "metric"]
    groups = [("zoo", "object", "dino"), ("zoo", "object", "clip"), ("zoo", "gpt", "dino"), ("zoo", "gpt", "clip")]
    assert list(table[keys].itertuples(index=False, name=None)) == [
        (*group, size, metric)
        for group in [*groups, ("art", "media", "dino")]
        for size in (10, 50, 100)
        for metric in (METRICS if size > 10 else BELOW_10)
    ]
    for s, (size, n_valid) in enumerate([(10, 7), (50, 47), (100, 97)]):
        alone = {}
        for ranking in rankings:
            ranks = [*ranking.ranks_at, ranking.ranks][s]
            at_size = dataclasses.replace(ranking, ranks=ranks, n_database=n_valid)
            alone[ranking.split, *ranking.method] = query_table(at_size, KS)
        expected = tables.summary_table(alone, "sample", KS, RESAMPLING)
        found = table[table["database_size"] == size].drop(columns="database_size").reset_index(drop=True)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
        chance = found[(found["split"] == "art") & (found["metric"] == "recall@5")]["chance"].item()
        assert chance == pytest.approx(np.mean(5 / (n_valid + np.arange(1, 5))))


def test_database_sizes_in_hand_worked_numbers():
    ranking = four_entries("dino", 0, sizes=(10,))
    lengths = np.diff(ranking.offsets)
    ranking.ranks_at[0] = np.concatenate([2 * np.arange(1, n + 1) for n in lengths])  # ranks 2, 4, ..: precision 1 / 2
    table = tables.sizes_table([ranking], "sample", KS, RESAMPLING)
    found = table[table["database_size"] == 10].set_index(["prompt_type", "metric"])["value"]
    assert found["gpt", "mAP"] == found["object", "mAP"] == 0.5
    assert found["gpt", "recall@5"] == pytest.approx((1 + 1 + 2 / 3 + 2 / 4) / 4)  # 2 of 3 and 2 of 4 up to rank 5


def test_no_database_sizes_are_only_a_header(tmp_path):
    table = tables.sizes_table([four_entries("dino", 0, sizes=())], "sample", KS, RESAMPLING)
    assert table.empty and list(table) == list(tables.SIZE_COLUMNS)
    write_table(tmp_path / "t.csv", table)
    assert (tmp_path / "t.csv").read_text() == ",".join(tables.SIZE_COLUMNS) + "\n"


def test_a_size_that_is_the_whole_database_is_there_once():
    table = tables.sizes_table([four_entries("dino", 0, sizes=(10, 100))], "sample", KS, RESAMPLING)
    assert table["database_size"].tolist() == [*[10] * len(BELOW_10), *[100] * len(METRICS)] * 2


def test_the_database_sizes_are_read_as_they_were_written(tmp_path):
    table = tables.sizes_table([four_entries("dino", 0)], "sample", KS, RESAMPLING)
    write_table(tmp_path / "t.csv", table)
    pd.testing.assert_frame_equal(tables.read_summary(tmp_path / "t.csv"), table, check_dtype=False, check_exact=True)


def test_near_duplicates_are_listed_nearest_first():
    first = [("b.jpg", "db/2.jpg", 0.96), ("a.jpg", "db/9.jpg", 0.96), ("a.jpg", "db/1.jpg", 0.96), ("c.jpg", "x", 1.0)]
    rankings = [
        four_entries("dino", 0, near=first),
        four_entries("clip", 1),
        four_entries("sscd", 1, near=[("a.jpg", "y", 0.99)]),
    ]
    table = tables.near_duplicates_table(rankings)
    assert list(table) == ["split", "extractor", "variant", "exemplar", "database_image", "similarity"]
    assert list(table.itertuples(index=False, name=None)) == [
        ("zoo", "dino", "pretrained", "c.jpg", "x", 1.0),
        ("zoo", "dino", "pretrained", "a.jpg", "db/1.jpg", 0.96),
        ("zoo", "dino", "pretrained", "a.jpg", "db/9.jpg", 0.96),
        ("zoo", "dino", "pretrained", "b.jpg", "db/2.jpg", 0.96),
        ("zoo", "sscd", "pretrained", "a.jpg", "y", 0.99),
    ]
    assert list(tables.near_duplicates_table([four_entries("clip", 1)])) == list(table)


def test_missing_variants_are_listed_in_their_order():
    missing = [["dino", "mlp", "weights/mapper/dino_mlp.pth"], ["clip", "mlp", "weights/mapper/clip_mlp.pth"]]
    table = tables.missing_variants_table(missing)
    assert list(table) == ["extractor", "variant", "file"] and table.to_numpy().tolist() == missing
    assert list(tables.missing_variants_table([])) == list(table)


def test_what_was_left_out_is_listed_by_collection(tmp_path):
    lists = {"db": [("hidden", "", 2, "others/.a"), ("ending", ".txt", 1, "NA")], "mine": []}
    for name, rows in lists.items():
        write_left_out(tmp_path / f"{name}.csv", name, [LeftOut(*row) for row in rows])
    table = tables.left_out_table(tmp_path / f"{name}.csv" for name in lists)
    assert tuple(table) == tables.LEFT_OUT_COLUMNS
    assert table.to_numpy().tolist() == [["db", *row] for row in lists["db"]]


def test_every_number_of_exemplars_has_one_bin():
    for m in range(1, 200):
        assert sum(low <= m <= (high or m) for low, high in tables.EXEMPLAR_BINS) == 1


def test_a_prompt_type_without_valid_queries_is_empty(tmp_path):
    queries = [f"{entry}/gpt/{i}.png" for entry in range(8) for i in range(3)]
    methods = {("zoo", "clip", "tuned"): method_table(0, ("gpt",), invalid=queries)}
    summary = tables.summary_table(methods, "sample", KS, RESAMPLING)
    assert summary[["value", "ci_low", "chance", "ceiling", "ceiling_high"]].isna().all(axis=None)
    assert set(summary["n_invalid"]) == {24} and set(summary["n_entries"]) == {0} and len(summary) == len(METRICS)
    write_table(tmp_path / "zoo.csv", tables.split_table(methods, "zoo", KS))
    assert (tmp_path / "zoo.csv").read_text().split("\n")[1] == "clip_tuned,clip,,,"


def test_methods_must_list_the_same_queries(methods):
    methods["zoo", "clip", "pretrained"] = methods["zoo", "clip", "pretrained"].iloc[1:]
    with pytest.raises(InputError, match="zoo: clip_pretrained lists other queries than dino_tuned"):
        tables.summary_table(methods, "sample", KS, RESAMPLING)
    with pytest.raises(InputError, match="no metrics of split sea; found art, zoo"):
        tables.split_table(methods, "sea", KS)
    with pytest.raises(InputError, match=r"art by dino_tuned: no column recall@7"):
        tables.split_table(methods, "art", [7])


def test_a_second_run_gives_the_same_bytes(tmp_path, methods):
    for number in (1, 2):
        for name in ("summary_table", "breakdown_table", "comparisons_table"):
            frame = getattr(tables, name)(methods, "sample", KS, RESAMPLING)
            write_table(tmp_path / f"{name}{number}.csv", frame)
            assert (tmp_path / f"{name}{number}.csv").read_bytes() == (tmp_path / f"{name}1.csv").read_bytes()
