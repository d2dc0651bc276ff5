"""Influence by config: what it is calibrated on, which files it adds to a run, and choices that are refused."""

import pytest
from attribench.common.errors import InputError
from attribench.plan.config import load
from attribench.plan.paths import FIGURE_ENDINGS
from attribench.plan.plan import Plan
from helpers.config import assert_refused, changed

NOTHING_TO_CALIBRATE_ON = "config key influence: there is nothing to calibrate the influence of variant"
VAL = ["sample_style_val", "sample_object_val"]

REFUSED = {
    "with hard negatives": (
        dict(influence=True, hard_negatives=True),
        ["influence, hard_negatives are both true", "expected one of them to be false"],
    ),
    "nothing to calibrate on": (
        dict(influence=True, variants=["pretrained"], benchmarks__sample__tuning={}),
        [f"{NOTHING_TO_CALIBRATE_ON} pretrained on", "`calibration_splits` (of sample_style, ", "`influence: false`"],
    ),
    "nothing to calibrate a second variant on": (
        dict(benchmark="abc", influence=True, variants=["tuned", "channel"], benchmarks__abc__tuning={}),
        [f"{NOTHING_TO_CALIBRATE_ON} channel on", "artchive"],
    ),
    "an unknown split": (
        dict(calibration_splits=["sample_stile_val"]),
        ["calibration_splits", "unknown value `sample_stile_val`; did you mean `sample_style_val`?"],
    ),
    "an unknown group": (
        dict(calibration_splits="styl"),
        ["calibration_splits", "unknown value `styl`", "; or groups of benchmarks.sample.tuning: style, object"],
    ),
    "what a variant is trained on": (
        dict(variants=["tuned_style"], calibration_splits=["object", "sample_style_train"]),
        ["calibration_splits: sample_style_train trains the mappers of tuned_style"],
    ),
    "a group called as a split": (
        dict(benchmarks__sample__tuning__sample_style={"train": ["sample_style_train"], "val": ["sample_style_val"]}),
        ["benchmarks.sample.tuning: sample_style is a split's name too"],
    ),
    "no text": (dict(influence="perhaps"), ["`influence`", "'perhaps'"]),
    "an unknown key of a variant": (
        dict(variant_registry__mlp__calibrater="c.pth"),
        ["variant_registry.mlp.calibrater", "did you mean `calibrator`?"],
    ),
    "a number for the path of a calibrator": (
        dict(variant_registry__mlp__calibrator=3),
        ["variant_registry.mlp.calibrator"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_key_and_what_is_valid(name):
    assert_refused(*REFUSED[name])


def test_the_sample_has_influence_and_the_published_benchmark_where_it_is_asked_for():
    assert load(changed()).influence and not load(changed(benchmark="abc")).influence
    assert load(changed(benchmark="abc", influence=True)).influence and not load(changed(influence=False)).influence
    # The sample's default gives way to what is asked for.
    assert not load(changed(influence=False, hard_negatives=True)).influence
    assert not load(changed(hard_negatives=True)).influence


def sample_plan(tmp_path, **changes):
    """Return the plan of the sample, of features as they are, with results below `tmp_path`."""
    return Plan(load(changed(**{"results": str(tmp_path / "results"), "variants": ["pretrained"], **changes})))


@pytest.mark.parametrize(
    ("calibration_splits", "expected"),
    [
        (None, VAL),  # all val splits of the benchmark's groups
        (["style"], VAL[:1]),
        (["object", "style"], VAL[::-1]),
        (["sample_object_val"], VAL[1:]),
        (["style", "sample_style_val", "sample_style_train"], ["sample_style_val", "sample_style_train"]),
    ],
)
def test_calibration_splits_are_splits_or_groups_of_which_val_counts(tmp_path, calibration_splits, expected):
    plan = sample_plan(tmp_path, calibration_splits=calibration_splits)
    assert plan.config.calibrating_splits("pretrained") == expected
    assert set(plan.collections) == {"sample_database", "sample_style", "sample_object", *expected}


def test_a_tuned_variant_is_calibrated_on_its_own_val_splits_unless_others_are_named(tmp_path):
    variants = {"variants": ["pretrained", "tuned_style"]}
    plan = sample_plan(tmp_path, **variants)
    assert plan.config.calibrating_splits("tuned_style") == VAL[:1]
    assert plan.config.calibrating_splits("pretrained") == VAL
    other = sample_plan(tmp_path, calibration_splits="object", **variants)
    assert other.config.calibrating_splits("tuned_style") == VAL[1:]


def test_calibration_ranks_its_splits_by_the_methods_that_need_it_alone(tmp_path):
    changes = {"variants": ["tuned_style", "pretrained"], "extractors": ["efficientnet_lite0", "color"]}
    plan = sample_plan(tmp_path, **changes)
    ranked = {split: [*map(tuple, (m for s, m in plan.ranked if s == split))] for split in (*plan.config.splits, *VAL)}
    both = [("efficientnet_lite0", "pretrained"), ("efficientnet_lite0", "tuned_style"), ("color", "pretrained")]
    assert sorted(ranked["sample_style"]) == sorted(ranked["sample_style_val"]) == sorted(both)
    assert sorted(ranked["sample_object_val"]) == sorted([both[0], both[2]])
    assert plan.extractors_for("sample_object_val") == ["efficientnet_lite0", "color"]
    assert plan.extractors_for("sample_style_train") == ["efficientnet_lite0"]


def test_influence_adds_its_table_and_its_figures_to_the_targets(tmp_path):
    def targets(**changes):
        return {*sample_plan(tmp_path, **changes).targets()}

    results, splits, endings = tmp_path / "results", ("sample_style", "sample_object"), FIGURE_ENDINGS
    figures = {f"{results}/plots/{split}_influence{ending}" for split in splits for ending in endings}
    assert targets() - targets(influence=False) == {f"{results}/tables/influence.csv", *figures}
    assert targets(influence=False) <= targets()
    without = sample_plan(tmp_path, influence=False)
    assert len(without.collections) == 3 and not without.influence_methods
    assert {split for split, _ in without.ranked} == {"sample_style", "sample_object"}


def abc_plan(root, **changes):
    choice = dict(benchmark="abc", root=str(root), splits=["artchive"], extractors=["clip"], influence=True)
    return Plan(load(changed(**choice | changes)))


def test_a_published_calibrator_needs_no_splits_and_is_a_given_file(tmp_path):
    plan = abc_plan(tmp_path, variants=["tuned"], benchmarks__abc__tuning={})
    assert plan.config.calibrating_splits("tuned") == [] and len(plan.collections) == 2
    assert plan.calibrator_file("clip", "tuned") == "weights/calibrator/clip_tuned.pth"
    assert "weights/calibrator/clip_tuned.pth" in plan.given_paths
    plan.refuse_missing_files()  # a source brings it
    assert (
        "weights/calibrator/clip_tuned.pth" not in abc_plan(tmp_path, variants=["tuned"], influence=False).given_paths
    )


def test_a_given_calibrator_that_is_not_there_is_named_before_a_run(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m/clip.pth").write_bytes(b"a mapper")
    mine = {"mapper": "m/{extractor}.pth", "calibrator": "c/{extractor}.pth"}
    changes = {"variants": ["mine"], "variant_registry__mine": mine}
    plan = abc_plan(tmp_path, **changes)
    assert "c/clip.pth" in plan.given_paths
    with pytest.raises(InputError, match=rf"{tmp_path}/c/clip\.pth"):
        plan.refuse_missing_files()
    (tmp_path / "c").mkdir()
    (tmp_path / "c/clip.pth").write_bytes(b"a calibrator")
    plan.refuse_missing_files()
    abc_plan(tmp_path, influence=False, **changes).refuse_missing_files()


def test_networks_in_another_precision_take_the_calibrator_of_the_first(tmp_path):
    plan = abc_plan(tmp_path, variants=["tuned"], compare_precisions=["bf16"])
    assert ("clip_bf16", "tuned") in plan.influence_methods
    assert plan.calibrator_file("clip_bf16", "tuned") == "weights/calibrator/clip_tuned.pth"


def test_methods_of_given_scores_have_no_influence(tmp_path):
    plan = sample_plan(tmp_path, score_methods=["mine"], score_registry={"mine": "{split}.h5"})
    assert {method.variant for method in plan.influence_methods} == {"pretrained"} and len(plan.influence_methods) == 3
