"""The shipped config files, merged as Snakemake merges them, and changes to them."""

import copy
import re
from pathlib import Path

import pytest
import yaml
from attribench.common.errors import InputError
from attribench.plan.config import load

REPOSITORY = Path(__file__).parents[2]
CONFIG_FILES = re.findall(r"^configfile: .*/(.+)\"$", (REPOSITORY / "Snakefile").read_text(), re.MULTILINE)
DEFAULTS = {
    key: value for file in CONFIG_FILES for key, value in yaml.safe_load((REPOSITORY / file).read_text()).items()
}


def changed(**changes):
    """Return the defaults with keys set; `a__b` is key b of a."""
    raw = copy.deepcopy(DEFAULTS)
    for name, value in changes.items():
        *parents, last = name.split("__")
        branch = raw
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = value
    return raw


def assert_refused(changes, parts):
    """Assert that the defaults with `changes` are refused with a message that has all of `parts`."""
    with pytest.raises(InputError) as error:
        load(changed(**changes))
    assert all(part in str(error.value) for part in parts), str(error.value)


def merged(defaults, changes):
    """Return `defaults` with a user's file merged over them, as Snakemake does it."""
    result = copy.deepcopy(defaults)
    for key, value in changes.items():
        result[key] = merged(result[key], value) if isinstance(value, dict) and key in result else value
    return result
