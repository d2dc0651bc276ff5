"""The CSV tables."""

from attribench import tables
from attribench.metrics import read_query_table
from attribench.published import Number, published_table
from attribench.rank_file import read_rank_file
from attribench.stage import stage

with stage(snakemake):
    params, output = snakemake.params, snakemake.output
    methods = [tuple(method) for method in params.methods]
    metrics = {method: read_query_table(path) for method, path in zip(methods, snakemake.input.metrics, strict=True)}
    about = (metrics, params.benchmark, params.recall_ks, tables.Resampling(**params.bootstrap))
    summary = tables.summary_table(*about)
    written = {
        output.summary: summary,
        output.comparisons: tables.comparisons_table(*about),
        output.breakdown: tables.breakdown_table(*about),
        output.invalid_images: tables.invalid_table([read_rank_file(path).invalid for path in snakemake.input.ranks]),
        output.published: published_table([Number(*number) for number in params.published], summary),
    }
    for split, path in zip(params.splits, output.splits, strict=True):
        written[path] = tables.split_table(metrics, split, params.recall_ks)
    for path, table in written.items():
        tables.write_csv(path, table)
