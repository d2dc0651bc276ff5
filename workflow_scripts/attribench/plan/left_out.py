"""Methods that are left out of a run: extractors for which a chosen variant is not tuned, or has no checkpoint."""

from collections.abc import Iterable, Sequence

from attribench.plan.settings import Config

_NAMED = 5  # extractors in a line


def left_out_lines(config: Config, missing: Iterable[tuple[str, str]]) -> list[str]:
    """Return, a line each, for which extractors which of the chosen variants are left out, and why.

    missing: (extractor, variant) of each that lacks its checkpoint.
    """
    return [*_untuned_lines(config), *_missing_lines(missing)]


def _untuned_lines(config: Config) -> list[str]:
    by_reason: dict[tuple[Sequence[str], str], list[str]] = {}
    for variant in (name for name in config.variants if name in config.tune):
        if without := tuple(name for name in config.extractors if not config.has_variant(name, variant)):
            by_reason.setdefault((without, _tuned_for(config, variant)), []).append(variant)
    return [
        f"{', '.join(variants)} for {_first_of(without)}: not in {tuned_for}"
        for (without, tuned_for), variants in by_reason.items()
    ]


def _tuned_for(config: Config, variant: str) -> str:
    """Return the key that says for which extractors the variant is tuned, with its value."""
    if own := config.tune[variant].extractors:
        return f"tune.{variant}.extractors ({', '.join(own)})"
    names = ", ".join(config.entry.tuned_extractors)
    return (
        f"benchmarks.{config.benchmark}.tuned_extractors ({names}); for a variant of its own, `extractors` in its entry "
        "below `tune` replaces that list"
    )


def _missing_lines(missing: Iterable[tuple[str, str]]) -> list[str]:
    by_variant: dict[str, list[str]] = {}
    for extractor, variant in missing:
        by_variant.setdefault(variant, []).append(extractor)
    return [f"{variant} for {_first_of(names)}: no checkpoint is there" for variant, names in by_variant.items()]


def _first_of(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + rest
