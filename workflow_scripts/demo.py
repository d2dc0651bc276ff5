"""Show the live page of a run: make demo, or streamlit run workflow_scripts/demo.py -- --configfile mine.yaml."""

import argparse

from attribench.demo.page import show

parser = argparse.ArgumentParser(prog="demo.py", description="Show the live page of a run.")
parser.add_argument("--configfile", nargs="*", default=[], metavar="FILE", help="as Snakemake takes it")
parser.add_argument("--config", nargs="*", default=[], metavar="KEY=VALUE", help="as Snakemake takes it")
given = parser.parse_args()
show(tuple(given.configfile), tuple(given.config))
