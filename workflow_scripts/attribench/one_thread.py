"""Threads that multiply matrices side by side, each by itself.

A BLAS, and torch, would spread each product over threads of their own: as many again for each of ours, which wait in a loop
for the next product and take the processor from those that look through the scores of the last one.
"""

import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

import threadpoolctl

_torch_threads: list[int] = []  # that torch had before, once it has fewer


@contextmanager
def workers(n: int) -> Iterator[Executor]:
    """A pool of `n` threads, in each of which a product of NumPy or SciPy keeps to the thread that asks for it.

    One of torch does so after `one_torch_thread`. At the end all is as it was before.
    """
    try:
        with _libraries().limit(limits=1, user_api="blas"), ThreadPoolExecutor(n) as pool:
            yield pool
    finally:
        if _torch_threads:
            sys.modules["torch"].set_num_threads(max(_torch_threads))
            _torch_threads.clear()


def one_torch_thread(torch) -> None:
    """Let this thread's operations of torch keep to it."""
    threads = torch.get_num_threads()
    if threads > 1:
        _torch_threads.append(threads)
        torch.set_num_threads(1)


@cache
def _libraries() -> threadpoolctl.ThreadpoolController:
    return threadpoolctl.ThreadpoolController()
