# Draw the sample benchmark into the root: images, and split files with the planted truth.

if plan.rendered:

    rule sample:
        input:
            unpack(needs("sample")),
        output:
            splits=[plan.in_root(path) for path in plan.config.entry.splits.values()],
            folders=[directory(plan.in_root(folder)) for folder in SAMPLE_FOLDERS],
        log:
            log_file("sample"),
        benchmark:
            benchmark_file("sample")
        threads: 8
        resources:
            mem_mb=4000,
            runtime="4h",
        params:
            key=job_key("sample"),
            settings=plan.config.sample.model_dump(mode="json"),
        message:
            "Drawing the sample benchmark"
        script:
            "../workflow_scripts/sample.py"
