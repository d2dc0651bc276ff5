# Figures of a split: metrics with intervals, recall over k, the distribution of ranks; metrics over the size of the
# database, where ranks at several sizes are asked for.


rule plots:
    input:
        unpack(
            needs(
                "plots",
                ranks=split_ranks,
                summary=lambda wildcards: plan.path("table", table="summary"),
                database_sizes=lambda wildcards: plan.path("table", table="database_sizes"),
            )
        ),
    output:
        figure_files("plots"),
    log:
        log_file("plots/{split}"),
    benchmark:
        benchmark_file("plots/{split}")
    resources:
        mem_mb=2000,
        runtime="1h",
    params:
        key=job_key("plots"),
        ranks=lambda wildcards: method_files("ranks", wildcards.split),
        recall_ks=plan.config.recall_ks,
        confidence=plan.config.bootstrap.confidence,
        figures=plan.figures("plots"),
    message:
        "Plots of {wildcards.split}"
    script:
        "../workflow_scripts/plots.py"
