"""Messages about a config that is not valid: one line for each wrong key, with the nearest valid one."""

import typing
from typing import Any

from pydantic import BaseModel, ValidationError

from attribench.common.errors import nearest


def explain(error: ValidationError, raw: dict[str, Any], model: type[BaseModel]) -> list[str]:
    """Return a line for each problem of `raw`, which `model` refused with `error`: the key, what it is, what is valid."""
    problems = error.errors()
    # Where a mapping or text is allowed, pydantic also says of a faulty mapping that it is no text: dropped here.
    useful = [p for p in problems if not (p["type"] == "string_type" and isinstance(p["input"], dict))]
    return list(dict.fromkeys(_line(problem, raw, model) for problem in useful or problems))


def _line(problem: Any, raw: dict[str, Any], model: type[BaseModel]) -> str:
    keys, value = _keys(problem, raw), problem["input"]
    key = ".".join(keys)
    if problem["type"] == "extra_forbidden":
        valid = _valid_keys(model, keys[:-1])
        return f"unknown key `{key}`{nearest(keys[-1], valid)} Valid here: {', '.join(valid)}"
    if problem["type"] == "missing":
        return f"key `{key}` is missing"
    if problem["type"] == "literal_error":
        choices = problem["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        return f"key `{key}`: unknown value `{value}`{nearest(value, choices)} Valid: {', '.join(choices)}"
    return f"key `{key}`: found {value!r}; {problem['msg'].removeprefix('Value error, ')}"


def _keys(problem: Any, raw: Any) -> list[str]:
    """Return the keys of `raw` that lead to a problem: pydantic's location has the names of its own types among them."""
    keys = []
    for part in problem["loc"]:
        below = {str(key): value for key, value in raw.items()} if isinstance(raw, dict) else {}
        if str(part) in below:
            raw = below[str(part)]
        elif isinstance(part, int):
            raw = raw[part] if isinstance(raw, list) else raw  # a single value may stand for a list of one
        elif problem["type"] != "missing" or part != problem["loc"][-1]:
            continue
        keys.append(str(part))
    return keys


def _valid_keys(model: type[BaseModel], keys: list[str]) -> list[str]:
    """Return the keys that may stand below `keys`, by the annotations of `model`."""
    annotations: list[Any] = [model]
    for key in keys:
        annotations = [below for annotation in annotations for below in _below(annotation, key)]
    models = [found for annotation in annotations for found in _models_in(annotation)]
    return sorted({name for model in models for name in model.model_fields})


def _below(annotation: Any, key: str) -> list[Any]:
    """Return the annotations of what stands below `key` in a value of type `annotation`."""
    if _is_model(annotation):
        return [annotation.model_fields[key].annotation] if key in annotation.model_fields else []
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is dict:
        return [arguments[1]]
    if typing.get_origin(annotation) in (list, tuple):
        return [arguments[0]]
    return [below for argument in arguments for below in _below(argument, key)]  # a union's


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if _is_model(annotation):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in _models_in(argument)]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
