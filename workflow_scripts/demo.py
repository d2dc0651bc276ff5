"""Show the live page of a run: make demo, or streamlit run workflow_scripts/demo.py -- --configfile mine.yaml.

Run by Python alone, it says whether the page can be shown: make demo asks before it starts the server.
"""

import argparse
import sys

from attribench.common.errors import InputError
from attribench.demo.run import Run
from streamlit import runtime

parser = argparse.ArgumentParser(prog="demo.py", description="Show the live page of a run.")
parser.add_argument("--configfile", nargs="*", default=[], metavar="FILE", help="as Snakemake takes it")
parser.add_argument("--config", nargs="*", default=[], metavar="KEY=VALUE", help="as Snakemake takes it")
given = parser.parse_args()
if runtime.exists():
    from attribench.demo.page import show

    show(tuple(given.configfile), tuple(given.config))
else:
    try:
        Run(given.configfile, given.config)
    except InputError as error:
        sys.exit(str(error))
