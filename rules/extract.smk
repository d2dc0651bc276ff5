# Run an extractor over decoded pixels.


rule extract:
    input:
        unpack(
            needs(
                "extract",
                manifest=manifest_of,
                pixels=pixels_of,
                downloads=downloads_of(lambda w: plan.weights_paths(w.extractor)),
            )
        ),
    output:
        features=plan.pattern("features"),
    log:
        log_file("extract/{collection}/{extractor}/{shard}"),
    benchmark:
        benchmark_file("extract/{collection}/{extractor}/{shard}")
    wildcard_constraints:
        collection=collections_from("images"),
    # Before more is decoded: pixels take a hundred times the room of features, and go when they were used.
    priority: 1
    threads: 8
    resources:
        mem_mb=6000,
        runtime="4h",
        gpu=0 if plan.config.device == "cpu" else 1,
    params:
        key=job_key("extract"),
        preprocessing=lambda wildcards: plan.preprocessing[wildcards.extractor],
        entry=lambda wildcards: plan.config.extractor_registry[wildcards.extractor].model_dump(mode="json"),
        precision=lambda wildcards: plan.config.precision_of(wildcards.extractor),
        compiled=lambda wildcards: plan.config.is_compiled(wildcards.extractor),
    message:
        "Extracting {wildcards.extractor} of {wildcards.collection} {wildcards.shard}"
    script:
        "../workflow_scripts/extract.py"
