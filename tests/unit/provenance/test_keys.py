"""Keys: code digests see a script's own modules and no others; a file carries the key that it was made with."""

import ast
from pathlib import Path

import h5py
import pytest
from attribench.common.errors import InputError
from attribench.provenance.keys import (
    LIBRARY,
    carried_key,
    code_digest,
    digest,
    is_current,
    key_of,
    refuse_other_key,
    used_modules,
    write_key,
)

SCRIPTS = Path(__file__).parents[3] / "workflow_scripts"


def names(script):
    return {str(path.relative_to(LIBRARY)) for path in used_modules(SCRIPTS / script)}


def test_a_script_is_followed_through_what_it_imports():
    found = names("manifest.py")
    assert {
        "__init__.py",
        "manifest.py",
        "provenance/fingerprints.py",
        "common/files.py",
        "common/errors.py",
        "provenance/job.py",
    } <= found
    assert "formats/feature_files.py" in found, "imported inside a function, and used all the same"
    assert not any(name.startswith(("rank/", "extract/", "plan/")) for name in found)
    assert {"plots/__init__.py", "plots/bars.py", "plots/style.py"} <= names("plots.py")


def test_every_import_is_seen():
    """As Python's grammar has them, wherever they stand."""
    for file in [*LIBRARY.rglob("*.py"), *SCRIPTS.glob("*.py")]:
        imports = [
            node for node in ast.walk(ast.parse(file.read_bytes())) if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        modules = {node.module for node in imports if isinstance(node, ast.ImportFrom)}
        modules |= {f"{node.module}.{name.name}" for node in imports if hasattr(node, "module") for name in node.names}
        modules |= {name.name for node in imports for name in node.names}
        paths = [LIBRARY.parent.joinpath(*module.split(".")) for module in modules if module.startswith("attribench")]
        expected = {path.with_suffix(".py") for path in paths} | {path / "__init__.py" for path in paths}
        assert {path for path in expected if path.is_file()} <= used_modules(file), file


@pytest.mark.parametrize("script", [path.name for path in sorted(SCRIPTS.glob("*.py")) if path.stem != "demo"])
def test_no_stage_depends_on_the_config_or_the_plan(script):
    assert not [name for name in names(script) if name.startswith("plan/")], "a new config key would re-run this stage"


def test_digests_depend_on_content_and_order():
    assert digest("a", [1, 2]) == digest("a", [1, 2]) != digest("a", [2, 1])
    assert digest({"x": 1, "y": 2}) == digest({"y": 2, "x": 1})


def test_a_key_depends_on_stage_code_settings_and_what_is_read():
    key = key_of("rank", code=1, settings={"top_k": 3}, reads=["a", "b"])
    assert key == key_of("rank", code=1, settings={"top_k": 3}, reads=iter(["a", "b"]))
    others = [
        key_of("metrics", code=1, settings={"top_k": 3}, reads=["a", "b"]),
        key_of("rank", code=2, settings={"top_k": 3}, reads=["a", "b"]),
        key_of("rank", code=1, settings={"top_k": 4}, reads=["a", "b"]),
        key_of("rank", code=1, settings={"top_k": 3}, reads=["a", "c"]),
    ]
    assert len({key, *others}) == 5


def test_a_code_digest_depends_on_the_script_and_on_its_modules(tmp_path):
    script = tmp_path / "metrics.py"
    script.write_text("from attribench.metrics import COLUMNS\n")
    other = tmp_path / "other" / "metrics.py"
    other.parent.mkdir()
    other.write_text("from attribench.trec import VERSION\n")
    assert len({code_digest(script), code_digest(other), code_digest(SCRIPTS / "metrics.py")}) == 3


def write_files(folder):
    """Write a file of each kind and a folder, each with a key."""
    (folder / "table.csv").write_text("a,b\n")
    (folder / "images").mkdir()
    with h5py.File(folder / "ranks.h5", "w") as file:
        file.attrs["key"] = "k"
    for name in ("table.csv", "images"):
        write_key(folder / name, "k")
    return [folder / name for name in ("table.csv", "images", "ranks.h5")]


def test_a_file_carries_its_key(tmp_path):
    for path in write_files(tmp_path):
        assert carried_key(path) == "k" and is_current(path, "k") and not is_current(path, "other")
        refuse_other_key(path, "k")
        with pytest.raises(InputError, match=rf"{path.name}: was made with other .*\(key k; expected l\).*: rm "):
            refuse_other_key(path, "l")
    for name in ("none.csv", "none.h5"):
        assert carried_key(tmp_path / name) is None
        with pytest.raises(InputError, match=r"key none; expected k"):
            refuse_other_key(tmp_path / name, "k")


def test_the_key_beside_a_file_is_of_its_content(tmp_path):
    table, *_ = write_files(tmp_path)
    table.write_text("another,one\n")
    with pytest.raises(InputError, match="table.csv: was made with .*key another file's"):
        refuse_other_key(table, "k")
