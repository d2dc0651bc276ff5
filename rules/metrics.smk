# Average precision and recall of every query.


rule metrics:
    input:
        unpack(needs("metrics", ranks=rank_of)),
    output:
        metrics=plan.pattern("metrics"),
    log:
        log_file("metrics/{split}/{extractor}_{variant}"),
    benchmark:
        benchmark_file("metrics/{split}/{extractor}_{variant}")
    resources:
        mem_mb=1000,
        runtime="1h",
    params:
        key=job_key("metrics"),
        ranks=lambda wildcards: plan.path("ranks", **wildcards),
        recall_ks=plan.config.recall_ks,
    message:
        "Metrics of {wildcards.extractor} {wildcards.variant} on {wildcards.split}"
    script:
        "../workflow_scripts/metrics.py"
