"""List a collection's images."""

from attribench.manifest import collect, write_manifest
from attribench.sources import record
from attribench.stage import stage

with stage(snakemake):
    root = snakemake.config["root"]
    rows, files = collect(root, snakemake.params.given, snakemake.params.limit)
    record(snakemake.params.record, root, files, snakemake.params.token, snakemake.threads)
    write_manifest(snakemake.output.manifest, rows)
