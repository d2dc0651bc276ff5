"""Text files that people write: JSON, YAML, CSV and lists, read strictly and without loss.

All are UTF-8; a byte-order mark at the beginning, which some editors write, counts for nothing. What would lose something if
it were read (a key that an object has twice, a row with a field too many, a text that cannot be stored) is refused, by an
InputError with one line that names the file.
"""

import codecs
import csv
import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from attribench.common.errors import InputError
from attribench.common.files import open_given

# Of Unicode's characters, HDF5 ends a text at the first of these, and UTF-8 has no form of the others.
_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")
_ESCAPED = re.compile(r"\\u(0000|d[89a-f])", re.IGNORECASE)  # how JSON can hold such a character
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)


def read_text(path: Path | str, what: str, expected: str) -> str:
    """Return the text of the file at `path`, with the line ends that it has.

    Messages call the file `what` ("split file"), and end with what is `expected` in it. Raises InputError for a file that is
    missing or may not be read, and for one that is not UTF-8.
    """
    with open_given(path, what, expected) as file:
        content = file.read()
    if content.startswith(_WIDE_MARKS):
        raise InputError(f"{path}: the {what} is in UTF-16 or UTF-32; expected {expected}, in UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}, line {line}: not UTF-8 text (byte 0x{content[error.start]:02x}); expected {expected}, in UTF-8"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(f"{path}, line {line}: holds a zero byte; expected {expected}, in UTF-8")
    return text


def read_lines(path: Path | str, what: str, expected: str) -> list[str]:
    r"""Return the lines of the file at `path`, without those that are blank.

    Only `\n` ends a line, or `\r\n` all of them; any other character is a line's own, spaces at its ends too.
    """
    lines = read_text(path, what, expected).split("\n")
    ended = [line.endswith("\r") for line in lines[:-1]]
    if any(ended) and not all(ended):
        lines_of = f"line {ended.index(True) + 1} ends with CR LF and line {ended.index(False) + 1} with LF"
        raise InputError(f"{path}: {lines_of}; expected one kind of line end ({expected})")
    if any(ended):
        lines = [line.removesuffix("\r") for line in lines]
    return [line for line in lines if line.strip()]


def decimal_number(text: str) -> float:
    """Return the number that `text` is in decimal notation: `0.25`, `-1`, `2.5e-3`.

    Raises ValueError for what Python takes for a number too: `0.2_5`, `nan`, `inf`, spaces around it, other scripts' digits.
    """
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text!r} is no number in decimal notation")
    return float(text)


# --- JSON and YAML ----------------------------------------------------------------------------------------------------


def read_json(path: Path | str, what: str, expected: str) -> Any:
    """Return the content of the JSON file at `path`.

    Raises InputError for a key that an object has twice, a number that is not finite, and a text that cannot be stored.
    """
    text = read_text(path, what, expected)
    try:
        content = json.loads(
            text, object_pairs_hook=_unique_keys, parse_constant=_finite_number, parse_float=_finite_number
        )
        if _ESCAPED.search(text):
            _refuse_not_storable(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON file ({error}); expected {expected}") from error
    return content


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} is twice in one object, after {str(dict(pairs[:1]))[:60]}…")
    return content


def _finite_number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text} is not finite")
    return value


def _refuse_not_storable(content: Any) -> None:
    if isinstance(content, dict | list):
        for value in [*content, *content.values()] if isinstance(content, dict) else content:
            _refuse_not_storable(value)
    elif isinstance(content, str) and not is_storable(content):
        raise ValueError(f"{content!r} holds a zero byte or half of a surrogate pair")


def is_storable(text: str) -> bool:
    """Return whether `text` can be stored in UTF-8, and in HDF5."""
    return not _NOT_STORABLE.search(text)


def refuse_not_storable(listed_in: Path | str, paths: Iterable[str]) -> None:
    """Raise InputError that names a path which cannot be stored, as `listed_in` has it."""
    bad = next((path for path in paths if not is_storable(path)), None)
    if bad is not None:
        raise InputError(f"{listed_in}: the path {bad!r} is not UTF-8 or holds a zero byte; expected one that is UTF-8")


def check_config_file(path: Path | str) -> None:
    """Raise InputError for a key that a mapping of the YAML or JSON file at `path` has twice: the first would be lost.

    YAML's `<<` may repeat keys: it says what others are added to.
    """
    expected = "a config file in YAML or JSON"
    text = read_text(path, "config file", expected)
    try:
        root = yaml.compose(text, yaml.CSafeLoader)
    except yaml.YAMLError as error:
        try:
            json.loads(text, object_pairs_hook=_unique_keys)  # with tabs, for one, JSON is not YAML
        except (ValueError, RecursionError):
            reason = " ".join(str(error).split())
            raise InputError(f"{path}: not a YAML file ({reason}); expected {expected}") from error
        return
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if not isinstance(node, yaml.CollectionNode) or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            _refuse_repeated_keys(path, node)
            waiting += [value for _, value in node.value]
        else:
            waiting += node.value


def _refuse_repeated_keys(path: Path | str, node: yaml.MappingNode) -> None:
    lines: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            name, line = (key.tag, key.value), key.start_mark.line + 1
            if name in lines:
                raise InputError(
                    f"{path}, line {line}: the key `{key.value}` is there twice, first in line {lines[name]}; expected each "
                    "key once"
                )
            lines[name] = line


# --- CSV --------------------------------------------------------------------------------------------------------------


def csv_rows(lines: Iterable[str], path: Path | str, expected: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the header and the rows of a CSV file, each with the number of its last line; blank lines count for nothing.

    lines: of the file at `path`, which messages name. Raises InputError for what is no CSV (a quote that does not end), a
    column's name that is there twice, and a row that has not as many fields as the header.
    """
    reader = csv.reader(lines, strict=True)
    header: list[str] | None = None
    try:
        for row in reader:
            if not row:
                continue
            if header is None:
                header = row
                if twice := [name for name in header if header.count(name) > 1]:
                    raise InputError(
                        f"{path}, line 1: column `{twice[0]}` is there more than once; expected {expected}"
                    )
            elif len(row) != len(header):
                raise InputError(
                    f"{path}, line {reader.line_num}: found {len(row)} fields; expected {len(header)}, as the header has"
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not CSV ({error}); expected {expected}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error.reason}); expected {expected}") from error
