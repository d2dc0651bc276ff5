# Turn an existing feature file into the shards of a collection.


localrules:
    feature_source,


rule feature_source:
    input:
        unpack(
            needs("feature_source", downloads=downloads_of(lambda w: [plan.feature_file(w.collection, w.extractor)]))
        ),
    output:
        plan.pattern("feature_source"),
    log:
        log_file("feature_source/{collection}/{extractor}"),
    benchmark:
        benchmark_file("feature_source/{collection}/{extractor}")
    wildcard_constraints:
        collection=collections_from("features"),
    params:
        key=job_key("feature_source"),
        token=lambda wildcards: plan.import_token(wildcards.collection, wildcards.extractor),
        given=lambda wildcards: plan.feature_file(wildcards.collection, wildcards.extractor),
    message:
        "Recording the feature file {wildcards.extractor} of {wildcards.collection}"
    script:
        "../workflow_scripts/feature_source.py"


rule import_features:
    input:
        unpack(needs("import_features", manifest=manifest_of, record=feature_source_of)),
    output:
        features=plan.pattern("features"),
    log:
        log_file("import_features/{collection}/{extractor}_{shard}"),
    benchmark:
        benchmark_file("import_features/{collection}/{extractor}_{shard}")
    wildcard_constraints:
        collection=collections_from("features"),
        # Of the shards that the job makes, Snakemake is told of the first.
        shard=r"0+-of-\d+",
    resources:
        mem_mb=4000,
        runtime="4h",
    params:
        key=job_key("import_features"),
        given=lambda wildcards: plan.feature_file(wildcards.collection, wildcards.extractor),
    message:
        "Importing {wildcards.extractor} of {wildcards.collection}"
    script:
        "../workflow_scripts/import_features.py"
