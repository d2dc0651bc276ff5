"""Variants below `tune`: their splits, extractors and methods."""

from attribench.plan.config import load
from attribench.plan.plan import Plan
from helpers.config import changed


def tuned_plan(tmp_path, **changes):
    """Return the plan of the sample with results below `tmp_path`."""
    return Plan(load(changed(**{"results": str(tmp_path / "results"), **changes})))


def test_tuned_variants_name_their_splits_and_extractors(tmp_path):
    default = tuned_plan(tmp_path)
    tuned = [("efficientnet_lite0", "tuned_linear"), ("efficientnet_lite0", "tuned_channel")]
    assert [*map(tuple, default.tuned_methods)] == tuned
    assert len(default.methods) == 3 + 2
    training = ["sample_style_train", "sample_object_train", "sample_style_val", "sample_object_val"]
    assert list(default.collections) == ["sample_database", "sample_style", "sample_object", *training]
    assert all(default.extractors_for(c) == ["efficientnet_lite0"] for c in training)
    # Without such a variant, no split is read for it.
    assert len(tuned_plan(tmp_path, variants=["pretrained"]).collections) == 3
    assert len(tuned_plan(tmp_path, extractors=["color"]).collections) == 3
    # The published ablation is one line.
    ablation = tuned_plan(tmp_path, variants=["tuned_linear", "tuned_style", "tuned_object"])
    splits = {variant: ablation.config.tuning_splits(variant) for variant in ablation.tuned}
    assert splits["tuned_style"] == (["sample_style_train"], ["sample_style_val"])
    assert splits["tuned_object"] == (["sample_object_train"], ["sample_object_val"])
    assert splits["tuned_linear"] == (training[:2], training[2:])
    own = tuned_plan(tmp_path, variants=["x"], tune__x={"train": "style", "val": "object", "extractors": "color"})
    assert own.config.tuning_splits("x") == (["sample_style_train"], ["sample_object_val"])
    assert own.tuned_extractors("sample_object_val") == ["color"] and not own.tuned_extractors("sample_style_val")


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
