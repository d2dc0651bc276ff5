"""Compute the metrics of every query."""

from attribench.common.tables_io import write_table
from attribench.formats.rank_file import read_rank_file
from attribench.metrics import query_table
from attribench.provenance.job import job

with job(snakemake):
    ranking = read_rank_file(snakemake.input.ranks)
    write_table(snakemake.output.metrics, query_table(ranking, snakemake.params.recall_ks))
