"""influence.csv: every number by hand, intervals that hold what they are for, and notes where there are none."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from attribench.common.tables_io import read_table, write_table
from attribench.formats.influence import LEVELS, N_BINS
from attribench.tables import statistics
from attribench.tables.influence import COLUMNS, coverage, influence_table
from helpers.influences import influence_with
from helpers.rankings import RESAMPLING, make_ranking

pytestmark = pytest.mark.filterwarnings("error")
NAN = math.nan
PROMPTS = ["gpt", "gpt", "gpt", "object"]
TINY = make_ranking([[1, 3], [2], [], [1, 2]], [0, 1, 1, 0], PROMPTS, extractor="clip", variant="tuned")
TINY_INFLUENCE = {
    "exemplar": [0.5, 0.1, 0.2, 0.9, 0.0],
    "above": [0.0, 0.7, 0.4, 0.0, 0.9],
    "log_likelihood": [-1, -2, NAN, -np.inf],
    "log_likelihood_uniform": [-5, -5, NAN, -5],
    "log_likelihood_uncalibrated": [-4, -7, NAN, -4],
    "effective_number": [4, 9, NAN, 1.5],
    "set_size": [[1, 2, 3, 4], [4, 8, 12, 16], [NAN] * 4, [1, 1, 2, 3]],
    "predicted": {(0, 10): 0.6, (0, 12): 0.4, (1, 10): 0.5, (1, 12): 0.5, (3, 16): 1.0},
    "observed": {(0, 10): 1.0, (1, 12): 1.0, (3, 16): 0.5, (3, 0): 0.5},
}


def table_of(ranking, influence, calibrated_on=("style_val", "object_val")):
    return influence_table([(ranking, influence)], "sample", {ranking.method: calibrated_on}, RESAMPLING)


def values_of(table, prompt_type="gpt"):
    rows = table[table["prompt_type"] == prompt_type]
    return dict(zip(rows["metric"], rows["value"], strict=True))


def test_every_metric_by_hand():
    found = values_of(table_of(TINY, influence_with(TINY, **TINY_INFLUENCE)))
    assert 0 < found.pop("calibration_error_if_calibrated") < 0.5  # of exemplars drawn at random: see below
    assert found == pytest.approx(
        {
            "log_likelihood": -1.5,
            "log_likelihood_uniform": -5,
            "log_likelihood_uncalibrated": -5.5,
            "log_likelihood_ceiling": -math.log(2) / 2,  # of one query with two exemplars, and of one with one
            "gain_over_uniform": 3.5,
            "gain_over_uncalibrated": 4.0,
            "mass_on_exemplars": 0.4,  # of 0.6 and 0.2
            "coverage@0.5": 0.5,  # one of two exemplars, and half of one, before which are 0.4
            "coverage@0.8": 1,
            "coverage@0.9": 1,
            "coverage@0.95": 1,
            "effective_number": 6,  # the geometric mean of 4 and 9
            "set_size@0.5": 2,
            "set_size@0.8": 4,
            "set_size@0.9": 6,
            "set_size@0.95": 8,
            "calibration_error": 0.05,  # bins 10 and 12 are 0.1 off, of two queries; half of that is elsewhere twice
        }
    )


def test_an_exemplar_without_influence_is_in_no_set_and_makes_the_likelihood_0():
    influence = influence_with(TINY, **TINY_INFLUENCE)
    assert coverage(TINY, influence)[3].tolist() == pytest.approx([0.5 / 0.9 / 2, 0.8 / 0.9 / 2, 0.5, 0.5])
    found = values_of(table_of(TINY, influence), "object")
    names = ("log_likelihood", "gain_over_uniform", "gain_over_uncalibrated", "log_likelihood_uniform")
    assert [found[name] for name in names] == [-math.inf] * 3 + [-5]
    assert found["calibration_error"] == 0.5


def test_rows_say_what_they_are_of():
    table = table_of(TINY, influence_with(TINY, **TINY_INFLUENCE))
    assert tuple(table.columns) == COLUMNS and len(table) == 2 * 18
    first = table.iloc[0]
    assert first[["benchmark", "split", "extractor", "variant"]].tolist() == ["sample", "style", "clip", "tuned"]
    assert set(table["calibrated_on"]) == {"style_val, object_val"}
    counts = table.groupby("prompt_type")[["n_queries", "n_entries"]].first().to_numpy().tolist()
    assert counts == [[2, 2], [1, 1]]


def test_fewer_than_six_entries_have_no_interval_and_a_note():
    table = table_of(TINY, influence_with(TINY, **TINY_INFLUENCE))
    assert table[["ci_low", "ci_high"]].isna().all(axis=None)
    impossible = "; an exemplar has no influence"
    few = "no interval: fewer than 6 entries"
    assert set(table["note"]) == {few, few + impossible}
    assert set(table["metric"][table["note"].str.endswith(impossible)]) == set(
        table["metric"][np.isneginf(table["value"])]
    )
    own = table_of(TINY, influence_with(TINY, **TINY_INFLUENCE), calibrated_on=["style_val", "style"])
    assert set(own["note"]) == {f"{few}; calibrated on this split", f"{few}; calibrated on this split{impossible}"}


def many(n_entries, seed=0):
    """Return a ranking of two queries of each entry, and influence that says of every number something else."""
    rng, n = np.random.default_rng(seed), 2 * n_entries
    ranking = make_ranking([[1, 2]] * n, np.arange(n) // 2, ["gpt"] * n)
    shares = rng.dirichlet(np.ones(N_BINS), n)
    changes = {
        "exemplar": 0.5 * rng.random(2 * n),
        "above": np.sort(rng.random((n, 2)), axis=1).ravel(),
        "log_likelihood": -rng.random(n),
        "log_likelihood_uniform": np.full(n, -5.0),
        "log_likelihood_uncalibrated": -4 - rng.random(n),
        "effective_number": 1 + 10 * rng.random(n),
        "set_size": 1 + rng.integers(0, 9, (n, len(LEVELS))).cumsum(axis=1),
        "predicted": shares,
        "observed": np.roll(shares, 1, axis=0),
    }
    return ranking, influence_with(ranking, **changes)


@pytest.mark.parametrize("n_entries", [6, 24])
def test_with_six_entries_every_metric_has_an_interval_around_it(n_entries):
    table = table_of(*many(n_entries)).set_index("metric")
    assert set(table["note"]) == {""} and set(table["n_entries"]) == {n_entries}
    # What all queries have alike leaves no width.
    wide = table.drop(["log_likelihood_uniform", "log_likelihood_ceiling", "calibration_error_if_calibrated"])
    assert (wide["ci_low"] < wide["ci_high"]).all()
    means = wide.drop("calibration_error")
    assert (means["ci_low"] < means["value"]).all() and (means["value"] < means["ci_high"]).all()
    shares = table[table.index.str.contains("coverage|mass")]
    assert (shares["ci_low"] >= 0).all() and (shares["ci_high"] <= 1).all()


def test_an_impossible_exemplar_leaves_no_interval_of_the_likelihood_alone():
    ranking, influence = many(8)
    influence.log_likelihood[3] = -np.inf
    rows = table_of(ranking, influence).set_index("metric")
    without = {"log_likelihood", "gain_over_uniform", "gain_over_uncalibrated"}
    rows = rows.drop("calibration_error_if_calibrated")  # which never has an interval
    assert set(rows.index[rows["ci_low"].isna()]) == set(rows.index[np.isneginf(rows["value"])]) == without


def test_a_perfectly_calibrated_method_has_no_error():
    """Each query has other shares than were predicted, and all of them together have just those."""
    n = 12
    ranking = make_ranking([[1]] * n, np.arange(n) // 2, ["gpt"] * n)
    predicted, observed = np.zeros((2, n, N_BINS))
    predicted[:, [9, 11]] = 0.25, 0.75
    observed[np.arange(n), [9, 11, 11, 11] * 3] = 1
    influence = influence_with(ranking, predicted=predicted, observed=observed, effective_number=np.ones(n))
    found = values_of(table_of(ranking, influence))
    assert found["calibration_error"] == 0
    off = influence_with(ranking, predicted=predicted, observed=np.roll(observed, 1, axis=1))
    assert values_of(table_of(ranking, off))["calibration_error"] == 1


def test_what_chance_makes_of_a_calibrated_methods_error():
    """One entry whose two bins are as likely: its exemplar is in one of them, which is half of the influence off."""
    ranking = make_ranking([[1]] * 3, [0, 0, 0], ["gpt"] * 3)
    even, sure = {(q, b): 0.5 for q in range(3) for b in (4, 9)}, {(q, 7): 1.0 for q in range(3)}
    errors = [
        values_of(table_of(ranking, influence_with(ranking, predicted=predicted)))["calibration_error_if_calibrated"]
        for predicted in (even, sure)
    ]
    assert errors == pytest.approx([0.5, 0])
    # Of many entries, the errors of which mostly cancel: the mean of |binomial - n / 2| / n.
    n = 400
    ranking = make_ranking([[1]] * n, np.arange(n), ["gpt"] * n)
    even = {(q, b): 0.5 for q in range(n) for b in (4, 9)}
    found = values_of(table_of(ranking, influence_with(ranking, predicted=even)))["calibration_error_if_calibrated"]
    assert found == pytest.approx(math.sqrt(1 / (2 * math.pi * n)), rel=0.15)


def test_the_gain_over_pretrained_is_paired():
    tuned, influence = many(8)
    base = dataclasses.replace(tuned, variant="pretrained")
    shifted = dataclasses.replace(influence, log_likelihood=influence.log_likelihood - 0.25)
    methods = [(base, shifted), (dataclasses.replace(tuned, variant="tuned"), influence)]
    table = influence_table(methods, "sample", {r.method: ["val"] for r, _ in methods}, RESAMPLING)
    [row] = table[table["metric"] == "gain_over_pretrained"].to_dict("records")
    assert row["variant"] == "tuned"
    assert (row["value"], row["ci_low"], row["ci_high"]) == pytest.approx((0.25, 0.25, 0.25))


@pytest.mark.parametrize(("of_both", "value"), [(False, np.inf), (True, np.nan)])
def test_a_gain_over_what_is_impossible_is_noted(of_both, value):
    """No other query may stand for one that is impossible by both, which has no difference."""
    tuned, influence = many(8)
    base = dataclasses.replace(influence, log_likelihood=influence.log_likelihood.copy())
    for one in (base, influence) if of_both else (base,):
        one.log_likelihood[3] = -np.inf
    methods = [
        (dataclasses.replace(tuned, variant="pretrained"), base),
        (dataclasses.replace(tuned, variant="t"), influence),
    ]
    table = influence_table(methods, "sample", {r.method: ["val"] for r, _ in methods}, RESAMPLING)
    [row] = table[table["metric"] == "gain_over_pretrained"].to_dict("records")
    np.testing.assert_equal((row["value"], row["ci_low"], row["ci_high"]), (value, np.nan, np.nan))
    assert row["note"] == "an exemplar has no influence"


def test_a_prompt_type_without_valid_queries_is_empty():
    ranking = make_ranking([[1, 3], [2], [], []], [0, 1, 1, 0], ["gpt", "gpt", "object", "object"])
    table = table_of(ranking, influence_with(ranking))
    rows = table[table["prompt_type"] == "object"]
    assert len(rows) == 18 and rows[["value", "ci_low", "ci_high"]].isna().all(axis=None)
    assert set(rows["n_queries"]) == set(rows["n_entries"]) == {0}


def test_numbers_are_read_as_they_were_written(tmp_path):
    written = table_of(TINY, influence_with(TINY, **TINY_INFLUENCE))
    write_table(tmp_path / "influence.csv", written)
    types = dict.fromkeys(COLUMNS, "object") | dict.fromkeys(["value", "ci_low", "ci_high"], "float64")
    found = read_table(tmp_path / "influence.csv", "table", types | {"n_queries": "int64", "n_entries": "int64"})
    pd.testing.assert_frame_equal(found, written, check_exact=True, check_dtype=False)
    assert np.isneginf(found["value"]).sum() == 3
    assert ",-inf,," in (tmp_path / "influence.csv").read_text()


@pytest.mark.parametrize("n_entries", [6, 8, 12, 24])
def test_intervals_of_numbers_without_bounds_hold_their_mean(n_entries):
    rng, inside = np.random.default_rng(n_entries), []
    for _ in range(2000):
        entry = np.repeat(np.arange(n_entries), rng.integers(1, 9, n_entries))
        values = rng.normal(-3, 1, n_entries)[entry] + 0.3 * rng.standard_normal(len(entry))
        low, high = statistics.t_interval(values, entry, 0.95)
        inside.append(low <= -3 <= high)
    assert 0.91 <= np.mean(inside) <= 0.98


@pytest.mark.parametrize("n_entries", [6, 8, 12, 24])
def test_bootstrap_intervals_hold_what_they_are_for(n_entries):
    """The intervals of six entries hold it in about 92 % of cases: few entries show too little of their spread."""
    rng, inside = np.random.default_rng(n_entries), []
    for seed in range(100):
        counts = rng.integers(4, 9, n_entries)  # as entries have it, apart from images that cannot be read
        sums = rng.normal(0.3, 0.1, (n_entries, 30)) * counts[:, None]
        low, high = statistics.bootstrap(
            lambda draws, sums=sums, counts=counts: (draws @ sums) / (draws @ counts)[:, None],
            n_entries,
            statistics.Resampling(samples=2000, seed=seed),
        )
        inside.append((low <= 0.3) & (0.3 <= high))
    assert 0.91 <= np.mean(inside) <= 0.98
