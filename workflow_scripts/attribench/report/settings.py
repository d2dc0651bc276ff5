"""The settings of a run, for its page: those that differ from the shipped files, all of them, and their digest."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from attribench.provenance.keys import digest

# Where things lie, and how fast: the digest is the same on every machine.
_ELSEWHERE = ("root", "results", "features", "device", "batch_size", "download", "sources")


def settings_digest(config: Mapping[str, Any]) -> str:
    """Return the digest of all settings but those that say where things lie, how they are fetched, and how fast."""
    return digest({key: value for key, value in config.items() if key not in _ELSEWHERE})


def settings_text(config: Mapping[str, Any]) -> str:
    """Return all settings as YAML."""
    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True, width=120)


def changed_settings(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return key, value and default of each setting of `config` that is not as in `defaults`."""
    return [(key, _text(value), _text(default)) for key, value, default in _changes("", config, defaults)]


def _changes(prefix: str, config: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for key, default in defaults.items():
        value = config.get(key)
        if isinstance(default, dict) and isinstance(value, dict):
            yield from _changes(f"{prefix}{key}.", value, default)
        elif value != default:
            yield f"{prefix}{key}", value, default


def _text(value: Any) -> str:
    """Return a value as YAML has it, in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("...\n").strip()
