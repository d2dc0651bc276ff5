"""A run's methods, extractors and collections in words, for its report."""

import os

from attribench.extract.registry import WeightsFile
from attribench.formats.ranking import PRETRAINED, SCORES, Method
from attribench.plan.plan import Plan


def described_methods(plan: Plan) -> list[list[str]]:
    """Return the label of each method, and what it is."""
    return [[label, _described(plan, method)] for method, label in plan.labels.items()]


def described_collections(plan: Plan) -> list[list[str]]:
    """Return the name of each collection, what it is for, and the path of the record of its given files."""
    config = plan.config
    uses: dict[str, dict[str, None]] = {name: {} for name in plan.collections}
    uses[plan.database]["the database"] = None
    for split in config.splits:
        uses[split]["evaluated"] = None
    for variant in config.variants:
        train, val = config.tuning_splits(variant) if variant in plan.tuned else ([], [])
        parts = {"mappers are trained on it": train, "chooses mappers": val}
        for use, splits in (parts | {"calibrates influence": config.calibrating_splits(variant)}).items():
            for split in splits:
                uses.get(split, {})[use] = None  # of a variant that no chosen extractor has, the splits are not read
    return [[name, ", ".join(use), plan.path("fingerprints", collection=name)] for name, use in uses.items()]


def described_extractors(plan: Plan) -> list[list[str]]:
    """Return the name of each extractor, its library, model, weights, preprocessing and precision."""
    names = dict.fromkeys(method.extractor for method in plan.labels if method.variant != SCORES)
    return [[name, *_extractor(plan, name)] for name in names]


def _described(plan: Plan, method: Method) -> str:
    if method.variant == SCORES:
        return "scores from a file"
    return f"extractor {method.extractor}; {_variant(plan, method)}"


def _extractor(plan: Plan, name: str) -> list[str]:
    entry = plan.config.extractor_registry[name]
    if name not in plan.network_inputs:
        return ["features from files", "", "", "", ""]
    # Not where files lie, which is another place on another machine.
    model = os.path.basename(entry.model) if entry.library == "python" else entry.model
    is_file = isinstance(entry.pretrained, WeightsFile)
    weights = os.path.basename(entry.pretrained.file) if is_file else entry.pretrained
    is_network = entry.library != "color"
    return [
        *(entry.library, model or "", weights if is_network else ""),
        *(plan.preprocessing[name], plan.config.precision_of(name)),
    ]


def _variant(plan: Plan, method: Method) -> str:
    if method.variant == PRETRAINED:
        return "features as they are"
    if method.variant in plan.config.tune:
        entry = plan.config.tune[method.variant]
        train, val = plan.config.tuning_splits(method.variant)
        return (
            f"mapped by a {entry.head} head, trained on {', '.join(train)}, step and penalty chosen on {', '.join(val)}"
        )
    return f"mapped by {os.path.basename(plan.mapper_file(*method))}"
