# Decode a slice of a collection into pixels: each image once, for all the preprocessings that are needed.


@cache
def decode_key(collection, shard):
    """Return the key of the pixels that a job makes; if all features are there, of the pixels that they were made of."""
    images, extractors = images_keys(collection, shard), plan.extractors_of(collection, "images")
    if not extractors_to_run(collection, shard):
        # Features of more images than a limit takes may be there, made of pixels of more images.
        names = (collection, extractors[0], shard)
        images = images[extract_keys(*names).index(extract_key(*names)) :]
    return key_of("decode", code=decode.VERSION, settings=plan.config.exif, reads=images[:1])


def preprocessings_of(collection, shard):
    """Return the preprocessings of the extractors to run (of all, if none is), as canonical texts."""
    extractors = extractors_to_run(collection, shard) or plan.extractors_of(collection, "images")
    return sorted({plan.preprocessing[name] for name in extractors})


def decode_inputs(wildcards):
    """Return the listing, as `ancient` if all features are current: a new equal one runs nothing."""
    listing = listing_inputs(wildcards.collection)
    if extractors_to_run(**wildcards):
        return listing
    return {name: ancient(path) for name, path in only_there(listing).items()}


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
        collection=one_of([c for c in plan.collections if plan.extractors_of(c, "images")]),
    threads: THREADS
    resources:
        mem_mb=decode_mb(),
        runtime="4h",
    params:
        key=lambda w: decode_key(**w),
        # Functions of `input` too, so that Snakemake does not compare them with those of an earlier run.
        reads=lambda w, input: {manifest_of(w.collection): manifest_key(w.collection)},
        preprocessings=lambda w, input: preprocessings_of(**w),
        quarantine=lambda w, input: plan.config.invalid_images == "quarantine",
    message:
        "Decoding {wildcards.collection} {wildcards.shard} ({params.preprocessings})"
    script:
        "../workflow_scripts/decode.py"
