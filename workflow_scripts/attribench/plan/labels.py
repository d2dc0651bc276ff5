"""Labels: what tables and figures call each method, by the config."""

from collections.abc import Sequence

from attribench.common.errors import InputError
from attribench.formats.ranking import SCORES, Method, method_labels
from attribench.plan.settings import Config


def labels_of_config(config: Config, methods: Sequence[Method]) -> dict[Method, str]:
    """Return what tables and figures call each of `methods`. Raises InputError where they would call two the same."""
    entries = {name: config.extractor_registry[name] for name in config.extractors}
    entries |= {name: config.score_registry[name] for name in config.score_methods}
    names = {name: entry.label for name, entry in entries.items() if entry.label}
    labels = method_labels(methods, names, config.variant_labels)
    for method, label in labels.items():
        other = next(other for other in labels if labels[other] == label)
        if other != method:
            keys = ", ".join(key for one in (other, method) for key in _label_keys(config, one))
            raise InputError(
                f"config key {keys}: {other.name} and {method.name} both have the label `{label}`; expected a label for "
                "each method, other than each name"
            )
    return labels


def _label_keys(config: Config, method: Method) -> list[str]:
    """Return the config keys that give a method's label, or parts of it."""
    registry = "score_registry" if method.variant == SCORES else "extractor_registry"
    entries = {f"{registry}.{method.extractor}": getattr(config, registry)[method.extractor]}
    for key in ("variant_registry", "tune"):
        if method.variant in getattr(config, key):
            entries[f"{key}.{method.variant}"] = getattr(config, key)[method.variant]
    return [f"{key}.label" for key, entry in entries.items() if entry.label]
