"""Draw the contact sheets of a split: the first method's in full, and all methods on the same queries."""

from pathlib import Path

from attribench.contact import comparison_sheet, contact_sheet
from attribench.decode.reading import Reading
from attribench.formats.rank_file import read_rank_file
from attribench.formats.ranking import labels_of
from attribench.plots.save import save_plot
from attribench.provenance.job import job

with job(snakemake):
    root, size = snakemake.config["root"], snakemake.params.size
    reading = Reading(snakemake.config["exif"], snakemake.config["max_pixels"])
    rankings = [read_rank_file(path) for path in snakemake.input.ranks]
    shared = {"reading": reading, "labels": labels_of(snakemake.params.labels)}
    sheets = {
        "contact": contact_sheet(rankings[0], root, size["queries"], size["neighbours"], **shared),
        "comparison": comparison_sheet(rankings, root, n_neighbours=size["neighbours"], **shared),
    }
    for name, plot in sheets.items():
        save_plot(plot, Path(snakemake.output[0]).parent / f"{snakemake.wildcards.split}_{name}")
