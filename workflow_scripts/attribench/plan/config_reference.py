"""Write `docs/reference/config.md`, the reference of every config key: `make schema`.

Types, ranges and descriptions are those of the editor's schema, defaults those of the shipped files and the typed settings.
"""

import json
import re
from typing import Any

import yaml
from pydantic import BaseModel

from attribench.common.files import write_text
from attribench.common.schema import NAME_IN_WORDS
from attribench.extract.registry import ExtractorEntry, FeatureFiles, WeightsFile
from attribench.plan.config import REPOSITORY
from attribench.plan.config_files import CONFIG_FILES
from attribench.plan.editor_schema import editor_schema
from attribench.plan.settings import BenchmarkEntry, Database, ScoreEntry, Source, TuneEntry, TuningSplits, VariantEntry

PAGE = REPOSITORY / "docs/reference/config.md"
# The models of the entries of each registry, and of the sections within an entry.
REGISTRIES: dict[str, type[BaseModel]] = {
    "benchmarks": BenchmarkEntry,
    "extractor_registry": ExtractorEntry,
    "variant_registry": VariantEntry,
    "tune": TuneEntry,
    "score_registry": ScoreEntry,
    "sources": Source,
}
SECTIONS: dict[str, type[BaseModel]] = {
    "benchmarks.database": Database,
    "benchmarks.tuning": TuningSplits,
    "extractor_registry.pretrained": WeightsFile,
    "extractor_registry.features": FeatureFiles,
}
HEAD = f"""# Config keys

<!-- Written by `make schema` from the typed settings and the comments of the shipped files: change those. -->

A key is set in a file (`--configfile mine.yaml`) or on the command line (`--config KEY=VALUE`); a file may write
`bootstrap.samples: 200` for a key of a section. What a key does not allow is refused before anything runs. A change runs
those jobs again that use the key ([methods.md](../methods.md#what-runs-again)).

A *name* consists of {NAME_IN_WORDS.removeprefix("a name of ")}. *One or more* is a list or one value; on the command
line, `KEY=a,b`. Paths are relative to the benchmark's root where a key does not say otherwise. *Needed*: an entry has to
give the key.
"""


def page() -> str:
    """Return the page, in Markdown."""
    schema = editor_schema()
    text = (REPOSITORY / "config.yaml").read_text()
    given = yaml.safe_load(text)
    parts = re.split(r"^# --- (.+?) -+\n", text, flags=re.MULTILINE)[1:]
    described = HEAD
    for title, content in zip(parts[::2], parts[1::2], strict=True):
        keys = re.findall(r"^(\w+):", content, re.MULTILINE)
        rows = [row for key in keys for row in _rows_of_key(schema, key, given[key])]
        described += f"\n## {title.capitalize()}\n\n{_table(rows)}"
    return described + "".join(_registry(schema, name, model) for name, model in REGISTRIES.items())


def _rows_of_key(schema: dict[str, Any], key: str, default: Any) -> list[list[str]]:
    """Return the rows of a key of config.yaml, and of those below it: name, values, default, meaning."""
    found = schema["properties"][key]
    section = _section(schema, found) if isinstance(default, dict) else {}
    row = [f"`{key}`", words(found), "" if section else f"`{text_of(default)}`", found.get("description", "")]
    return [
        row,
        *(
            [f"`{key}.{name}`", words(below), f"`{text_of(default[name])}`", below.get("description", "")]
            for name, below in section.items()
        ),
    ]


def _registry(schema: dict[str, Any], registry: str, model: type[BaseModel]) -> str:
    """Return the part of the page on a registry's entries."""
    texts = {file: (REPOSITORY / file).read_text() for file in CONFIG_FILES}
    file = next(file for file, text in texts.items() if re.search(rf"^{registry}:", text, re.MULTILINE))
    names = ", ".join(f"`{name}`" for name in yaml.safe_load(texts[file])[registry]) or "none"
    rows = []
    for key, found in schema["$defs"][model.__name__]["properties"].items():
        rows.append(_row_of_entry(key, found, model))
        if section := SECTIONS.get(f"{registry}.{key}"):
            below = _section(schema, found)
            rows += [_row_of_entry(name, below[name], section, f"{key}.") for name in below]
    meaning = schema["properties"][registry]["description"]
    meaning = f"{meaning[0].upper()}{meaning[1:]}. Shipped in [{file}](../../{file}): {names}."
    return f"\n## Entries of `{registry}`\n\n{meaning}\n\n{_table(rows)}"


def _row_of_entry(key: str, found: dict[str, Any], model: type[BaseModel], above: str = "") -> list[str]:
    field = model.model_fields[key]
    default = None if field.is_required() else text_of(field.get_default(call_default_factory=True))
    # For readers of the shipped file, a comment may end with the default.
    meaning = found.get("description", "").removesuffix(f"; {default}")
    return [f"`{above}{key}`", words(found), f"`{default}`" if default else "needed", meaning]


def _section(schema: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Return the properties of the section that a key holds; none if it holds none."""
    names = re.findall(r'"#/\$defs/(\w+)"', json.dumps(found))
    return schema["$defs"][names[0]]["properties"] if names else {}


def text_of(value: Any) -> str:
    """Return a value as YAML has it, on one line."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(text_of, value))}]"
    return value if isinstance(value, str) and value else json.dumps(value)


def words(found: dict[str, Any]) -> str:
    """Return in words which values a schema allows."""
    if "$ref" in found:
        return "keys (below)"
    if "anyOf" in found:
        return _either(_any_of(found["anyOf"]))
    if "enum" in found or "const" in found:
        return _either([f"`{value}`" for value in found.get("enum", [found.get("const")])])
    if found["type"] == "array":
        return f"list: {words(found['items'])}"
    if found["type"] == "object":
        return _mapping(found)
    if found["type"] in ("integer", "number"):
        return _number(found)
    if found["type"] == "string":
        return "name" if "A-Za-z0-9" in found.get("pattern", "") else "text"
    return {"boolean": "`true` or `false`", "null": "`null`"}[found["type"]]


def _either(choices: list[str]) -> str:
    *others, last = choices
    return f"{', '.join(others)} or {last}" if others else last


def _any_of(choices: list[dict[str, Any]]) -> list[str]:
    """Return the choices in words, a list of something and that thing itself as one."""
    items = [choice["items"] for choice in choices if choice.get("type") == "array"]
    single = [item for item in items if item in choices]
    kept = [choice for choice in choices if choice not in single]
    return [words(choice).replace("list: ", "one or more: " if single else "list: ") for choice in kept]


def _mapping(found: dict[str, Any]) -> str:
    values = [*found.get("patternProperties", {}).values(), *filter(bool, [found.get("additionalProperties")])]
    keys = found.get("propertyNames", {})
    named = "name" if keys.get("description") == NAME_IN_WORDS else "text"
    names = [f"`{name}`" for name in keys["enum"]] if "enum" in keys else [named]
    return f"mapping of {_either(names)} to {words(values[0])}"


def _number(found: dict[str, Any]) -> str:
    name = "whole number" if found["type"] == "integer" else "number"
    limits = [("from", "minimum"), ("above", "exclusiveMinimum"), ("to", "maximum"), ("below", "exclusiveMaximum")]
    # The largest whole numbers are no limits that anyone meets.
    parts = [f"{word} {found[key]:,}" for word, key in limits if key in found and found[key] < 10**12]
    return " ".join([name, *parts])


def _table(rows: list[list[str]]) -> str:
    lines = [["key", "values", "default", "meaning"], ["---"] * 4, *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    write_text(PAGE, page())
