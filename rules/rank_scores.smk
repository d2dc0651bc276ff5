# The same for a method that gives scores and no features.


rule rank_scores:
    input:
        unpack(
            needs(
                "rank_scores",
                manifest=manifest_of,
                database_manifest=lambda wildcards: plan.path("manifest", collection=plan.database),
            )
        ),
    output:
        ranks=plan.pattern("ranks"),
    log:
        log_file("rank_scores/{split}/{extractor}_{variant}"),
    benchmark:
        benchmark_file("rank_scores/{split}/{extractor}_{variant}")
    wildcard_constraints:
        extractor=one_of(plan.config.score_methods),
        variant=SCORES,
    threads: 8
    resources:
        mem_mb=6000,
        runtime="8h",
    params:
        key=job_key("rank_scores"),
        # No output: Snakemake would delete it when the job fails, and with it all knowledge of what is unchanged.
        record=lambda wildcards: plan.path("score_sources", split=wildcards.split, extractor=wildcards.extractor),
        token=lambda wildcards: plan.score_token(wildcards.split, wildcards.extractor),
        given=lambda wildcards: plan.score_file(wildcards.split, wildcards.extractor),
        options=plan.rank_options(),
        database=plan.database,
    message:
        "Ranking {wildcards.split} by the scores of {wildcards.extractor}"
    script:
        "../workflow_scripts/rank_scores.py"
