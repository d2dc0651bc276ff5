# Decode a slice of a collection into pixels: each image once, for all the preprocessings that are needed.


@cache
def decode_key(collection, shard):
    return key_of(
        "decode",
        code=decode.VERSION,
        settings=[shard, plan.config.invalid_images],
        reads=[manifest_key(collection)],
    )


def preprocessings_of(collection, shard):
    """Return the preprocessings of the extractors to run (of all, if none is), as canonical texts."""
    extractors = extractors_to_run(collection, shard) or plan.config.extractors
    return sorted({plan.preprocessing[name] for name in extractors})


def decode_inputs(wildcards):
    """Return the manifest, as `ancient` if all features are current: a new equal one runs nothing."""
    manifest = manifest_of(wildcards.collection)
    return {"manifest": manifest if extractors_to_run(**wildcards) else ancient(manifest)}


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
        key=lambda w: decode_key(**w),
        reads=lambda w: {manifest_of(w.collection): manifest_key(w.collection)},
        # A function of `input` too, so that Snakemake does not compare it with that of an earlier run.
        preprocessings=lambda w, input: preprocessings_of(**w),
        quarantine=plan.config.invalid_images == "quarantine",
    message:
        "Decoding {wildcards.collection} {wildcards.shard} ({params.preprocessings})"
    script:
        "../workflow_scripts/decode.py"
