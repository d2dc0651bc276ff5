"""The settings of a run, from its config files, as Snakemake merges them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from attribench.common.errors import InputError
from attribench.common.text_files import check_config_file
from attribench.plan.config import REPOSITORY, filled_in, with_sections
from attribench.plan.settings import Settings

# Those that are shipped, in the order in which each is merged over the ones before.
CONFIG_FILES = ("config.yaml", "benchmarks.yaml", "extractors.yaml", "variants.yaml", "sources.yaml")


def read_settings(files: Sequence[Path | str] = (), pairs: Sequence[str] = ()) -> dict[str, Any]:
    """Return the shipped settings with those of `files` merged over them, and then the `pairs` (KEY=VALUE, in YAML).

    Raises InputError that names a file which cannot be read as settings, or a pair that is none.
    """
    settings: dict[str, Any] = {}
    for file in [*(REPOSITORY / name for name in CONFIG_FILES), *files]:
        check_config_file(file)
        content = yaml.load(Path(file).read_text(encoding="utf-8-sig"), yaml.CSafeLoader) or {}
        if not isinstance(content, dict):
            raise InputError(f"{file}: holds {type(content).__name__}; expected config keys with values")
        settings = _merged(settings, with_sections(content))
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals and value):
            raise InputError(f"{pair!r} is no setting; expected KEY=VALUE, such as results=results_color")
        settings = _merged(settings, with_sections({key: yaml.safe_load(value)}))
    return settings


def default_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return each setting of `config.yaml` as it is shipped; where it is null, what follows from those of `config`.

    config: the checked settings, in which nothing is left open. What may be chosen from, in the other files, is left out.
    """
    keys = yaml.load((REPOSITORY / CONFIG_FILES[0]).read_text(encoding="utf-8"), yaml.CSafeLoader)
    shipped = read_settings()
    # Other settings follow from these.
    of_run = {key: config[key] for key in ("benchmarks", "benchmark", "results")}
    filled = filled_in(Settings.model_validate({**shipped, **of_run})).model_dump(mode="json")
    return {key: shipped[key] if key in of_run else filled[key] for key in keys}


def _merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `settings` with `changes` merged over them, section by section."""
    merged = dict(settings)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
