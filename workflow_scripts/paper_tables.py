"""Write the tables of a paper, in LaTeX and Markdown."""

from attribench.common.files import write_text
from attribench.formats.rank_file import read_rank_file
from attribench.paper_tables import Protocol, latex_table, markdown_table
from attribench.provenance.job import job
from attribench.tables.standings import standings
from attribench.tables.tables import read_comparisons, read_summary

with job(snakemake):
    params, tables = snakemake.params, snakemake.input
    rankings = [read_rank_file(path) for path in tables.ranks]
    protocol = Protocol(
        params.benchmark,
        params.confidence,
        {ranking.split: ranking.n_database for ranking in rankings},
        any(ranking.hard_negatives for ranking in rankings),
    )
    compared = standings(read_summary(tables.summary), read_comparisons(tables.comparisons), params.confidence)
    for metric, latex, markdown in zip(params.metrics, snakemake.output.latex, snakemake.output.markdown, strict=True):
        write_text(latex, latex_table(compared, metric, protocol))
        write_text(markdown, markdown_table(compared, metric, protocol))
