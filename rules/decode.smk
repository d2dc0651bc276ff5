# Decode a slice of a collection into pixels: each image once, for all the preprocessings that are needed.


rule decode:
    input:
        unpack(decode_inputs),
    output:
        pixels=temp(plan.pattern("pixels")),
    log:
        log_file("decode/{collection}/{shard}"),
    benchmark:
        benchmark_file("decode/{collection}/{shard}")
    wildcard_constraints:
        collection=collections_from("images"),
    threads: 8
    resources:
        mem_mb=4000,
        runtime="4h",
    params:
        key=job_key("decode"),
        # A function of `input`, so that Snakemake does not compare it with that of an earlier run.
        preprocessings=lambda wildcards, input: preprocessings_of(wildcards),
        quarantine=plan.config.invalid_images == "quarantine",
    message:
        "Decoding {wildcards.collection} {wildcards.shard} ({params.preprocessings})"
    script:
        "../workflow_scripts/decode.py"
