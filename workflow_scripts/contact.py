"""Contact sheets of a split: the first method's in full, and all methods on the same queries."""

from pathlib import Path

from attribench.contact import Retrieval, comparison_sheet, contact_sheet
from attribench.plots import save_figure
from attribench.rank_file import read_rank_file
from attribench.stage import stage

with stage(snakemake):
    root, size = snakemake.config["root"], snakemake.params.size
    methods = [Retrieval.from_rank_file(read_rank_file(path)) for path in snakemake.params.ranks]
    sheets = {
        "contact": contact_sheet(methods[0], root, size["queries"], size["neighbours"]),
        "comparison": comparison_sheet(methods, root, n_neighbours=size["neighbours"]),
    }
    for name, (figure, data) in sheets.items():
        save_figure(figure, data, Path(snakemake.output[0]).parent / f"{snakemake.wildcards.split}_{name}")
