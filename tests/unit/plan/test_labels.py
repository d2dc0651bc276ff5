"""Labels: what tables and figures call methods."""

import json
import re

import pytest
from attribench.common.errors import InputError
from attribench.plan.config import load
from attribench.plan.labels import method_of_sheet, refuse_unknown_queries
from attribench.plan.plan import Plan
from helpers.config import changed


def test_labels_name_extractors_and_variants_and_a_variant_only_where_there_are_several(tmp_path):
    for name in ("clip", "moco"):
        (tmp_path / f"weights/mapper/{name}_tuned.pth").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"weights/mapper/{name}_tuned.pth").touch()
    choice = {"benchmark": "abc", "root": str(tmp_path), "extractors": ["clip", "moco", "color"]}
    assert list(Plan(load(changed(**choice))).labels.values()) == ["clip", "moco", "color"]
    labels = {"extractor_registry__clip__label": "CLIP", "variant_registry__tuned__label": "with its mapper"}
    several = {"variants": ["pretrained", "tuned"], "missing_variants": "skip", "compare_precisions": ["bf16"]}
    plan = Plan(load(changed(**choice, **labels, **several)))
    assert plan.labels["clip", "pretrained"] == "CLIP pretrained"
    assert plan.labels["clip_bf16", "tuned"] == "CLIP bf16 with its mapper"
    assert (plan.labels["moco", "tuned"], plan.labels["color", "pretrained"]) == ("moco with its mapper", "color")


def test_a_method_of_scores_has_a_label_where_its_entry_gives_one():
    registry = {"a": "a_{split}.h5", "b": {"scores": "b_{split}.h5", "label": "Method B"}, "c": {"scores": "c.h5"}}
    plan = Plan(load(changed(score_methods=[*registry], score_registry=registry)))
    assert [plan.labels[name, "scores"] for name in registry] == ["a", "Method B", "c"]
    assert [plan.score_file("x", name) for name in registry] == ["a_x.h5", "b_x.h5", "c.h5"]
    for value, message in (
        (["a.h5"], r"score_registry.a`: found \['a.h5'\]; expected a path, or the keys scores, label"),
        ({"label": "A"}, "score_registry.a.scores` is missing; expected a path"),
        ({"score": "a.h5", "scores": "a.h5"}, "unknown key `score_registry.a.score`; did you mean `scores`"),
    ):
        with pytest.raises(InputError, match=message):
            load(changed(score_registry={"a": value}))


def test_labels_of_plots_go_before_those_of_entries_and_name_parts_or_whole_methods(tmp_path):
    (tmp_path / "weights/mapper").mkdir(parents=True)
    (tmp_path / "weights/mapper/clip_tuned.pth").touch()
    choice = {"benchmark": "abc", "root": str(tmp_path), "extractors": ["clip", "color"], "missing_variants": "skip"}
    choice |= {"variants": ["pretrained", "tuned"], "extractor_registry__clip__label": "CLIP"}
    for labels, expected in (
        ({}, ["CLIP pretrained", "CLIP tuned", "color"]),
        ({"clip": "ViT-B/32", "tuned": "mapped"}, ["ViT-B/32 pretrained", "ViT-B/32 mapped", "color"]),
        ({"clip_tuned": "Ours", "color": "Colours", "dino": "not chosen"}, ["CLIP pretrained", "Ours", "Colours"]),
    ):
        assert list(Plan(load(changed(**choice, plots__labels=labels))).labels.values()) == expected
    several = Plan(load(changed(**choice, plots__labels={"clip": "C"}, compare_precisions=["bf16"])))
    assert several.labels["clip_bf16", "tuned"] == "C bf16 tuned"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"colour": "x"}, "plots.labels.colour: no extractor, variant or method has this name; did you mean `color`?"),
        ({"color": "untrained"}, "plots.labels.color: color_pretrained and untrained_pretrained both have the label"),
        (
            {"color": "X", "untrained": "X"},
            "plots.labels.color, plots.labels.untrained: color_pretrained and untrained",
        ),
    ],
)
def test_labels_of_plots_that_name_nothing_or_are_the_same_are_refused(labels, message):
    with pytest.raises(InputError, match=re.escape(message)):
        Plan(load(changed(extractors=["color", "untrained"], variants=["pretrained"], plots__labels=labels)))


def test_contact_sheets_show_the_first_method_or_a_chosen_one():
    chosen = changed(extractors=["untrained", "color"], variants=["pretrained"])
    plan = Plan(load(chosen))
    assert method_of_sheet(plan.config, plan.methods) == ("untrained", "pretrained")
    for name, expected in (("color_pretrained", ("color", "pretrained")), ("colour_pretrained", None)):
        plan = Plan(load({**chosen, "contact_sheet": {**chosen["contact_sheet"], "method": name}}))
        if expected:
            assert method_of_sheet(plan.config, plan.methods) == expected
            continue
        with pytest.raises(
            InputError, match="contact_sheet.method: .*did you mean `color_pretrained`.* Valid: untrained_"
        ):
            method_of_sheet(plan.config, plan.methods)


def test_queries_that_no_split_has_are_refused_once_all_split_files_are_there(tmp_path):
    entry = {"database": {"folder": "db"}, "splits": {"a": "a.json", "b": "b.json"}, "extractors": ["color"]}
    own = {"benchmark": "own", "root": str(tmp_path), "benchmarks__own": entry}
    chosen = changed(**own, contact_sheet__choose=["a/q1.png", "b/q1.png", "a/q11.png", "a/e1.png"])
    for name in "ab":
        refuse_unknown_queries(load(chosen))
        entries = [{"class_id": name, "exemplar": [f"{name}/e1.png"], "synth": {"gpt": [f"{name}/q1.png"]}}]
        (tmp_path / f"{name}.json").write_text(json.dumps(entries))
    message = "2 of the 4 paths .* no split of the run \\(a, b\\); did you mean `a/q1.png`.*\n  a/q11.png\n  a/e1.png$"
    with pytest.raises(InputError, match=message):
        refuse_unknown_queries(load(chosen))
    refuse_unknown_queries(load(changed(**own, contact_sheet__choose=["a/q1.png", "b/q1.png"])))


@pytest.mark.parametrize("key", ["extractor_registry.color", "variant_registry.tuned", "score_registry.m"])
@pytest.mark.parametrize(
    "value", ["x" * 61, "", " a", "two\nlines", "a\tb", "a\rb", "a\0b", "\x1b[31m", "a\u2028b", 5, True, ["a"], {}]
)
def test_a_label_that_is_none_is_refused_with_what_is_expected(key, value):
    raw = changed(score_registry={"m": {"scores": "m.h5"}}, **{f"{key.replace('.', '__')}__label": value})
    with pytest.raises(InputError) as error:
        load(raw)
    line = str(error.value).splitlines()[1]
    assert line.startswith(f"  key `{key}.label`: found ") and len(str(error.value).splitlines()) == 2
    assert "; expected one line of text, at most 60 characters, without spaces at its ends, or null" in line


SAME = {
    "an extractor's and a name": (
        {"extractor_registry__color__label": "untrained"},
        "extractor_registry.color.label: color_pretrained and untrained_pretrained both",
    ),
    "of two extractors": (
        {"extractor_registry__color__label": "X", "extractor_registry__untrained__label": "X"},
        "extractor_registry.color.label, extractor_registry.untrained.label: color_pretrained and untrained_pretrained both "
        "have the label `X`; expected a label for each method, other than each name",
    ),
    "a method of scores and a name": (
        {"score_registry__m__label": "color"},
        "score_registry.m.label: color_pretrained and m_scores both",
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_two_methods_of_one_label_are_refused_with_the_keys(name):
    changes, message = SAME[name]
    raw = changed(**{"score_methods": ["m"], "score_registry__m__scores": "m.h5", **changes})
    with pytest.raises(InputError, match=f"config key {message}"):
        Plan(load(raw))


def test_two_variants_of_one_label_are_refused_with_the_keys(tmp_path):
    entry = {"mapper": "m.pth", "label": "X"}
    (tmp_path / "m.pth").touch()
    changes = {"variants": ["a", "b"], "variant_registry": {"a": entry, "b": entry}, "root": str(tmp_path)}
    with pytest.raises(
        InputError, match=r"config key variant_registry.a.label, variant_registry.b.label: color_a and color_b"
    ):
        Plan(load(changed(extractors=["color"], **changes)))
