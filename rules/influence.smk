# Influence of every query's candidates, by a job for each split, extractor and variant; then its table, and a figure of each
# split.


def calibrator_of(extractor, variant):
    """Return the calibrator's path, and its key where the workflow makes it (None: it is given)."""
    if given := plan.calibrator_file(extractor, variant):
        return plan.in_root(given), None
    return plan.path("calibrator", extractor=extractor, variant=variant), calibrate_key(extractor, variant)


def influence_reads(split, extractor, variant):
    names = {"split": split, "extractor": extractor, "variant": variant}
    path, key = calibrator_of(extractor, variant)
    return dict.fromkeys(rank_files(**names), rank_key(**names)) | ({path: key} if key else {})


@cache
def influence_key(split, extractor, variant):
    given = plan.calibrator_file(extractor, variant)
    reads = [*influence_reads(split, extractor, variant).values(), plan.content_token(given) if given else None]
    return key_of("influence", code=code_of("influence"), reads=reads)


def influence_inputs(wildcards):
    given = plan.calibrator_file(wildcards.extractor, wildcards.variant)
    made = [] if given else [calibrator_of(wildcards.extractor, wildcards.variant)[0]]
    ranks, histogram = rank_files(**wildcards)
    return by_content(
        f"influence/{wildcards.split}/{wildcards.extractor}/{wildcards.variant}",
        {plan.path("influence", **wildcards): influence_key(**wildcards)},
        ranks=ranks,
        histogram=histogram,
        calibrator=made,
        **given_inputs([given] if given else []),
    )


rule influence:
    input:
        unpack(influence_inputs),
    output:
        influence=plan.pattern("influence"),
    log:
        log_file("influence/{split}/{extractor}/{variant}"),
    benchmark:
        benchmark_file("influence/{split}/{extractor}/{variant}")
    wildcard_constraints:
        extractor=one_of(plan.config.extractors),
        variant=one_of({method.variant for method in plan.influence_methods}),
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        key=lambda w: influence_key(**w),
        reads=lambda w: influence_reads(**w),
    message:
        "Influence on {wildcards.split} by {wildcards.extractor} {wildcards.variant}"
    script:
        "../workflow_scripts/influence.py"


def influence_keys(split):
    """Return the keys of the files of influence of all methods on `split`, by path."""
    names = [{"split": split, **method._asdict()} for method in plan.influence_methods]
    return {plan.path("influence", **of_method): influence_key(**of_method) for of_method in names}


def influence_rank_keys(split):
    """Return the keys of the rank files of all these methods on `split`, by path."""
    names = [{"split": split, **method._asdict()} for method in plan.influence_methods]
    return {plan.path("ranks", **of_method): rank_key(**of_method) for of_method in names}


def influence_reads_on(splits):
    return {path: key for split in splits for path, key in (influence_keys(split) | influence_rank_keys(split)).items()}


def influence_inputs_on(splits):
    """Return the files of influence on `splits`, and the rank files that belong to them."""
    return {
        "influence": [path for split in splits for path in influence_keys(split)],
        "ranks": [path for split in splits for path in influence_rank_keys(split)],
    }


def calibrated_on():
    """Return what calibrated each method's influence: [extractor, variant, list of splits, or of the given file]."""
    return [
        [*m, plan.config.calibrating_splits(m.variant) or [plan.calibrator_file(*m)]] for m in plan.influence_methods
    ]


def splits_of_influence():
    """Return the splits that calibrate or are evaluated: the table says where they share images."""
    calibrating = [name for m in plan.influence_methods for name in plan.config.calibrating_splits(m.variant)]
    return list(dict.fromkeys([*calibrating, *plan.config.splits]))


def influence_table_reads():
    return influence_reads_on(plan.config.splits) | {manifest_of(c): manifest_key(c) for c in splits_of_influence()}


@cache
def influence_table_key():
    config = plan.config
    settings = [config.benchmark, config.splits, config.bootstrap.model_dump(), label_rows(), calibrated_on()]
    return key_of(
        "influence_table",
        code=code_of("influence_table"),
        settings=settings,
        reads=influence_table_reads().values(),
    )


def influence_plots_note(split):
    """Return what the figure of `split` says where the split calibrates methods that it measures."""
    return "calibrated on this split" if any(split in on for *_, on in calibrated_on()) else ""


@cache
def influence_plots_key(split):
    settings = [split, plan.config.bootstrap.model_dump(), figure_params(), label_rows(), influence_plots_note(split)]
    reads = influence_reads_on([split]).values()
    return key_of("influence_plots", code=code_of("influence_plots"), settings=settings, reads=reads)


if plan.influence_methods:

    rule influence_table:
        input:
            unpack(
                lambda w: by_content(
                    "influence_table",
                    dict.fromkeys(plan.influence_tables(), influence_table_key()),
                    remade={
                        "manifests": [manifest_of(c) for c in splits_of_influence()],
                        "records": [plan.path("fingerprints", collection=c) for c in splits_of_influence()],
                    },
                    **influence_inputs_on(plan.config.splits),
                )
            ),
        output:
            [
                in_snakemake_report(path, "Tables", "tables/influence", table="influence")
                for path in plan.influence_tables()
            ],
        log:
            log_file("influence_table"),
        benchmark:
            benchmark_file("influence_table")
        resources:
            mem_mb=4000,
            runtime="1h",
        params:
            key=influence_table_key(),
            reads=influence_table_reads(),
            # A function of `input` too, so that Snakemake does not compare it: the key says all.
            splits=lambda w, input: [files_of_collection(c) for c in splits_of_influence()],
            benchmark=plan.config.benchmark,
            bootstrap=plan.config.bootstrap.model_dump(),
            labels=label_rows(),
            calibrated_on=calibrated_on(),
        message:
            "Table of influence"
        script:
            "../workflow_scripts/influence_table.py"

    rule influence_plots:
        input:
            unpack(
                lambda w: by_content(
                    f"influence_plots/{w.split}",
                    dict.fromkeys(plan.figure_files("influence_plots", w.split), influence_plots_key(w.split)),
                    **influence_inputs_on([w.split]),
                )
            ),
        output:
            figures_in_snakemake_report(plan.figure_files("influence_plots", "{split}")),
        log:
            log_file("influence_plots/{split}"),
        benchmark:
            benchmark_file("influence_plots/{split}")
        resources:
            mem_mb=4000,
            runtime="1h",
        params:
            key=lambda w: influence_plots_key(w.split),
            reads=lambda w: influence_reads_on([w.split]),
            note=lambda w: influence_plots_note(w.split),
            plots=figure_params(),
            bootstrap=plan.config.bootstrap.model_dump(),
            labels=label_rows(),
        message:
            "Plot of influence on {wildcards.split}"
        script:
            "../workflow_scripts/influence_plots.py"
