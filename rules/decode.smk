# Decode a slice of a collection into pixels: each image once, for all the preprocessings that are needed.


@cache
def decode_key(collection, shard):
    """Return the key of pixels. With `fail`, no image was over the limit, so that another limit makes no other pixels."""
    limit = plan.config.max_pixels if plan.config.invalid_images == "quarantine" else None
    return key_of(
        "decode",
        code=decode.VERSION,
        settings=[shard, plan.config.invalid_images, plan.config.exif, limit],
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


def decode_mb():
    """Return the memory of a job that decodes, in MB: one large image, of up to 16 bytes a pixel, beside small ones."""
    return max(4000, 2000 + 16 * plan.config.max_pixels // 10**6)


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
        mem_mb=decode_mb(),
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
