# Average precision and recall of every query.


@cache
def metrics_key(split, extractor, variant):
    return key_of(
        "metrics",
        code=code_of("metrics"),
        settings=plan.config.recall_ks,
        reads=[rank_key(split, extractor, variant)],
    )


def metrics_inputs(wildcards):
    job = f"metrics/{wildcards.split}/{wildcards.extractor}/{wildcards.variant}"
    return by_content(
        job, {plan.path("metrics", **wildcards): metrics_key(**wildcards)}, ranks=plan.path("ranks", **wildcards)
    )


rule metrics:
    input:
        unpack(metrics_inputs),
    output:
        metrics=plan.pattern("metrics"),
    log:
        log_file("metrics/{split}/{extractor}/{variant}"),
    benchmark:
        benchmark_file("metrics/{split}/{extractor}/{variant}")
    resources:
        mem_mb=1000,
        runtime="1h",
    params:
        key=lambda w: metrics_key(**w),
        reads=lambda w: {plan.path("ranks", **w): rank_key(**w)},
        recall_ks=plan.config.recall_ks,
    message:
        "Metrics of {wildcards.extractor} {wildcards.variant} on {wildcards.split}"
    script:
        "../workflow_scripts/metrics.py"
