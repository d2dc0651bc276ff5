# Rank every exemplar exactly, and keep each query's nearest neighbours: by all variants of an extractor that have to be
# ranked, in one pass over its features.


rule rank:
    input:
        unpack(
            needs(
                "rank",
                manifest=manifest_of,
                split=split_features,
                database=database_features,
                downloads=downloads_of(lambda w: plan.mappers_to_apply(**w, only_needed=not is_forced())),
            )
        ),
    output:
        # No rank file: Snakemake would remove it, current or not, before the job runs and when it fails.
        ranked=touch(plan.pattern("ranked")),
    log:
        log_file("rank/{split}/{extractor}"),
    benchmark:
        benchmark_file("rank/{split}/{extractor}")
    wildcard_constraints:
        extractor=one_of(plan.config.extractors),
    threads: 8
    resources:
        mem_mb=lambda wildcards: 5000 + 1000 * len(plan.variants(wildcards.extractor)),
        runtime=lambda wildcards: 8 * 60 * len(plan.variants(wildcards.extractor)),
        # Only where it is asked for: without one, the processor ranks, which need not wait for a node that has it.
        gpu=1 if plan.config.device == "cuda" else 0,
    params:
        # A function of `input`, so that Snakemake does not compare it with that of an earlier run.
        variants=lambda wildcards, input: plan.ranked_variants(**wildcards),
        options=plan.rank_options(),
        database=plan.database,
    message:
        "Ranking {wildcards.split} by {wildcards.extractor}"
    script:
        "../workflow_scripts/rank.py"
