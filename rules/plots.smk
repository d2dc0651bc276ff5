# Figures of a split: metrics with intervals, differences between methods, recall over k, the distribution of ranks; with
# `database_sizes`, metrics over the size of the database; with variants, each entry pretrained against mapped. And the
# learning curves of what is tuned.


def plots_tables():
    """Return the tables that the figures draw."""
    return {table: plan.path("table", table=table) for table in ("summary", "comparisons", "database_sizes")}


def plots_reads(split):
    tables = {path: tables_key() for path in plots_tables().values()}
    return keys_of_methods("ranks", split) | tables


@cache
def plots_key(split):
    config = plan.config
    settings = [
        [split, config.recall_ks, config.bootstrap.model_dump(), plan.figures("plots")],
        [figure_params(), label_rows()],
    ]
    return key_of("plots", code=code_of("plots"), settings=settings, reads=plots_reads(split).values())


def plots_inputs(wildcards):
    split = wildcards.split
    return by_content(
        f"plots/{split}",
        dict.fromkeys(plan.figure_files("plots", split), plots_key(split)),
        # The same tables are made again when published numbers change, which are not drawn.
        remade=plots_tables(),
        ranks=plan.files_of_methods("ranks", split),
    )


rule plots:
    input:
        unpack(plots_inputs),
    output:
        figures_in_snakemake_report(plan.figure_files("plots", "{split}")),
    log:
        log_file("plots/{split}"),
    benchmark:
        benchmark_file("plots/{split}")
    resources:
        mem_mb=2000,
        runtime="1h",
    params:
        key=lambda w: plots_key(w.split),
        reads=lambda w: plots_reads(w.split),
        recall_ks=plan.config.recall_ks,
        bootstrap=plan.config.bootstrap.model_dump(),
        figures=plan.figures("plots"),
        plots=figure_params(),
        labels=label_rows(),
    message:
        "Plots of {wildcards.split}"
    script:
        "../workflow_scripts/plots.py"


def announce_letters_without_font():
    """Log which letters the figures show as boxes, for want of a font."""
    logs = [log_file(f"{rule}/{split}") for split in plan.config.splits for rule in FIGURES]
    if letters := letters_in_logs([*logs, log_file("learning_curves")]):
        logger.info(f"Warning: {without_font_text(letters)}")


def tuning_figure_reads():
    return {plan.path("learning_curve", **m._asdict()): tune_key(*m) for m in plan.tuned_methods}


@cache
def tuning_figure_key():
    settings = [[list(method) for method in plan.tuned_methods], figure_params(), label_rows()]
    return key_of(
        "learning_curves", code=code_of("learning_curves"), settings=settings, reads=tuning_figure_reads().values()
    )


if plan.tuned_methods:

    rule learning_curves:
        input:
            unpack(
                lambda w: by_content(
                    "learning_curves",
                    dict.fromkeys(plan.tuning_figure(), tuning_figure_key()),
                    curves=list(tuning_figure_reads()),
                )
            ),
        output:
            figures_in_snakemake_report(plan.tuning_figure(), split="all"),
        log:
            log_file("learning_curves"),
        benchmark:
            benchmark_file("learning_curves")
        resources:
            mem_mb=2000,
            runtime="1h",
        params:
            key=tuning_figure_key(),
            reads=tuning_figure_reads(),
            methods=[list(method) for method in plan.tuned_methods],
            plots=figure_params(),
            labels=label_rows(),
        message:
            "Plot of the learning curves"
        script:
            "../workflow_scripts/learning_curves.py"
