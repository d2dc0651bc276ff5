"""Whatever stands at a key of the config, the message is one line in the project's own words."""

import math
import re

import pytest
from attribench.common.errors import InputError
from attribench.plan.config import load
from helpers.config import DEFAULTS, changed

WRONG = [None, True, False, -1, 2.5, math.nan, math.inf, 10**30, "", "x y", "~nobody/x", [], ["?"], [[1]], [None], {}]
PYDANTIC = re.compile(r"Input |should |String |List |Value error|valid (dictionary|string)|instance of|errors.pydantic")
REGISTRIES = {"benchmarks": "abc", "extractor_registry": "moco", "sources": "json", "variant_registry": "tuned"}


def keys(values, parents=()):
    """Return all keys of the shipped config, `a__b` for key b of a; of a registry, those of one entry."""
    found = []
    for key, value in values.items():
        if parents and REGISTRIES.get(parents[0], key) != key and len(parents) == 1:
            continue
        found.append("__".join([*parents, key]))
        if isinstance(value, dict):
            found += keys(value, (*parents, key))
    return found


def message(key, value):
    """Return the lines about `value` at `key`; none if it is valid there."""
    try:
        load(changed(**{key: value}))
        return []
    except InputError as error:
        lines = str(error).splitlines()
        return lines[1:] if lines[0] == "config is not valid:" else lines


@pytest.mark.parametrize("key", keys(DEFAULTS))
def test_one_line_says_the_key_and_what_was_expected(key):
    for value in WRONG:
        lines = message(key, value)
        assert not PYDANTIC.search("\n".join(lines)), lines
        assert all(re.search("expected|Valid|needs|give |one file for each", line) for line in lines), lines
        if value != {}:  # in which all keys are missing
            assert len(lines) <= 1, lines
        assert all(re.match("  key `|  unknown key `|config key", line) for line in lines), lines


@pytest.mark.parametrize(("name", "shown"), [(False, "false"), (True, "true"), (7, "7"), (None, "nothing")])
def test_a_name_that_yaml_does_not_read_as_text_says_so(name, shown):
    """A split called `no`, say."""
    entry = {"splits": {name: "s.json"}, "database": {"folder": "db"}}
    [line] = message("benchmarks__b", entry)
    assert re.match(
        rf"  key `benchmarks\.b\.splits.*: found the name {shown}; expected a name of letters, digits", line
    ), line
    assert line.endswith("unless they stand in quotes")


@pytest.mark.parametrize("name", ["5", 5, None, "a b", "../a", ""])
def test_a_name_that_is_none_is_refused_with_its_key(name):
    lines = message("benchmarks", {**DEFAULTS["benchmarks"], name: DEFAULTS["benchmarks"]["abc"]})
    assert not lines or (len(lines) == 1 and f"benchmarks.{name}" in lines[0] and "name" in lines[0]), lines


@pytest.mark.parametrize("key", ["top_k", "recall_ks", "bootstrap__confidence", "batch_size"])
@pytest.mark.parametrize("value", ["5_0", "٣", "1_0.0", "0x10"])
def test_text_is_a_number_only_as_people_write_numbers(key, value):
    [line] = message(key, value)
    assert re.match(f"  key `{key.replace('__', '.')}.*: found '{value}'; expected a", line)
