"""Write the page of a run."""

from pathlib import Path

import pandas as pd
from attribench.common.files import write_text
from attribench.decode.reading import Reading
from attribench.formats.ranking import labels_of
from attribench.provenance.job import job
from attribench.report.page import render
from attribench.report.report import RunDescription, provenance_context, queries_context, results_context
from attribench.tables.influence import read_influence_table
from attribench.tables.published import read_published_table
from attribench.tables.standings import standings
from attribench.tables.tables import read_comparisons, read_summary

with job(snakemake):
    params, tables, config = snakemake.params, snakemake.input, snakemake.config
    run = RunDescription(
        benchmark=params.benchmark,
        rendered=params.rendered,
        confidence=params.confidence,
        samples=params.samples,
        sheet=params.sheet,
        labels=labels_of(params.labels),
        methods=params.methods,
        extractors=params.extractors,
        tuned=params.tuned,
        collections=params.collections,
        ranks=params.ranks,
    )
    compared = standings(read_summary(tables.summary), read_comparisons(tables.comparisons), params.confidence)
    influence = read_influence_table(tables.influence[0]) if tables.influence else None
    published = read_published_table(tables.published)
    reading = Reading(config["exif"], config["max_pixels"])
    page = results_context(run, compared, influence, published, params.figures)
    near = pd.read_csv(tables.near_duplicates)
    page |= queries_context(run, compared, Path(config["root"]), reading, near)
    defaults = config.pop("default_settings")
    page |= provenance_context(run, params.key, config, defaults, Path(snakemake.scriptdir).parent)
    write_text(snakemake.output[0], render(page))
