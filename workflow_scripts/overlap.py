"""Refuse images of training splits that a split evaluates too."""

from itertools import chain

from attribench.common.tables_io import write_rows
from attribench.provenance.job import job
from attribench.tune.collection import Source
from attribench.tune.overlap import Nearest, refuse_overlap

with job(snakemake):
    params = snakemake.params
    trained = [Source(**source) for source in params.trained]
    nearest = refuse_overlap(trained, Source(**params.evaluated), params.near_duplicates)
    write_rows(snakemake.output[0], chain([Nearest._fields], nearest))
