# Fit the calibrator of a method's influence to val splits, which it ranks as it ranks those that are evaluated.


def calibrate_reads(extractor, variant):
    reads = {}
    for split in plan.config.calibrating_splits(variant):
        names = {"split": split, "extractor": extractor, "variant": variant}
        reads |= dict.fromkeys(rank_files(**names), rank_key(**names))
    return reads


@cache
def calibrate_key(extractor, variant):
    reads = calibrate_reads(extractor, variant).values()
    return key_of("calibrate", code=code_of("calibrate"), settings=[extractor, variant], reads=reads)


def calibrate_files(extractor, variant):
    """Return the calibrator that is made for a method, and the record of its fit."""
    return [plan.path(kind, extractor=extractor, variant=variant) for kind in ("calibrator", "calibration")]


def calibrate_inputs(wildcards):
    extractor, variant = wildcards.extractor, wildcards.variant
    outputs = dict.fromkeys(calibrate_files(extractor, variant), calibrate_key(extractor, variant))
    made = [rank_files(split, extractor, variant) for split in plan.config.calibrating_splits(variant)]
    ranks, histograms = map(list, zip(*made))
    return by_content(f"calibrate/{extractor}/{variant}", outputs, ranks=ranks, histograms=histograms)


rule calibrate:
    input:
        unpack(calibrate_inputs),
    output:
        calibrator=plan.pattern("calibrator"),
        record=plan.pattern("calibration"),
    log:
        log_file("calibrate/{extractor}/{variant}"),
    benchmark:
        benchmark_file("calibrate/{extractor}/{variant}")
    wildcard_constraints:
        extractor=one_of(plan.config.extractors),
        variant=one_of([name for name in plan.config.variants if plan.config.calibrating_splits(name)]),
    resources:
        mem_mb=4000,
        runtime="2h",
    params:
        key=lambda w: calibrate_key(**w),
        reads=lambda w: calibrate_reads(**w),
        benchmark=plan.config.benchmark,
    message:
        "Calibrating the influence of {wildcards.extractor} {wildcards.variant}"
    script:
        "../workflow_scripts/calibrate.py"
