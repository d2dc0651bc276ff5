# Decode a slice of a collection into pixels, once for each distinct preprocessing.


rule decode:
    input:
        manifest=manifest_of,
    output:
        pixels=temp(plan.pattern("pixels")),
    log:
        log_file("decode/{collection}/{preprocessing}/{shard}"),
    benchmark:
        benchmark_file("decode/{collection}/{preprocessing}/{shard}")
    wildcard_constraints:
        collection=collections_from("images"),
    threads: 8
    resources:
        mem_mb=4000,
        runtime="4h",
    params:
        key=job_key("decode"),
        quarantine=plan.config.invalid_images == "quarantine",
    message:
        "Decoding {wildcards.collection} {wildcards.shard} ({wildcards.preprocessing})"
    script:
        "../workflow_scripts/decode.py"
