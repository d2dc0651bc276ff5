"""Download what a source provides."""

from pathlib import Path

from attribench.download.download import download
from attribench.download.networks import network_source
from attribench.download.table import DownloadSettings, Source
from attribench.extract.registry import ExtractorEntry
from attribench.provenance.job import job

with job(snakemake, keyed=False):
    config, name = snakemake.config, snakemake.params.source
    settings = DownloadSettings(**config["download"])
    if name in config["sources"]:
        names = [name, config["sources"][name].get("fallback")]
        rows = [(n, Source(**config["sources"][n])) for n in names if n]
    else:
        entries = [ExtractorEntry(**entry) for entry in config["extractor_registry"].values()]
        rows = [(name, network_source(name, config["benchmark"], entries, Path(config["root"]), settings))]
    download(config["root"], rows, snakemake.params.wanted, snakemake.params.token, settings)
