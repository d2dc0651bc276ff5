"""Code digests see a script's own modules, all of them and no others."""

from pathlib import Path

import pytest
from attribench.identity import LIBRARY, digest, forget_key, record_key, recorded_key, used_modules

SCRIPTS = Path(__file__).parents[1] / "workflow_scripts"


def names(script):
    return {str(path.relative_to(LIBRARY)) for path in used_modules(SCRIPTS / script)}


def test_a_script_is_followed_through_what_it_imports():
    found = names("manifest.py")
    assert {"__init__.py", "manifest.py", "sources.py", "files.py", "errors.py", "stage.py"} <= found
    assert "feature_files.py" in found, "imported inside a function, and used all the same"
    assert not found & {"rank.py", "extract.py", "config.py", "plan.py"}


def test_packages_and_relative_imports_are_followed():
    found = names("sample.py")
    assert {"sample/__init__.py", "sample/benchmark.py", "sample/artists.py", "sample/fields.py"} <= found
    assert {"plots/__init__.py", "plots/bars.py", "plots/style.py"} <= names("plots.py")


@pytest.mark.parametrize("script", [path.name for path in sorted(SCRIPTS.glob("*.py"))])
def test_no_stage_depends_on_the_config_or_the_plan(script):
    assert not names(script) & {"config.py", "plan.py"}, "a new config key would re-run this stage"


def test_digests_depend_on_content_and_order():
    assert digest("a", [1, 2]) == digest("a", [1, 2]) != digest("a", [2, 1])
    assert digest({"x": 1, "y": 2}) == digest({"y": 2, "x": 1})


def test_a_key_is_noted_beside_its_output(tmp_path):
    output = tmp_path / "a" / "b.csv"
    assert recorded_key(output) is None
    record_key(output, "k")
    assert recorded_key(output) == "k"
    forget_key(output)
    assert recorded_key(output) is None
