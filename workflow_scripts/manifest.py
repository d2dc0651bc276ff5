"""List a collection's images."""

from attribench.formats.manifest import write_manifest
from attribench.manifest import collect
from attribench.provenance.fingerprints import write_fingerprints
from attribench.provenance.job import job

with job(snakemake):
    root, output = snakemake.config["root"], snakemake.output
    rows, files = collect(root, snakemake.params.listing, snakemake.params.limit)
    write_fingerprints(output.fingerprints, root, files, snakemake.params.token, snakemake.threads)
    write_manifest(output.manifest, rows)
