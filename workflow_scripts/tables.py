"""Write the CSV tables."""

import logging

from attribench.common.tables_io import write_table
from attribench.formats.rank_file import read_rank_file
from attribench.formats.ranking import labels_of, seen_of
from attribench.metrics import read_query_table
from attribench.provenance.job import job
from attribench.tables import tables
from attribench.tables.precisions import precisions_table
from attribench.tables.published import Number, published_table
from attribench.tables.statistics import Resampling

with job(snakemake, other_keys={snakemake.output.published: snakemake.params.published_key}):
    params, output = snakemake.params, snakemake.output
    methods = [tuple(method) for method in params.methods]
    metrics = {method: read_query_table(path) for method, path in zip(methods, snakemake.input.metrics, strict=True)}
    for sentence in tables.left_out(metrics, params.recall_ks):
        logging.warning("%s", sentence)
        print(sentence, flush=True)  # on the terminal too
    rankings = [read_rank_file(path) for path in snakemake.input.ranks]
    resampling = Resampling(**params.bootstrap)
    settings = params.benchmark, params.recall_ks, resampling
    summary = tables.summary_table(metrics, *settings)
    written = {
        output.summary: summary,
        output.comparisons: tables.comparisons_table(metrics, *settings),
        output.breakdown: tables.breakdown_table(metrics, *settings),
        output.database_sizes: tables.sizes_table(rankings, *settings),
        output.invalid_images: tables.invalid_table(rankings),
        output.left_out: tables.left_out_table(snakemake.input.left_out),
        output.near_duplicates: tables.near_duplicates_table(rankings),
        output.precisions: precisions_table(rankings, params.compared, params.benchmark, resampling),
    }
    labels = labels_of(params.labels)
    written = {path: tables.with_labels(table, labels) for path, table in written.items()}
    seen = {(r.split, *r.method): seen_of(r, params.benchmark) for r in rankings}
    for path in (output.summary, output.comparisons, output.breakdown, output.database_sizes):
        written[path] = tables.with_seen(written[path], seen)
    written[output.missing_variants] = tables.missing_variants_table(params.missing_variants)
    written[output.published] = published_table([Number(*number) for number in params.published], summary)
    for split, path in zip(params.splits, output.splits, strict=True):
        written[path] = tables.split_table(metrics, split, params.recall_ks)
    for path, table in written.items():
        write_table(path, table)
