"""Metrics of every query."""

from attribench.metrics import query_table
from attribench.rank_file import read_rank_file
from attribench.stage import stage
from attribench.tables import write_csv

with stage(snakemake):
    ranks = read_rank_file(snakemake.params.ranks)
    write_csv(snakemake.output.metrics, query_table(ranks, snakemake.params.recall_ks))
