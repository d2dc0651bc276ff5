"""Variants that are tuned: which splits and extractors they take, and entries that are refused."""

import pytest
from attribench.common.errors import InputError
from attribench.plan.config import load
from attribench.plan.plan import Plan
from helpers.config import assert_refused, changed

REFUSED = {
    "an unknown head": (dict(tune__x={"head": "liner"}), ["tune.x.head", "did you mean `linear`?"]),
    "a penalty of a head without a matrix": (
        dict(tune__x={"head": "mlp", "penalty": 0.5}),
        ["key `tune.x`: the head `mlp` has no `penalty`; expected none, or `head: linear`"],
    ),
    "the width of a head without layers": (
        dict(tune__x={"hidden": 64}),
        ["key `tune.x`: the head `linear` has no `hidden`; expected none, or `head: mlp` or `head: layer_norm_mlp`"],
    ),
    "outputs of a head that keeps the dimension": (
        dict(tune__x={"head": "channel", "outputs": 256}),
        ["the head `channel` has no `outputs`"],
    ),
    "layers of a head that has four": (
        dict(tune__x={"head": "layer_norm_mlp", "layers": 2}),
        ["the head `layer_norm_mlp` has no `layers`; expected none, or `head: mlp`"],
    ),
    "a width between layers of which there is one": (
        dict(tune__x={"head": "mlp", "layers": 1, "hidden": 64}),
        ["key `tune.x`: one layer leads from the features to `outputs`; expected no `hidden`, or more `layers`"],
    ),
    "a penalty below 0": (
        dict(tune__x={"penalty": -1}),
        ["key `tune.x.penalty`: found -1; expected a list of one or more, each a number, at least 0"],
    ),
    "a penalty that YAML takes for text": (
        dict(tune__x={"penalty": ["0", "2e9"]}),
        ["key `tune.x.penalty.1`: found 2e9; expected a number, at least 0 and at most 1,000,000"],
    ),
    "a penalty that is none": (
        dict(tune__x={"penalty": "big"}),
        ["key `tune.x.penalty`: found 'big'; expected a list"],
    ),
    "training splits that are not there": (
        dict(variants=["x"], tune__x={"train": "styl", "extractors": "color"}),
        ["tune.x.train", "`styl`", "sample_style_train", "benchmarks.sample.tuning: style, object"],
    ),
    "val splits that are trained on": (
        dict(variants=["x"], tune__x={"val": ["sample_style_train"], "extractors": ["color"]}),
        ["tune.x.val", "sample_style_train is trained on too"],
    ),
    "nothing to validate on": (
        dict(variants=["x"], tune__x={"train": "sample_style_train"}, benchmarks__sample__tuning={}),
        [
            "tune.x.val",
            "expected some of sample_style, sample_object, sample_style_train, ",
            "or benchmarks.sample.tuning",
        ],
    ),
    "an extractor to tune that is not there": (
        dict(variants=["x"], tune__x={"extractors": ["colour"]}),
        ["tune.x.extractors", "did you mean `color`?"],
    ),
    "a tuned variant with the name of another": (dict(tune__mlp={}), ["tune.mlp", "the name is taken"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_key_and_what_is_valid(name):
    assert_refused(*REFUSED[name])


def tuned_plan(tmp_path, **changes):
    """Return the plan of the sample with results below `tmp_path`, without the splits that influence needs."""
    return Plan(load(changed(**{"results": str(tmp_path / "results"), "influence": False, **changes})))


def test_tuned_variants_name_their_splits_and_extractors(tmp_path):
    default = tuned_plan(tmp_path, influence=False)
    tuned = [("efficientnet_lite0", "tuned_linear"), ("efficientnet_lite0", "tuned_channel")]
    assert [*map(tuple, default.tuned_methods)] == tuned
    assert len(default.methods) == 3 + 2
    training = ["sample_style_train", "sample_object_train", "sample_style_val", "sample_object_val"]
    assert list(default.collections) == ["sample_database", "sample_style", "sample_object", *training]
    assert all(default.extractors_for(c) == ["efficientnet_lite0"] for c in training)
    # Without such a variant, no split is read for it.
    assert len(tuned_plan(tmp_path, influence=False, variants=["pretrained"]).collections) == 3
    assert len(tuned_plan(tmp_path, influence=False, extractors=["color"]).collections) == 3
    # The published ablation is one line.
    ablation = tuned_plan(tmp_path, variants=["tuned_linear", "tuned_style", "tuned_object"])
    splits = {variant: ablation.config.tuning_splits(variant) for variant in ablation.tuned}
    assert splits["tuned_style"] == (["sample_style_train"], ["sample_style_val"])
    assert splits["tuned_object"] == (["sample_object_train"], ["sample_object_val"])
    assert splits["tuned_linear"] == (training[:2], training[2:])
    own = tuned_plan(tmp_path, variants=["x"], tune__x={"train": "style", "val": "object", "extractors": "color"})
    assert own.config.tuning_splits("x") == (["sample_style_train"], ["sample_object_val"])
    assert own.tuned_extractors("sample_object_val") == ["color"] and not own.tuned_extractors("sample_style_val")


def test_extractors_without_a_tuned_variant_are_named_with_the_reason(tmp_path):
    variants = ["pretrained", "tuned_linear", "tuned_style", "x"]
    plan = tuned_plan(tmp_path, variants=variants, tune__x={"extractors": ["color"]})
    of_benchmark = (
        "benchmarks.sample.tuned_extractors (efficientnet_lite0); for a variant of its own, `extractors` in its entry below "
        "`tune` replaces that list"
    )
    assert plan.left_out == [
        f"tuned_linear, tuned_style for color, untrained: not in {of_benchmark}",
        "x for efficientnet_lite0, untrained: not in tune.x.extractors (color)",
    ]
    assert not tuned_plan(tmp_path, variants=variants[:3], extractors=["efficientnet_lite0"]).left_out
    with pytest.raises(InputError) as error:
        tuned_plan(tmp_path, variants=["tuned_linear"], extractors=["color"])
    message = "config keys extractors, variants: no method is left; expected an extractor with a variant that it has:"
    assert str(error.value) == f"{message}\n  tuned_linear for color: not in {of_benchmark}"


def test_networks_in_another_precision_take_the_mappers_of_the_first(tmp_path):
    changes = {
        "compare_precisions": ["bf16"],
        "variants": ["pretrained", "tuned_linear"],
        "extractors": ["efficientnet_lite0"],
    }
    plan = tuned_plan(tmp_path, **changes)
    assert ("efficientnet_lite0_bf16", "tuned_linear") in plan.methods
    assert [*map(tuple, plan.tuned_methods)] == [("efficientnet_lite0", "tuned_linear")]
    assert plan.extractors_for("sample_style_train") == ["efficientnet_lite0"]
