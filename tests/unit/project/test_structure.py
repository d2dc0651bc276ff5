"""The house stays in order: imports without circles, files and functions of a readable length, tests on their own feet."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
LIBRARY = REPOSITORY / "workflow_scripts/attribench"
FILES = [
    path for folder in ("workflow_scripts", "tests", "bench") for path in sorted((REPOSITORY / folder).rglob("*.py"))
]


def module_of(path):
    parts = path.relative_to(LIBRARY.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in LIBRARY.rglob("*.py")}


def imports(path):
    """The library's modules that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return {name for name in names if name in MODULES}


def test_no_import_goes_in_a_circle():
    graph = {name: imports(path) - {name} for name, path in MODULES.items()}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"{' -> '.join(error.args[1])}")
    assert set(order) == set(MODULES)


def test_packages_do_not_import_each_other_in_a_circle():
    def package(name):
        return name.split(".")[1] if "." in name else name

    graph = {}
    for name, path in MODULES.items():
        graph.setdefault(package(name), set()).update(map(package, imports(path)))
    try:
        list(TopologicalSorter({name: needed - {name} for name, needed in graph.items()}).static_order())
    except CycleError as error:
        pytest.fail(f"{' -> '.join(error.args[1])}")


def test_only_the_rules_use_the_plan():
    """And the demo's one module that shows what they made."""
    users = [name for name, path in MODULES.items() if any(n.startswith("attribench.plan") for n in imports(path))]
    assert [name for name in users if not name.startswith("attribench.plan")] == ["attribench.demo.run"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_a_file_is_at_most_400_lines_and_a_function_60(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 400
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and path.is_relative_to(LIBRARY):
            assert node.end_lineno - node.lineno < 60, node.name


def test_no_test_imports_another_test():
    for path in (REPOSITORY / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in names if name.split(".")[-1].startswith(("test_", "conftest"))], path
