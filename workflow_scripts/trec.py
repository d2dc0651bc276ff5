"""Runs and qrels for tools of information retrieval."""

from attribench.stage import stage
from attribench.trec import write_trec

with stage(snakemake):
    n_methods = snakemake.params.n_methods
    for number, qrels in enumerate(snakemake.output.qrels):
        of_split = slice(number * n_methods, (number + 1) * n_methods)
        write_trec(qrels, snakemake.output.runs[of_split], snakemake.params.ranks[of_split])
