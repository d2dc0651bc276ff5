"""Draw the contact sheets of a split: some queries by one method, and some by all of them."""

from pathlib import Path

from attribench.contact import comparison_sheet, contact_sheet
from attribench.decode.reading import Reading
from attribench.formats.rank_file import read_rank_file
from attribench.formats.ranking import Method
from attribench.manifest import read_prompts
from attribench.plots.figure_settings import FigureSettings
from attribench.plots.save import save_plot
from attribench.provenance.job import job

with job(snakemake):
    root, params = snakemake.config["root"], snakemake.params
    reading = Reading(snakemake.config["exif"], snakemake.config["max_pixels"])
    rankings = [read_rank_file(path) for path in snakemake.input.ranks]
    shown = next(ranking for ranking in rankings if ranking.method == Method(*params.method))
    n_neighbours, choose = params.sheet["neighbours"], params.sheet["choose"]
    settings, prompts = FigureSettings.of(params.plots, params.labels, rankings), read_prompts(snakemake.input.given[0])
    how = (n_neighbours, choose, reading, settings, prompts)
    sheets = {
        "contact": contact_sheet(shown, root, params.sheet["queries"], *how),
        "comparison": comparison_sheet(rankings, root, *how),
    }
    for name, plot in sheets.items():
        save_plot(plot, Path(snakemake.output[0]).parent / f"{snakemake.wildcards.split}_{name}")
