"""Download what a source provides."""

from pathlib import Path

from attribench.download.run import download
from attribench.download.table import DownloadSettings, Source
from attribench.stage import stage

with stage(snakemake, keep_key=False):
    rows = [(name, Source(**row)) for name, row in snakemake.params.rows]
    settings = DownloadSettings(**snakemake.config["download"])
    download(snakemake.config["root"], rows, snakemake.params.wanted, snakemake.params.token, settings)
    Path(snakemake.output[0]).touch()
