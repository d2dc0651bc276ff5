"""The reference of config keys: in step with the settings, and every key of every registry is described."""

import json

import pytest
from attribench.plan.config_reference import PAGE, REGISTRIES, page, text_of, words
from attribench.plan.settings import Settings
from helpers.config import REPOSITORY

TEXT = PAGE.read_text()
SCHEMA = json.loads((REPOSITORY / "schemas/config.json").read_text())


def row_of(key, heading=""):
    """The cells of a key's row, below a heading: the first one."""
    section = TEXT.split(f"\n## {heading}")[1].split("\n## ")[0] if heading else TEXT
    row = next(line for line in section.splitlines() if line.startswith(f"| `{key}` |"))
    return [cell.strip() for cell in row.strip("|").split(" | ")]


def test_it_is_in_step_with_the_settings():
    assert page() == TEXT, "run `make schema`"


@pytest.mark.parametrize("key", Settings.model_fields)
def test_every_key_of_the_config_stands_on_the_page(key):
    if key in REGISTRIES:
        assert f"\n## Entries of `{key}`\n" in TEXT
    else:
        assert row_of(key)[3] and TEXT.index(f"| `{key}` |") < TEXT.index("## Entries of")


@pytest.mark.parametrize("registry", REGISTRIES)
def test_a_comment_of_the_shipped_files_describes_every_key_of_an_entry(registry):
    properties = SCHEMA["$defs"][REGISTRIES[registry].__name__]["properties"]
    types = ("a path", "a name of letters, digits, `_` and `-`", "the beginning of an address: http(s)://…/")
    assert [key for key, found in properties.items() if found.get("description", "a path") in types] == []


def test_defaults_in_the_comments_on_tuning_are_those_that_count():
    fields = REGISTRIES["tune"].model_fields
    found = SCHEMA["$defs"]["TuneEntry"]["properties"]
    defaults = {key: text_of(field.default) for key, field in fields.items() if field.default is not None}
    assert len(defaults) == 17
    assert [key for key, default in defaults.items() if not found[key]["description"].endswith(f"; {default}")] == []


def test_a_row_says_what_is_allowed_what_counts_and_what_it_means():
    of_benchmark = row_of("database_shards", "Entries of `benchmarks`")
    assert row_of("database_shards", "Where features")[:3] == [
        "`database_shards`",
        "whole number from 1 to 1,000 or `null`",
        "`null`",
    ]
    assert of_benchmark[1:3] == ["whole number from 1 to 1,000", "`1`"]
    assert row_of("pretrained.match")[1:3] == ["`name` or `order`", "`name`"]
    assert row_of("mapper")[2] == "needed"
    assert row_of("sample.image_size")[1:] == ["whole number from 32", "`256`", "pixels, square"]


def test_values_in_words():
    assert words({"type": "number", "exclusiveMinimum": 0, "maximum": 10}) == "number above 0 to 10"
    assert words({"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "integer"}]}) == (
        "one or more: whole number"
    )
    assert words({"anyOf": [{"enum": ["a", "b"], "type": "string"}, {"type": "null"}]}) == "`a` or `b` or `null`"
