"""Write runs and qrels for tools of information retrieval."""

from attribench.provenance.job import job
from attribench.trec import write_trec

with job(snakemake):
    n_methods = snakemake.params.n_methods
    for number, qrels in enumerate(snakemake.output.qrels):
        of_split = slice(number * n_methods, (number + 1) * n_methods)
        write_trec(qrels, snakemake.output.runs[of_split], snakemake.input.ranks[of_split])
