"""The command line, and keys with dots in config files, mean what they seem to."""

import pytest
from attribench.common.errors import InputError
from attribench.plan.config import load, refuse_empty, with_sections
from helpers.config import DEFAULTS, changed


def test_what_the_command_line_gives_as_text_is_read_as_what_it_means():
    """Snakemake hands on `extractors=color,untrained`, `recall_ks=5,10` and `near_duplicates=null` as they were typed."""
    config = load(changed(extractors="color, untrained", recall_ks="5,10", near_duplicates="null", splits="null"))
    assert (config.extractors, config.recall_ks) == (["color", "untrained"], [5, 10])
    assert (config.near_duplicates, config.splits) == (None, ["sample_style", "sample_object"])


def test_a_key_with_dots_lies_in_its_section():
    given = {"bootstrap.samples": 200, "extractor_registry.dino.crop": 200}
    for raw in ({**DEFAULTS, **given}, {**given, **DEFAULTS}):  # Snakemake has a user's file first
        config = load(raw)
        assert (config.bootstrap.samples, config.bootstrap.seed) == (200, 0)
        assert config.extractor_registry["dino"].crop == 200
    for key, message in (
        ("bootstrap.sample", "unknown key `bootstrap.sample`; did you mean `samples`?"),
        ("bootstrp.samples", "unknown key `bootstrp`; did you mean `bootstrap`?"),
        ("top_k.samples", "config key top_k.samples: `top_k` is 10; expected a section with keys"),
    ):
        with pytest.raises(InputError, match=message):
            load({**DEFAULTS, key: 200})


def test_of_keys_with_dots_the_deeper_counts_more():
    """Whatever their order, and beside their section."""
    pairs = {"a": {"b": 1, "c": 1}, "a.b": 2, "a.d": {"e": 3, "f": 3}, "a.d.e": 4}
    expected = {"a": {"b": 2, "c": 1, "d": {"e": 4, "f": 3}}}
    assert with_sections(pairs) == with_sections(dict(reversed(pairs.items()))) == expected
    assert pairs["a"] == {"b": 1, "c": 1} and pairs["a.d"] == {"e": 3, "f": 3}


def test_nothing_behind_an_equals_sign_is_refused():
    with pytest.raises(InputError, match="config key root is empty"):
        refuse_empty({"root": None})
