# Rank every exemplar exactly, and keep each query's nearest neighbours.


rule rank:
    input:
        unpack(needs("rank", manifest=manifest_of, split=split_features, database=database_features)),
    output:
        ranks=plan.pattern("ranks"),
    log:
        log_file("rank/{split}/{extractor}_{variant}"),
    benchmark:
        benchmark_file("rank/{split}/{extractor}_{variant}")
    threads: 8
    resources:
        mem_mb=6000,
        runtime="8h",
    params:
        key=job_key("rank"),
        top_k=plan.config.top_k,
        database=plan.database,
    message:
        "Ranking {wildcards.split} by {wildcards.extractor} {wildcards.variant}"
    script:
        "../workflow_scripts/rank.py"
