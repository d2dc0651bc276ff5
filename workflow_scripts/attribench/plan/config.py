"""The configuration of a run: the settings, checked against each other, with what follows from the user's choices.

`load` turns what Snakemake read into a `Config`, or into one `InputError` that names each wrong key, its value and what is
valid.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from attribench.common.errors import InputError, nearest
from attribench.extract.registry import ExtractorEntry, FeatureFiles
from attribench.formats.ranking import PRETRAINED, SCORES
from attribench.plan.messages import explain
from attribench.plan.settings import Config, Settings

REPOSITORY = Path(__file__).parents[3]


def refuse_empty(given: Mapping[str, Any]) -> None:
    """Raise InputError for a key of the command line, `given`, behind whose `=` nothing stands.

    Snakemake reads that as null, for which many keys have a default: with an empty variable in `root=$DATA`, the run would
    take other data than was meant.
    """
    for key, value in given.items():
        if value is None:
            raise InputError(
                f"config key {key} is empty (`{key}=`); expected a value behind it, or `null`; a variable that stands there "
                "may not be set"
            )


def load(raw: dict[str, Any]) -> Config:
    """Check `raw` (what Snakemake read from files and `--config`) and fill in what depends on the benchmark.

    Raises InputError with one line for each key that is unknown or has a wrong value.
    """
    raw = with_sections(raw)
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        problems = "".join(f"\n  {line}" for line in explain(error, raw, Settings))
        raise InputError(f"config is not valid:{problems}") from error
    _refuse_unknown("benchmark", [settings.benchmark], settings.benchmarks)
    config = filled_in(settings)
    _check_neighbours(config)
    _check_names(config)
    _check_methods(config)
    _refuse_groups_called_as_splits(config)
    _check_tuning(config)
    _check_influence(config)
    _check_sizes(config)
    _check_features(config)
    return _with_compared(config)


def with_sections(raw: Mapping[Any, Any]) -> dict[str, Any]:
    """Return `raw` with each key that has dots in it, such as `bootstrap.samples`, put into its section."""
    nested = {str(key): value for key, value in raw.items() if "." not in str(key)}
    dotted = {tuple(str(key).split(".")): value for key, value in raw.items() if "." in str(key)}
    for keys in sorted(dotted, key=len):  # what is deeper counts more
        below = nested
        for section in keys[:-1]:
            if not isinstance(below.get(section, {}), dict):
                raise InputError(
                    f"config key {'.'.join(keys)}: `{section}` is {below[section]!r}; expected a section with keys"
                )
            below[section] = dict(below.get(section, {}))
            below = below[section]
        below[keys[-1]] = dotted[keys]
    return nested


def default_root(benchmark: str) -> str:
    """Return the folder of a benchmark's inputs where none is given."""
    return f"resources/{benchmark}"


def own_features(results: str) -> str:
    """Return the folder of the features of `results` where none is given."""
    return f"{results}/features"


def _beside_config(path: str | None) -> str | None:
    """Return `path`, below the repository if the working folder is another one and does not have it."""
    is_there = path is None or os.path.exists(path) or not (REPOSITORY / path).exists()
    return path if is_there else str(REPOSITORY / path)


def filled_in(settings: Settings) -> Config:
    """Return the settings with what follows from the benchmark and the results folder where they leave it open."""
    entry = settings.benchmarks[settings.benchmark]
    results = settings.results.rstrip("/") or "/"
    chosen = {
        "root": (settings.root or default_root(settings.benchmark)).rstrip("/") or "/",
        "results": results,
        "features": (settings.features or own_features(results)).rstrip("/") or "/",
        "splits": settings.splits or entry.default_splits or list(entry.splits),
        "extractors": entry.extractors if settings.extractors is None else settings.extractors,
        "variants": settings.variants or entry.default_variants,
        # Influence is not defined for hard negatives: by default it is off with them.
        "influence": entry.default_influence and not settings.hard_negatives
        if settings.influence is None
        else settings.influence,
        "database_shards": settings.database_shards or entry.database_shards,
        "recall_ks": sorted(settings.recall_ks),
        "database_sizes": sorted(settings.database_sizes),
        "published_numbers": _beside_config(settings.published_numbers),
        "compared_extractors": {},
    }
    return _with_own_features(Config(**{**dict(settings), **chosen}))


def _with_own_features(config: Config) -> Config:
    """Return `config` with an entry for each extractor that has none, but whose features lie where the benchmark's do."""
    registry = dict(config.extractor_registry)
    for name in config.extractors:
        files = _own_feature_files(config, name)
        if name not in registry and any(os.path.exists(os.path.join(config.root, file)) for file in files):
            entry = config.entry
            registry[name] = ExtractorEntry(
                features=FeatureFiles(database=entry.database.features, splits=entry.split_features)
            )
    return config.model_copy(update={"extractor_registry": registry})


def _own_feature_files(config: Config, extractor: str) -> list[str]:
    """Return where the benchmark's features of `extractor` would lie, below the root; none if it does not say."""
    database, of_split = config.entry.database.features, config.entry.split_features
    if not (database and of_split and "{extractor}" in database + of_split):
        return []
    files = [database, *(of_split.replace("{split}", split) for split in config.splits)]
    return [file.replace("{extractor}", extractor) for file in files]


# --- checks of one key against another -----------------------------------------------------------------------------------


def _refuse_unknown(key: str, values: list, choices: Iterable[str], hint: str = "") -> None:
    choices = list(choices)
    for value in values:
        if value not in choices:
            valid = ", ".join(map(str, choices)) or "none, because the list is empty"
            valid += hint
            raise InputError(
                f"config key {key}: unknown value `{value}`{nearest(value, choices) or '.'} Valid: {valid}"
            )


def _check_neighbours(config: Config) -> None:
    shown = {"contact_sheet": config.contact_sheet.neighbours, "gallery": config.gallery.neighbours}
    if beyond := {f"{section}.neighbours": n for section, n in shown.items() if n > config.top_k}:
        keys = " and ".join(f"{key} is {n}" for key, n in beyond.items())
        raise InputError(
            f"config key {keys}; expected at most top_k, which is {config.top_k}: no more neighbours are kept"
        )


def _check_names(config: Config) -> None:
    """Raise InputError for a name that does not exist, or that a list has twice."""
    _refuse_unknown("splits", config.splits, config.entry.splits)
    for extractor in config.extractors:
        own = f". Features of your own need a line `{extractor}: {{features: FILE}}` below `extractor_registry`"
        if files := _own_feature_files(config, extractor):
            own += f", or {', '.join(files)} below the root"
        _refuse_unknown("extractors", [extractor], config.extractor_registry, own)
    _refuse_unknown("variants", config.variants, config.variant_names)
    _refuse_unknown("score_methods", config.score_methods, config.score_registry)
    for name, source in config.sources.items():
        _refuse_unknown(f"sources.{name}.benchmark", [source.benchmark], config.benchmarks)
    lists = ("splits", "extractors", "variants", "score_methods", "recall_ks", "database_sizes", "compare_precisions")
    for key in lists:
        values = getattr(config, key)
        repeated = sorted({str(v) for v in values if values.count(v) > 1})
        if repeated:
            raise InputError(f"config key {key}: {', '.join(repeated)} is listed more than once; list each once")


def _check_methods(config: Config) -> None:
    if not config.extractors and not config.score_methods:
        raise InputError("config key extractors is empty; expected at least one extractor, or one of score_methods")
    for name in sorted({PRETRAINED, SCORES} & {*config.variant_registry}):
        raise InputError(f"config key variant_registry.{name}: the name is taken; call the variant otherwise")
    for name in sorted({PRETRAINED, SCORES, *config.variant_registry} & {*config.tune}):
        raise InputError(f"config key tune.{name}: the name is taken by a variant; call the tuned one otherwise")
    for name in sorted({*config.extractors} & {*config.score_methods}):
        raise InputError(f"config key score_methods: {name!r} is an extractor too; call one of them otherwise")


def _refuse_groups_called_as_splits(config: Config) -> None:
    for name in config.entry.tuning:
        if name in config.entry.splits:
            raise InputError(
                f"config key benchmarks.{config.benchmark}.tuning: {name} is a split's name too; call the group otherwise"
            )


def _check_tuning(config: Config) -> None:
    """Raise InputError for a chosen variant that is to be tuned on splits which are not there, or on none."""
    for variant in (name for name in config.variants if name in config.tune):
        train, val = config.tuning_splits(variant)
        for part, splits in (("train", train), ("val", val)):
            key, tuning = f"tune.{variant}.{part}", f"benchmarks.{config.benchmark}.tuning"
            if not splits:
                raise InputError(
                    f"config key {key}: no split is given; expected some of {', '.join(config.entry.splits)}, or {tuning} "
                    "to name them"
                )
            groups = f"; or of {tuning}: {', '.join(config.entry.tuning) or 'none'}"
            _refuse_unknown(key, splits, config.entry.splits, groups)
        if both := sorted({*train} & {*val}):
            raise InputError(
                f"config key tune.{variant}.val: {', '.join(both)} is trained on too; expected other splits, which choose "
                "among steps and penalties"
            )
        _refuse_unknown(f"tune.{variant}.extractors", config.tune[variant].extractors or [], config.extractor_registry)
    key = f"benchmarks.{config.benchmark}.tuned_extractors"
    _refuse_unknown(key, config.entry.tuned_extractors or [], config.extractor_registry)


def _check_influence(config: Config) -> None:
    """Raise InputError where influence has no splits to be calibrated on, or candidates that it is not defined for."""
    tuning = f"benchmarks.{config.benchmark}.tuning"
    groups = f"; or groups of {tuning}: {', '.join(config.entry.tuning) or 'none'}"
    names = [name for name in config.calibration_splits or [] if name not in config.entry.tuning]
    _refuse_unknown("calibration_splits", names, config.entry.splits, groups)
    if config.influence and config.hard_negatives:
        raise InputError(
            "config keys influence, hard_negatives are both true, but influence is that of the database and a query's own "
            "exemplars; expected one of them to be false"
        )
    for variant in config.variants if config.influence and config.extractors else []:
        _refuse_trained_on(config, variant)
        is_given = variant in config.variant_registry and config.variant_registry[variant].calibrator
        if not is_given and not config.calibrating_splits(variant):
            raise InputError(
                f"config key influence: there is nothing to calibrate the influence of variant {variant} on; expected "
                f"`calibration_splits` (of {', '.join(config.entry.splits)}), groups of {tuning}, or `influence: false`"
            )


def _refuse_trained_on(config: Config, variant: str) -> None:
    """Raise InputError where a variant's influence would be calibrated on what its mappers were trained on."""
    trained = config.tuning_splits(variant)[0] if variant in config.tune else []
    if both := sorted({*trained} & {*config.calibrating_splits(variant)}):
        raise InputError(
            f"config key calibration_splits: {', '.join(both)} trains the mappers of {variant}, which are too good there; "
            "expected other splits"
        )


def _check_sizes(config: Config) -> None:
    limit, sizes = config.database_limit, config.database_sizes
    if limit and sizes and sizes[-1] > limit:
        raise InputError(
            f"config key database_sizes has {sizes[-1]}; expected at most database_limit, which is {limit}"
        )


def _check_features(config: Config) -> None:
    """Raise InputError where an extractor's features can be made of nothing."""
    entry = config.entry
    if config.database_source == "features" and config.extractors:
        of_database, of_splits = (
            config.feature_pattern(config.extractors[0], is_database) for is_database in (True, False)
        )
        if of_database and of_database == of_splits:
            raise InputError(
                f"config key database_source is `features`: the database would be all images of "
                f"{of_database}, which are the splits' too; expected `images`, and the database's "
                "`folder` or `list`"
            )
    for key, name, is_database in (
        ("database_source", "database.features", True),
        ("split_source", "split_features", False),
    ):
        for extractor in config.extractors:
            if config.takes_images(extractor, is_database) or config.feature_pattern(extractor, is_database):
                continue
            of = "database" if is_database else "splits"
            if config.extractor_registry[extractor].library is None:
                raise InputError(
                    f"config key extractor_registry.{extractor}.features: names no file for `{of}`; expected its path below "
                    "the root"
                )
            raise InputError(
                f"config key {key} is `features`, but benchmarks.{config.benchmark}.{name} is not given; expected the path "
                f"of a feature file below the root, with {{extractor}} (and {{split}}) in it, or `features` in the entries "
                f"of extractor_registry that have some"
            )
    if entry.database.folder or entry.database.list:
        return
    if not config.extractors or any(config.takes_images(extractor, True) for extractor in config.extractors):
        raise InputError(
            f"config key database_source is `{config.database_source}`, but benchmarks.{config.benchmark}.database has "
            "neither `folder` nor `list`; give one, or features of the database for every extractor"
        )


# --- the same networks in another precision ------------------------------------------------------------------------------


def _with_compared(config: Config) -> Config:
    """Return `config` with EXTRACTOR_PRECISION after each network, for each of `compare_precisions` that is not its own."""
    if config.compare_precisions:
        _refuse_given_features(config)
    extractors, registry, compared = [], dict(config.extractor_registry), {}
    for extractor in config.extractors:
        extractors.append(extractor)
        entry = registry[extractor]
        for precision in config.compare_precisions:
            is_network = entry.library not in (None, "color") and entry.features is None
            if not is_network or precision == config.precision_of(extractor):
                continue
            name = f"{extractor}_{precision}"
            if name in registry or name in config.score_registry:
                raise InputError(
                    f"config key compare_precisions: {extractor} in {precision} would be called {name}, which is the name "
                    f"of another method; expected no such name in extractor_registry and score_registry"
                )
            extractors.append(name)
            label = f"{entry.label} {precision}" if entry.label else None
            registry[name] = entry.model_copy(update={"precision": precision, "label": label})
            compared[name] = extractor
    for precision in config.compare_precisions:
        if precision not in {registry[name].precision for name in compared}:
            raise InputError(
                f"config key compare_precisions: no extractor is left to run in {precision}; expected a network among "
                f"extractors ({', '.join(config.extractors)}) with another precision of its own"
            )
    changes = {"extractors": extractors, "extractor_registry": registry, "compared_extractors": compared}
    return config.model_copy(update=changes)


def _refuse_given_features(config: Config) -> None:
    for key in ("database_source", "split_source"):
        if getattr(config, key) == "features":
            raise InputError(
                f"config key compare_precisions is [{', '.join(config.compare_precisions)}], but {key} is `features`, which "
                f"are as they were extracted; expected {key}: images, or compare_precisions: []"
            )
