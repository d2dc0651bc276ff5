"""Refuse images of training splits that a split evaluates too."""

from itertools import chain

from attribench.common.tables_io import write_rows
from attribench.formats.features import CollectionFiles
from attribench.overlap import Nearest, refuse_overlap
from attribench.provenance.job import job

with job(snakemake):
    params = snakemake.params
    trained = [CollectionFiles(**source) for source in params.trained]
    nearest = refuse_overlap(trained, CollectionFiles(**params.evaluated), params.near_duplicates)
    write_rows(snakemake.output[0], chain([Nearest._fields], nearest))
