# Rank every exemplar exactly, and keep each query's nearest neighbours.


rule rank:
    input:
        unpack(
            needs(
                "rank",
                manifest=manifest_of,
                split=split_features,
                database=database_features,
                downloads=downloads_of(lambda w: plan.mapper_paths(w.extractor, w.variant)),
            )
        ),
    output:
        ranks=plan.pattern("ranks"),
    log:
        log_file("rank/{split}/{extractor}_{variant}"),
    benchmark:
        benchmark_file("rank/{split}/{extractor}_{variant}")
    wildcard_constraints:
        extractor=one_of(plan.config.extractors),
        variant=one_of(plan.config.variants),
    threads: 8
    resources:
        mem_mb=6000,
        runtime="8h",
    params:
        key=job_key("rank"),
        mapper=lambda wildcards: plan.mapper_file(wildcards.extractor, wildcards.variant) or "",
        options=plan.rank_options(),
        database=plan.database,
    message:
        "Ranking {wildcards.split} by {wildcards.extractor} {wildcards.variant}"
    script:
        "../workflow_scripts/rank.py"
