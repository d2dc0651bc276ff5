"""Rank a split's exemplars among the database by the variants of an extractor whose rank files are not current."""

import logging
from pathlib import Path

from attribench.identity import is_made
from attribench.manifest import all_shards
from attribench.rank_device import ranking_device
from attribench.rank_split import Options, Variant, rank_split
from attribench.stage import stage

root = Path(snakemake.config["root"])
needed = [about for about in snakemake.params.variants if not is_made(*about[2:])]

with stage(snakemake, outputs={path: key for _, _, path, key in needed}):
    logging.info("variants to rank: %s", ", ".join(name for name, *_ in needed) or "none")
    if needed:
        rank_split(
            [Variant(name, root / mapper if mapper else None, path) for name, mapper, path, _ in needed],
            snakemake.input.manifest,
            split_shards=all_shards(snakemake.input.split),
            database_shards=all_shards(snakemake.input.database),
            database=snakemake.params.database,
            split=snakemake.wildcards.split,
            extractor=snakemake.wildcards.extractor,
            options=Options(**snakemake.params.options),
            threads=snakemake.threads,
            device=ranking_device(snakemake.config["device"]),
        )
