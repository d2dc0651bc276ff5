"""Learn the mappers of an extractor from the features of training splits."""

from attribench.formats.features import CollectionFiles
from attribench.provenance.job import job
from attribench.rank.device import ranking_device
from attribench.tune.settings import Training
from attribench.tune.tune import Outputs, tune

with job(snakemake):
    output, params = snakemake.output, snakemake.params
    train, val = ([CollectionFiles(**source) for source in sources] for sources in params.splits)
    tune(
        Outputs(output.checkpoint, output.safetensors, output.curve),
        train_splits=train,
        val_splits=val,
        database=CollectionFiles(**params.database),
        benchmark=snakemake.config["benchmark"],
        extractor=snakemake.wildcards.extractor,
        training=Training(**params.training),
        device=ranking_device(snakemake.config["device"]) or "cpu",
        threads=snakemake.threads,
        key=params.key,
    )
