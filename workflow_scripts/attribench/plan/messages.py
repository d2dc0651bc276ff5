"""Messages about a config that is not valid: one line for each wrong key, with the value found and what was expected.

What was expected is told from the JSON schema of the settings, which editors use too.
"""

from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError

from attribench.common.errors import nearest
from attribench.common.schema import NAME_IN_WORDS
from attribench.common.text_files import decimal_number

_LONGEST = 80  # characters of a value in a message
_WORDS = {"string": "text", "boolean": "true or false", "null": "null"}


def explain(error: ValidationError, raw: dict[str, Any], model: type[BaseModel]) -> list[str]:
    """Return a line for each wrong key of `raw`, which `model` refused with `error`."""
    by_key: dict[tuple[str, ...], list[Any]] = {}
    for problem in error.errors():
        by_key.setdefault(tuple(_keys(problem, raw)), []).append(problem)
    # Where several types are allowed, each has its say: the one that looked deepest is the one that was meant.
    useful = [
        keys for keys in by_key if not any(len(other) > len(keys) and other[: len(keys)] == keys for other in by_key)
    ]
    schema = _schema_of(model)
    return [_line(list(keys), by_key[keys], schema) for keys in useful]


def _line(keys: list[str], problems: list[Any], schema: "Schema") -> str:
    key, types, value = ".".join(keys), {problem["type"] for problem in problems}, problems[0]["input"]
    is_about_the_key = problems[0]["loc"][-1] == "[key]"
    if is_about_the_key and not isinstance(value, str):
        return (
            f"key `{key}`: found the name {as_yaml(value)}; expected {NAME_IN_WORDS}: YAML reads numbers and words such as "
            "no, yes, on and off as something else than text, unless they stand in quotes"
        )
    if is_about_the_key and not schema.names(keys[:-1]):
        return f"key `{key}`: found the name {as_yaml(keys[-1])}; expected {NAME_IN_WORDS}"
    if is_about_the_key or types & {"extra_forbidden", "invalid_key"}:
        valid = schema.names(keys[:-1])
        hint = schema.elsewhere(keys[-1]) or nearest(keys[-1], valid) or "."
        return f"unknown key `{key}`{hint} Valid here: {', '.join(valid)}"
    if "missing" in types:
        return f"key `{key}` is missing; expected {schema.expected(keys)}"
    if reasons := [problem["msg"] for problem in problems if problem["type"] == "value_error"]:
        found = "" if isinstance(value, dict) else f"found {as_yaml(value)}; "
        return f"key `{key}`: {found}{reasons[0].removeprefix('Value error, ')}"
    choices = schema.choices(keys)
    if types == {"literal_error"}:
        word = value if isinstance(value, str) else as_yaml(value)
        return f"key `{key}`: unknown value `{word}`{nearest(word, choices) or '.'} Valid: {', '.join(choices)}"
    hint = nearest(value, choices) if isinstance(value, str) else ""
    if isinstance(value, int | float) and schema.is_text(keys):
        hint = f'. To have it as text, write "{as_yaml(value)}", on the command line \'"{as_yaml(value)}"\''
    found = value if isinstance(value, str) and schema.is_number(keys) and _is_decimal(value) else as_yaml(value)
    return f"key `{key}`: found {found}; expected {schema.expected(keys)}{hint}"


def _is_decimal(text: str) -> bool:
    """Return whether text is a number: as such YAML takes `1e-3`, and the command line all items of `recall_ks=5,0`."""
    try:
        decimal_number(text)
        return True
    except ValueError:
        return False


def as_yaml(value: Any) -> str:
    """Return a value as a message shows it: as YAML has it where Python would show a word of its own, and not too long."""
    words = {None: "nothing", True: "true", False: "false"}
    text = words[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 2]} …"


def _keys(problem: Any, raw: Any) -> list[str]:
    """Return the keys of `raw` that lead to a problem: pydantic's location has the names of its own types among them."""
    keys = []
    for part in problem["loc"]:
        below = {str(key): value for key, value in raw.items()} if isinstance(raw, dict) else {}
        if str(part) in below:
            raw = below[str(part)]
        elif isinstance(part, int):
            if not isinstance(raw, list):
                continue  # a single value, which stands for a list of one
            raw = raw[part]
        elif problem["type"] != "missing" or part != problem["loc"][-1]:
            continue
        keys.append(str(part))
    return keys


class Schema:
    """Hold a JSON schema, and answer what may stand at a key: a list of names, from the top down."""

    def __init__(self, top: dict[str, Any]):
        self._top = top

    def names(self, keys: list[str]) -> list[str]:
        """Return the keys that may stand below."""
        nodes = self._at(keys)
        closed = [name for node in nodes for name in node.get("propertyNames", {}).get("enum", [])]
        return sorted({*closed, *(name for node in nodes for name in node.get("properties", {}))})

    def elsewhere(self, name: str) -> str:
        """Return the hint at a section that has the key `name`, or an empty string."""
        sections = [(key,) for key in self.names([])] + [(key, "NAME") for key in self.names([])]
        places = [".".join([*section, name]) for section in sections if name in self.names([*section])]
        return f"; did you mean `{places[0]}`?" if places else ""

    def choices(self, keys: list[str]) -> list[str]:
        """Return the words that may stand at the key, if it has a list of them."""
        return [str(value) for node in self._at(keys) for value in _constants(node)]

    def is_text(self, keys: list[str]) -> bool:
        """Return whether text may stand at the key, and no number."""
        types = {node.get("type") for node in self._at(keys)}
        return "string" in types and not types & {"integer", "number"}

    def is_number(self, keys: list[str]) -> bool:
        """Return whether a number may stand at the key, or in its list."""
        nodes = self._at(keys)
        items = [item for node in nodes if "items" in node for item in self._options(node["items"])]
        return bool({"integer", "number"} & {node.get("type") for node in (*nodes, *items)})

    def expected(self, keys: list[str]) -> str:
        """Return what may stand at the key, in words."""
        options = self._at(keys)
        lists = [self._words(option["items"]) for option in options if option.get("type") == "array"]
        # A single value may stand for a list of one: that goes without saying.
        words = [text for option in options if (text := self._words(option)) not in lists]
        return ", or ".join(dict.fromkeys(words))

    def _at(self, keys: list[str]) -> list[dict[str, Any]]:
        """Return the schemas of all that may stand at the key."""
        nodes = self._options(self._top)
        for key in keys:
            nodes = [option for node in nodes for below in self._below(node, key) for option in self._options(below)]
        return nodes

    def _options(self, node: dict[str, Any]) -> list[dict[str, Any]]:
        if "$ref" in node:
            return self._options(self._top["$defs"][node["$ref"].rpartition("/")[2]])
        return [option for below in node["anyOf"] for option in self._options(below)] if "anyOf" in node else [node]

    def _below(self, node: dict[str, Any], key: str) -> list[dict[str, Any]]:
        if key in node.get("properties", {}):
            return [node["properties"][key]]
        named = [*node.get("patternProperties", {}).values(), node.get("additionalProperties"), node.get("items")]
        return [below for below in named if isinstance(below, dict)]

    def _words(self, node: dict[str, Any]) -> str:
        return ", or ".join(dict.fromkeys(self._words_of_option(option) for option in self._options(node)))

    def _words_of_option(self, node: dict[str, Any]) -> str:
        if constants := _constants(node):
            return " or ".join(f"`{value}`" for value in constants)
        match node.get("type"):
            case "integer" | "number":
                return ("a whole number" if node["type"] == "integer" else "a number") + _limits(node)
            case "array":
                size = {0: "", 1: " of one or more"}.get(least := node.get("minItems", 0), f" of {least}")
                return f"a list{size}, each {self._words(node.get('items', {}))}"
            case "object":
                if "properties" in node:
                    return f"the keys {', '.join(node['properties'])}"
                values = [self._words(below) for below in self._below(node, "")]
                return f"names, each with {values[0]}" if values else "keys with values"
            case "string":
                return node.get("description", "text")
        return _WORDS.get(node.get("type"), "a value")


@cache
def _schema_of(model: type[BaseModel]) -> Schema:
    return Schema(model.model_json_schema())


def _constants(node: dict[str, Any]) -> list[Any]:
    return node["enum"] if "enum" in node else [node["const"]] if "const" in node else []


def _limits(node: dict[str, Any]) -> str:
    words = {
        "minimum": "at least {}",
        "exclusiveMinimum": "more than {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "less than {}",
    }
    limits = [text.format(f"{node[name]:,}") for name, text in words.items() if name in node]
    return f", {' and '.join(limits)}" if limits else ""
