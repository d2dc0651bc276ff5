"""What every script of a stage does around its library call: log, report bad input plainly, note the outputs' keys."""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from attribench.errors import InputError
from attribench.identity import forget_key, record_key


@contextmanager
def stage(
    snakemake: Any, *, keep_key: bool = True, outputs: list[str] | dict[str, str] | None = None
) -> Iterator[None]:
    """Run a stage's work: `with stage(snakemake): ...`.

    stderr and the log records of the block go to the job's log file. An InputError ends the process with status 1 and its
    message alone, since the user can mend it; any other exception keeps its traceback. When the block ends well, the
    job's key is noted beside its outputs, unless `keep_key` is false (temporary outputs).

    outputs: all that the job makes (None: what Snakemake is told of); a dict gives each file a key of its own.
    """
    outputs = list(snakemake.output) if outputs is None else outputs
    keys = outputs if isinstance(outputs, dict) else dict.fromkeys(outputs, snakemake.params.key)
    for output in keys:
        forget_key(output)
    terminal, started = sys.stderr, time.perf_counter()
    with open(snakemake.log[0], "w", encoding="utf-8", buffering=1) as file:
        # The bars and records are for the log; the terminal gets the one line of an error.
        sys.stderr = file
        logging.basicConfig(stream=file, level=logging.INFO, format="%(asctime)s %(message)s", force=True)
        try:
            yield
            if keep_key:
                for output, key in keys.items():
                    record_key(output, key)
            logging.info("%s: done in %.1f s", snakemake.rule, time.perf_counter() - started)
        except InputError as error:
            logging.error("%s", error)
            terminal.write(f"Error in {snakemake.rule}: {error}\n")
            terminal.flush()
            file.flush()
            # At once: HDF5 crashes at a normal exit when a disk was too full for it to close a file.
            os._exit(1)
        except BaseException:
            logging.exception("%s failed", snakemake.rule)
            raise
        finally:
            sys.stderr = terminal
            logging.shutdown()
