"""The CSV tables."""

from attribench import tables
from attribench.metrics import read_query_table
from attribench.precisions import precisions_table
from attribench.published import Number, published_table
from attribench.rank_file import read_rank_file
from attribench.stage import stage

with stage(snakemake):
    params, output = snakemake.params, snakemake.output
    methods = [tuple(method) for method in params.methods]
    metrics = {method: read_query_table(path) for method, path in zip(methods, snakemake.input.metrics, strict=True)}
    rank_files = [read_rank_file(path) for path in params.ranks]
    about = (metrics, params.benchmark, params.recall_ks, tables.Resampling(**params.bootstrap))
    summary = tables.summary_table(*about)
    written = {
        output.summary: summary,
        output.comparisons: tables.comparisons_table(*about),
        output.breakdown: tables.breakdown_table(*about),
        output.database_sizes: tables.sizes_table(rank_files, *about[1:]),
        output.invalid_images: tables.invalid_table(content.invalid for content in rank_files),
        output.near_duplicates: tables.near_duplicates_table(rank_files),
        output.missing_variants: tables.missing_variants_table(params.missing_variants),
        output.precisions: precisions_table(rank_files, params.compared, params.benchmark, about[-1]),
        output.published: published_table([Number(*number) for number in params.published], summary),
    }
    for split, path in zip(params.splits, output.splits, strict=True):
        written[path] = tables.split_table(metrics, split, params.recall_ks)
    for path, table in written.items():
        tables.write_csv(path, table)
