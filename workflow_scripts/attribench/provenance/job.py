"""Do what every script does around its library call: log, check what it reads, report bad input, key what it makes."""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from attribench.common.errors import InputError
from attribench.common.files import is_refused
from attribench.provenance.keys import forget_key, holds_its_key, note_made_here, refuse_other_key, write_key


@contextmanager
def job(snakemake: Any, *, keyed: bool = True, other_keys: dict[str, str] | None = None) -> Iterator[None]:
    """Run a script's work: `with job(snakemake): ...`.

    stderr and the log records of the block go to the job's log file. An InputError ends the process with status 1 and its
    message alone, since the user can mend it, and so does a path that the system refuses: a file that may not be read, a
    name that is too long. Any other exception keeps its traceback. Before the block, each file of the param `reads` (path ->
    key) is refused if it carries another key. After it, the job's key is noted beside its outputs, except HDF5 files, which
    hold it. keyed: whether outputs carry keys, which given files do not. other_keys: outputs with a key of their own.
    """
    terminal, started = sys.stderr, time.perf_counter()
    with open(snakemake.log[0], "w", encoding="utf-8", buffering=1) as file:
        # The bars and records are for the log; the terminal gets the one line of an error.
        sys.stderr = file
        logging.basicConfig(stream=file, level=logging.INFO, format="%(asctime)s %(message)s", force=True)
        try:
            for path, key in snakemake.params.get("reads", {}).items():
                refuse_other_key(path, key)
            if keyed:  # now, so that what is there when the job is killed is known to be of this folder
                for path in snakemake.output:
                    note_made_here(path)
                    if not holds_its_key(path):  # else a job that is killed would leave its file with an older key
                        forget_key(path)
            yield
            if keyed:
                _note_outputs(snakemake.output, snakemake.params.get("key"), other_keys or {})
            logging.info("%s: done in %.1f s", snakemake.rule, time.perf_counter() - started)
        except BaseException as error:
            if not isinstance(error, InputError) and not is_refused(error):
                logging.exception("%s failed", snakemake.rule)
                raise
            logging.error("%s", error)
            terminal.write(f"Error in {snakemake.rule}: {error}\n")
            terminal.flush()
            file.flush()
            # At once: HDF5 crashes at a normal exit when a disk was too full for it to close a file.
            os._exit(1)
        finally:
            sys.stderr = terminal
            logging.shutdown()


def _note_outputs(outputs: list[str], key: str | None, other_keys: dict[str, str]) -> None:
    for path in outputs:
        if not holds_its_key(path):
            write_key(path, other_keys.get(path, key))
