"""Download what a source provides."""

from attribench.download.download import download
from attribench.download.table import DownloadSettings, Source
from attribench.provenance.job import job

with job(snakemake, keyed=False):
    config, name = snakemake.config, snakemake.params.source
    names = [name, config["sources"][name].get("fallback")]
    download(
        config["root"],
        [(n, Source(**config["sources"][n])) for n in names if n],
        snakemake.params.wanted,
        snakemake.params.token,
        DownloadSettings(**config["download"]),
    )
