"""Refuse images of training splits that a split evaluates too."""

from itertools import chain

from attribench.common.tables_io import write_rows
from attribench.formats.features import CollectionFiles
from attribench.overlap import CHOOSES, Nearest, refuse_overlap
from attribench.provenance.job import job

with job(snakemake):
    params = snakemake.params
    train, val = ([CollectionFiles(**source) for source in sources] for sources in params.splits)
    for split in val:  # as the tuning does, which is not done anew when `near_duplicates` changes
        refuse_overlap(train, split, params.near_duplicates, CHOOSES)
    nearest = refuse_overlap([*train, *val], CollectionFiles(**params.evaluated), params.near_duplicates)
    write_rows(snakemake.output[0], chain([Nearest._fields], nearest))
