"""Compiled loops, whose code on disk is made anew when any of the modules that have such loops changes.

numba by itself looks at a function's own file alone. What that calls from other files is compiled into it, and after an
update of these the old code would go on running.
"""

from functools import cache, partial
from hashlib import sha256
from pathlib import Path

from numba import config, njit
from numba.core import caching


def compiled(function=None, /, **options):
    """`numba.njit` with these `options`, without the interpreter lock, kept on disk where numba keeps such code."""
    if function is None:
        return partial(compiled, **options)
    before = getattr(config, "CACHE_LOCATOR_CLASSES", "")  # of the user's, who then sees to it
    config.CACHE_LOCATOR_CLASSES = before or ",".join(f"{__name__}.{kind.__name__}" for kind in _KINDS)
    try:
        return njit(cache=True, nogil=True, **options)(function)
    finally:
        config.CACHE_LOCATOR_CLASSES = before


@cache
def _digest() -> str:
    """Of the modules of this package that have compiled loops."""
    sources = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    return sha256(b"".join(source for source in sources if b"@compiled" in source)).hexdigest()


def _numbas(kind: str) -> type:
    return getattr(caching, kind, None) or getattr(caching, f"_{kind}")  # its name before numba 0.62


class _OfAllLoops:
    """What numba asks where code is kept, and what it was made from: that is all modules with loops."""

    def get_source_stamp(self) -> str:
        return _digest()


class InFolder(_OfAllLoops, _numbas("UserProvidedCacheLocator")):
    """In the folder NUMBA_CACHE_DIR, if it is set."""


class InTree(_OfAllLoops, _numbas("InTreeCacheLocator")):
    """In __pycache__ beside the module."""


class OfUser(_OfAllLoops, _numbas("UserWideCacheLocator")):
    """In a folder of the user's, where __pycache__ cannot be written."""


_KINDS = (InFolder, InTree, OfUser)  # tried in this order, as by numba
