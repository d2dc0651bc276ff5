# Figures of a split: metrics with intervals, recall over k, the distribution of ranks.


rule plots:
    input:
        unpack(needs("plots", ranks=split_ranks, summary=lambda wildcards: plan.path("table", table="summary"))),
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
        recall_ks=plan.config.recall_ks,
    message:
        "Plots of {wildcards.split}"
    script:
        "../workflow_scripts/plots.py"
