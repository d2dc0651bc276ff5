# Figures of a split: metrics with intervals, recall over k, the distribution of ranks.


rule plots:
    input:
        summary=lambda wildcards: made(plan.path("table", table="summary"), plan.key("tables")),
        ranks=lambda wildcards: method_files("ranks", wildcards.split),
        outdated=outdated("plots", figure_files(FIGURES)[0]),
    output:
        figure_files(FIGURES),
    log:
        log_file("plots/{split}"),
    benchmark:
        benchmark_file("plots/{split}")
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        key=job_key("plots"),
        recall_ks=plan.config.recall_ks,
    message:
        "Plots of {wildcards.split}"
    script:
        "../workflow_scripts/plots.py"
