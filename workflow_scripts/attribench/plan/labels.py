"""Labels: what tables and figures call each method, by the config; and which method and queries
contact sheets show.

An entry of a registry may have a `label`. `plots.labels` names a part of this run, or a whole method, and goes before it.
"""

from collections.abc import Sequence
from pathlib import Path

from attribench.common.errors import InputError, listed, nearest
from attribench.formats.ranking import SCORES, Method, method_labels
from attribench.manifest import read_split_file
from attribench.plan.settings import Config


def labels_of_config(config: Config, methods: Sequence[Method]) -> dict[Method, str]:
    """Return what tables and figures call each of `methods`.

    Raises InputError where they would call two the same, and for a name in `plots.labels` that is none.
    """
    given = config.plots.labels
    _refuse_unknown(config, methods)
    entries = {name: config.extractor_registry[name] for name in config.extractors}
    entries |= {name: config.score_registry[name] for name in config.score_methods}
    names = {name: entry.label for name, entry in entries.items() if entry.label} | given
    for name, other in config.compared_extractors.items():
        if other in given and name not in given:
            names[name] = f"{given[other]} {config.precision_of(name)}"
    labels = method_labels(methods, names, config.variant_labels | given)
    labels = {method: given.get(method.name, label) for method, label in labels.items()}
    for method, label in labels.items():
        other = next(other for other in labels if labels[other] == label)
        if other != method:
            keys = ", ".join(dict.fromkeys(key for one in (other, method) for key in _label_keys(config, one)))
            raise InputError(
                f"config key {keys}: {other.name} and {method.name} both have the label `{label}`; expected a label for "
                "each method, other than each name"
            )
    return labels


def _refuse_unknown(config: Config, methods: Sequence[Method]) -> None:
    """Raise InputError for a name in `plots.labels` that is no extractor's, variant's or method's, chosen or not."""
    parts = [*config.extractor_registry, *config.score_registry, *config.variant_names]
    names = [method.name for method in methods]
    known = {*parts, *names, *(Method(e, v).name for e in config.extractor_registry for v in config.variant_names)}
    for name in config.plots.labels:
        if name not in known:
            used = list(dict.fromkeys([*config.extractors, *config.score_methods, *config.variants, *names]))
            raise InputError(
                f"config key plots.labels.{name}: no extractor, variant or method has this name"
                f"{nearest(name, [*used, *parts]) or '.'} Those of this run: {', '.join(used)}"
            )


def method_of_sheet(config: Config, methods: Sequence[Method]) -> Method:
    """Return the method that contact sheets show. Raises InputError for a name that is none of `methods`."""
    name, by_name = config.contact_sheet.method, {method.name: method for method in methods}
    if name is None:
        return methods[0]
    if name not in by_name:
        raise InputError(
            f"config key contact_sheet.method: unknown value `{name}`{nearest(name, by_name) or '.'} Valid: "
            f"{', '.join(by_name)}"
        )
    return by_name[name]


def refuse_unknown_queries(config: Config) -> None:
    """Raise InputError where `contact_sheet.choose` lists queries that no split has; not while a split file is missing."""
    choose, files = config.contact_sheet.choose, [Path(config.root, config.entry.splits[s]) for s in config.splits]
    if isinstance(choose, str) or not all(file.exists() for file in files):
        return
    known = {row.path for file in files for row in read_split_file(file) if row.role == "query"}
    if unknown := [path for path in choose if path not in known]:
        raise InputError(
            f"config key contact_sheet.choose: {len(unknown)} of the {len(choose)} paths are queries of no split of the run "
            f"({', '.join(config.splits)}){nearest(unknown[0], known)}{listed(unknown)}"
        )


def _label_keys(config: Config, method: Method) -> list[str]:
    """Return the config keys that give a method's label, or parts of it."""
    registry = "score_registry" if method.variant == SCORES else "extractor_registry"
    entries = {f"{registry}.{method.extractor}": getattr(config, registry)[method.extractor]}
    for key in ("variant_registry", "tune"):
        if method.variant in getattr(config, key):
            entries[f"{key}.{method.variant}"] = getattr(config, key)[method.variant]
    own = [f"plots.labels.{name}" for name in (*method, method.name) if name in config.plots.labels]
    return [*(f"{key}.label" for key, entry in entries.items() if entry.label), *own]
