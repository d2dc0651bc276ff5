"""Every model of timm and open_clip, tried without weights: which are supported, and at which sizes.

Run `PYTHONPATH=tests:workflow_scripts python tests/helpers/model_sweep.py` after a new timm or open_clip. It writes
tests/data/supported_models.csv, which `tests/unit/extract/test_supported_models.py` compares with the libraries' own lists.
"""

import csv
import logging
import warnings
from pathlib import Path

from attribench.common.errors import InputError
from attribench.extract.extractors import input_of, refuse_unfit
from attribench.extract.registry import ExtractorEntry

TABLE = Path(__file__).parents[1] / "data/supported_models.csv"
COLUMNS = ("library", "model", "own_size", "at_own_size", "other_size", "at_other_size")
# Pixels that are added to a model's own size, until one is taken: patches have 14, 16 or 32 pixels, windows several of them.
STEPS = (32, 56, 96, 224, 256)
SQUARE = {"resize": 1024, "crop": 1024, "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3}


def all_models() -> list[tuple[str, str]]:
    """Return (library, model) of every timm architecture with pretrained weights, and of every config of open_clip's."""
    import open_clip
    import timm

    architectures = sorted({name.partition(".")[0] for name in timm.list_pretrained()})
    return [("timm", name) for name in architectures] + [
        ("open_clip", name) for name in sorted(open_clip.list_models())
    ]


def row_of(library: str, model: str) -> dict[str, str]:
    """Return the row of a model: its size, and at that size and another one `yes`, or why not."""
    entry = ExtractorEntry(library=library, model=model, pretrained=_weights(library, model))
    try:
        own = input_of(entry).preprocessing.crop
    except InputError as error:  # other images than squares in three channels
        own, at_own = SQUARE["crop"], _short(error)
    else:
        at_own = tried(entry)
    row = {"library": library, "model": model, "own_size": own, "at_own_size": at_own}
    for size in (own + step for step in STEPS):
        at_other = tried(entry.model_copy(update={**SQUARE, "resize": size, "crop": size}))
        if at_other == "yes":
            break
    return {**row, "other_size": size, "at_other_size": at_other}


def _weights(library: str, model: str) -> str:
    """Return what `pretrained` is of trained weights, which decide whether they can be resampled."""
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(model) if library == "open_clip" else ["hub"]
    return tags[0] if tags else "none"


def tried(entry: ExtractorEntry) -> str:
    """Return `yes` if the entry's network makes features of images of its size, or why not; other exceptions are faults."""
    try:
        refuse_unfit("", entry, ".")
    except InputError as error:
        return _short(error)
    return "yes"


def _short(error: InputError) -> str:
    return " ".join(str(error).removeprefix("extractor : ").split())[:160]


def main() -> None:
    """Write the table."""
    logging.disable()
    warnings.simplefilter("ignore")
    with open(TABLE, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for library, model in all_models():
            writer.writerow(row_of(library, model))
            file.flush()


if __name__ == "__main__":
    main()
