"""The schema for editors: in step with the settings, and it says of a file what a run would say."""

import json
import re

import pytest
import yaml
from attribench.plan import editor_schema
from helpers.config import CONFIG_FILES, DEFAULTS, REPOSITORY, changed
from jsonschema import Draft202012Validator

SCHEMA = json.loads((REPOSITORY / "schemas/config.json").read_text())
PAGES = [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]
EXAMPLES = [text for page in PAGES for text in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)]


def faults(raw):
    """Return what the schema finds wrong in a config."""
    return [error.message for error in Draft202012Validator(SCHEMA).iter_errors(raw)]


def test_it_is_in_step_with_the_settings_and_their_comments():
    Draft202012Validator.check_schema(SCHEMA)
    assert editor_schema.schema_text() == (REPOSITORY / "schemas/config.json").read_text(), "run `make schema`"
    assert list(editor_schema.CONFIG_FILES) == CONFIG_FILES


def test_the_shipped_files_are_valid_together_and_each_alone():
    assert not faults(DEFAULTS)
    for name in CONFIG_FILES:
        text = (REPOSITORY / name).read_text()
        assert text.startswith("# yaml-language-server: $schema=schemas/config.json\n"), name
        assert not faults(yaml.safe_load(text)), name


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_of_the_documentation_is_valid(example):
    assert not faults(yaml.safe_load(example))


def test_a_single_name_may_stand_for_a_list():
    assert not faults({"extractors": "color", "recall_ks": 7, "benchmarks": {"mine": {"default_splits": "a"}}})


REFUSED = {
    "an unknown key": {"benchmrk": "abc"},
    "a wrong value": {"device": "cdua"},
    "a wrong type": {"recall_ks": ["five"]},
    "too many shards": {"database_shards": 1001},
    "an unknown nested key": {"bootstrap": {"sample": 3}},
    "an unknown key of an extractor": {"extractor_registry": {"mine": {"library": "timm", "modle": "a"}}},
    "an unknown library": {"extractor_registry": {"mine": {"library": "tim"}}},
    "an unknown key of a weights file": {"extractor_registry": {"mine": {"pretrained": {"file": "a", "drp": []}}}},
    "a name that is no name": {"extractor_registry": {"my extractor": {"library": "color"}}},
    "an unknown partition": {"sample": {"style_entries": {"tset": 3}}},
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_run_refuses_is_marked(name):
    assert faults(REFUSED[name])


def test_every_key_is_described_by_its_comment():
    assert all("description" in found for found in SCHEMA["properties"].values())
    assert SCHEMA["properties"]["top_k"]["description"].startswith("neighbours kept for each query")
    assert SCHEMA["$defs"]["Sample"]["properties"]["image_size"]["description"] == "pixels, square"


def test_a_key_that_a_run_needs_may_be_left_out():
    """A user's own file is merged over the shipped ones."""
    assert not faults({})
    assert not faults({"extractor_registry": {"clip": {"pretrained": {"file": "ViT-B-32.pt"}}}})
    assert '"required"' not in json.dumps(SCHEMA)


def test_a_config_that_runs_is_valid():
    assert not faults(changed(root="/data/abc", benchmark="abc", compare_precisions="bf16", extractors=[]))
