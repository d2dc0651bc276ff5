"""Write `schemas/config.json`, by which editors complete and check a config file: `make schema`.

It is made from the typed settings, and describes each key by the comment that stands behind it in the shipped files.
"""

import json
import re
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from attribench.common.files import write_text
from attribench.plan.config import REPOSITORY
from attribench.plan.settings import Settings

SCHEMA_FILE = REPOSITORY / "schemas/config.json"
CONFIG_FILES = ("config.yaml", "benchmarks.yaml", "extractors.yaml", "variants.yaml", "sources.yaml")
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


def editor_schema() -> dict[str, Any]:
    """Return the JSON schema of a config file."""
    schema = Settings.model_json_schema(schema_generator=_PartialFile)
    for file in CONFIG_FILES:
        for name, comment in comments((REPOSITORY / file).read_text()).items():
            parent, _, key = name.rpartition(".")
            properties = _properties(schema, parent)
            if key in properties:
                properties[key]["description"] = comment
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": "attribench's config"}


def _properties(schema: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the properties below `key` ("": of the whole config); none if it is no section, such as a registry."""
    if not key:
        return schema["properties"]
    section = schema["properties"].get(key, {}).get("$ref", "").removeprefix("#/$defs/")
    return schema["$defs"].get(section, {}).get("properties", {})


def schema_text() -> str:
    """Return the content of `schemas/config.json`."""
    return json.dumps(editor_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write_text(SCHEMA_FILE, schema_text())
