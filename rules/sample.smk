# Draw the sample benchmark into the root: images, and split files with the planted truth.


@cache
def sample_key():
    return key_of("sample", code=sample.VERSION, settings=plan.config.sample.model_dump(mode="json"))


if plan.rendered:

    rule sample:
        output:
            splits=plan.sample_files(),
            folders=[directory(folder) for folder in plan.sample_folders()],
        log:
            log_file("sample"),
        benchmark:
            benchmark_file("sample")
        threads: 8
        resources:
            mem_mb=4000,
            runtime="4h",
        params:
            key=sample_key(),
            settings=plan.config.sample.model_dump(mode="json"),
        message:
            "Drawing the sample benchmark"
        script:
            "../workflow_scripts/sample.py"
