"""Make a split's part of the gallery: its data, and thumbnails of the images that it shows."""

import threading

from attribench.decode.reading import Reading
from attribench.formats.influence import read_influence
from attribench.formats.rank_file import read_rank_file
from attribench.formats.ranking import Method, labels_of
from attribench.gallery.data import ImageList, split_data
from attribench.gallery.page import write_split
from attribench.gallery.thumbnails import write_thumbnails
from attribench.manifest import read_prompts
from attribench.provenance.job import job

with job(snakemake):
    config, inputs, params = snakemake.config, snakemake.input, snakemake.params
    rankings = {ranking.method: ranking for ranking in map(read_rank_file, inputs.ranks)}
    with_influence = map(Method._make, params.with_influence)
    influences = {
        m: read_influence(path, rankings[m]) for m, path in zip(with_influence, inputs.influence, strict=True)
    }
    images, size = ImageList(), params.size
    prompts, labels = read_prompts(inputs.given[0]), labels_of(params.labels)
    data = split_data(list(rankings.values()), influences, size["queries"], size["neighbours"], labels, prompts, images)
    reading = Reading(config["exif"], config["max_pixels"], threading.Lock())
    sizes = images.sizes(size["thumbnail"])
    names = write_thumbnails(snakemake.output.thumbnails, sizes, config["root"], reading, snakemake.threads)
    write_split(snakemake.output.data, data, dict(zip(sizes, names, strict=True)))
