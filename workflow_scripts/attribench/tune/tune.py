"""Tune the mappers of one extractor: from manifests and feature shards to a checkpoint and its learning curve."""

import logging
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from platform import python_version

import torch

from attribench.common.errors import InputError
from attribench.common.tables_io import write_rows
from attribench.formats.checkpoint import Checkpoint, TrainedOn, write_checkpoint
from attribench.formats.features import CollectionFiles, Invalid
from attribench.formats.manifest import manifest_length
from attribench.overlap import CHOOSES, refuse_overlap
from attribench.tune.batches import Part
from attribench.tune.collection import Entries, database_parts, read_entries, refuse_one_entry
from attribench.tune.settings import Training
from attribench.tune.training import CURVE_COLUMNS, Data, Diverged, train
from attribench.tune.validation import Validation

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outputs:
    """Name the files of a tuning: the checkpoint as .pth and .safetensors, and the learning curve as CSV."""

    checkpoint: Path | str
    safetensors: Path | str
    curve: Path | str


def tune(
    outputs: Outputs,
    *,
    train_splits: list[CollectionFiles],
    val_splits: list[CollectionFiles],
    database: CollectionFiles,
    benchmark: str,
    extractor: str,
    training: Training,
    device: str,
    threads: int,
    key: str = "",
) -> None:
    """Train mappers on `train_splits`, choose among steps and penalties on `val_splits`, and write the best.

    device: of torch. threads: of the ranking. key: that of the job, under which a killed training goes on. Memory is the
    exemplars, the val splits, two windows of queries and of the database, and the first images of the database that val
    queries are ranked among. Raises InputError for splits that overlap or have nothing to train on, and for a loss that
    diverges.
    """
    for split in val_splits:
        refuse_overlap(train_splits, split, training.near_duplicates, CHOOSES)
    invalid = Invalid()
    entries = read_entries(train_splits, invalid)
    parts = _negatives(database, entries, training, train_splits[0])
    validation = Validation(val_splits, database, training.val_database, entries.identity, threads)
    data = Data.of(entries, parts, training)
    log.info(
        "%d queries of %d entries, %d exemplars to train on; %d images of these splits are invalid",
        data.queries.n_rows,
        len(entries.offsets) - 1,
        len(entries.exemplars),
        len(invalid.images),
    )
    checkpoint = Path(outputs.checkpoint)
    state = checkpoint.with_name(f".{checkpoint.stem}.training")
    try:
        best, curve = train(data, validation, training, device, state, key)
    except Diverged as error:
        raise InputError(f"{checkpoint}: {error}") from None
    names = [tuple(source.collection for source in sources) for sources in (train_splits, val_splits)]
    provenance = {
        "settings": training.decisive(),
        "penalty": best.penalty,
        "step": best.step,
        "val_mAP": best.val,
        "dimension": entries.identity.dimension,
        "weights": entries.identity.weights,
        "device": device,
        "versions": {"torch": torch.__version__, "python": python_version()},
        "key": key,
    }
    write_rows(outputs.curve, chain([CURVE_COLUMNS], map(_plain, curve)))
    made = Checkpoint(best.real, best.synth, TrainedOn(extractor, benchmark, *names))
    write_checkpoint(outputs.checkpoint, outputs.safetensors, made, provenance)
    log.info("chosen: penalty %g, step %d, val mAP %.4f", best.penalty, best.step, best.val)
    if not best.step:
        log.warning("no step had a better val mAP than the start: %s holds untrained mappers", checkpoint)


def _negatives(
    database: CollectionFiles, entries: Entries, training: Training, first_split: CollectionFiles
) -> list[Part]:
    """Return where the database's images are that serve as negatives; none where none are asked for."""
    if training.negatives:
        return database_parts(database, manifest_length(database.manifest), entries)
    refuse_one_entry(first_split, entries)
    return []


def _plain(row: tuple) -> list:
    """Return a row of the curve as the table has it: there is no loss before the first step."""
    return [None if value != value else str(value).lower() if isinstance(value, bool) else value for value in row]
