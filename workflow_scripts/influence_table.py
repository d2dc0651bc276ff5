"""Write the table of influence."""

from itertools import permutations

from attribench.common.tables_io import write_table
from attribench.formats.features import CollectionFiles
from attribench.formats.influence import read_influence
from attribench.formats.rank_file import read_rank_file
from attribench.formats.ranking import Method, labels_of
from attribench.overlap import identities
from attribench.provenance.job import job
from attribench.tables.influence import influence_table
from attribench.tables.statistics import Resampling
from attribench.tables.tables import with_labels

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    images = {files["collection"]: identities(CollectionFiles(**files)) for files in params.splits}
    sharing = {pair for pair in permutations(images, 2) if not images[pair[0]].isdisjoint(images[pair[1]])}
    rankings = [read_rank_file(path) for path in inputs.ranks]
    of_methods = [(r, read_influence(path, r)) for path, r in zip(inputs.influence, rankings, strict=True)]
    calibrated_on = {Method(extractor, variant): tuple(on) for extractor, variant, on in params.calibrated_on}
    table = influence_table(of_methods, params.benchmark, calibrated_on, Resampling(**params.bootstrap), sharing)
    write_table(snakemake.output[0], with_labels(table, labels_of(params.labels)))
