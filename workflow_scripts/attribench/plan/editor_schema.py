"""Write `schemas/config.json`, by which editors complete and check a config file: `make schema`.

It is made from the typed settings, and describes each key by the comments of the shipped files: by what stands behind it,
or, for a key of a registry's entries, by the table above the registry.
"""

import json
import re
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from attribench.common.files import write_text
from attribench.plan.config import REPOSITORY
from attribench.plan.config_files import CONFIG_FILES
from attribench.plan.settings import Settings

SCHEMA_FILE = REPOSITORY / "schemas/config.json"
# A row of such a table: names, at least two spaces, text, which may go on in further lines.
_ROW = re.compile(r"^#   ([\w.]+(?:, [\w.]+)*)  +(\S.*(?:\n#     +\S.*)*)", re.MULTILINE)
_KEY_AND_COMMENT = re.compile(r"^((?:  )*)(\w+):[^#\n]*(?:# (.*))?$", re.MULTILINE)


class _PartialFile(GenerateJsonSchema):
    """Make the schema of a file that is merged over others: it may leave out any key, and no default is its own."""

    def field_is_required(self, field: Any, total: bool) -> bool:
        return False

    def default_schema(self, schema: Any) -> dict[str, Any]:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def dict_schema(self, schema: Any) -> dict[str, Any]:
        made = super().dict_schema(schema)
        if "patternProperties" in made:
            made["additionalProperties"] = False  # no name but those of the pattern
        return made


def comments(text: str) -> dict[str, str]:
    """Return the comments that stand behind the keys of a YAML text, by the keys' full names: `bootstrap`, `sample.seed`."""
    parents: list[str] = []
    by_name = {}
    for indent, key, comment in _KEY_AND_COMMENT.findall(text):
        parents = [*parents[: len(indent) // 2], key]
        if comment:
            by_name[".".join(parents)] = comment
    return by_name


def entry_comments(text: str) -> dict[str, str]:
    """Return what the tables above registries say of an entry's keys, by full names, such as `benchmarks.database.list`."""
    parts = re.split(r"^(\w+):.*\n", text, flags=re.MULTILINE)
    return {
        f"{registry}.{name}": re.sub(r"\n# +", " ", comment)
        for above, registry in zip(parts[::2], parts[1::2], strict=False)
        for names, comment in _ROW.findall(above)
        for name in names.split(", ")
    }


def editor_schema() -> dict[str, Any]:
    """Return the JSON schema of a config file."""
    schema = Settings.model_json_schema(schema_generator=_PartialFile)
    for file in CONFIG_FILES:
        text = (REPOSITORY / file).read_text()
        for name, comment in (comments(text) | entry_comments(text)).items():
            *parents, key = name.split(".")
            properties = _properties(schema, parents)
            if key in properties:
                properties[key]["description"] = comment
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": "attribench's config"}


def _properties(schema: dict[str, Any], parents: list[str]) -> dict[str, Any]:
    """Return the properties below the keys `parents` ([]: of the whole config); none if there is no section of that name."""
    properties = schema["properties"]
    for name in parents:
        sections = re.findall(r'"#/\$defs/(\w+)"', json.dumps(properties.get(name, {})))
        properties = schema["$defs"][sections[0]]["properties"] if sections else {}
    return properties


def schema_text() -> str:
    """Return the content of `schemas/config.json`."""
    return json.dumps(editor_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write_text(SCHEMA_FILE, schema_text())
