"""Make the gallery's page."""

from pathlib import Path

from attribench.gallery.page import read_split, write_page
from attribench.provenance.job import job

with job(snakemake):
    splits = [read_split(path)["split"] for path in snakemake.input.data]
    write_page(Path(snakemake.output[0]).parent, snakemake.params.benchmark, splits)
