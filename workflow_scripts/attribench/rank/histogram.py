"""The counting of scores into the bins of histograms (`formats.histogram`), compiled."""

import numpy as np
from numba import njit

from attribench.formats.histogram import CENTRE, FIRST, SHIFT, SIDE


@njit(cache=True, nogil=True)
def add_scores(scores, n_queries, anchor, moments):
    """Add the first `n_queries` rows of a `products.Scores` to `moments` [q, BINS, 3] of queries with `anchor` [q].

    A score counts as the product gives it, not as the canonical one.
    """
    tile, tilt, offset, _, _ = scores
    n = tile.shape[2]
    distance = np.empty(n, np.float32)
    for q in range(n_queries):
        # Taken away first: in float32, a distance is more exact than a score near 1.
        shift = tile.dtype.type(anchor[q] - offset[q])
        for i in range(n):
            distance[i] = tile[0, q, i] - shift + tilt[i]
        for part in range(1, tile.shape[0]):
            for i in range(n):
                distance[i] += tile[part, q, i]
        bits, of_query = np.abs(distance).view(np.int32), moments[q]
        for i in range(n):
            step = min(max((bits[i] >> SHIFT) - FIRST, 0), SIDE - 1)
            b = np.uintp(SIDE - 1 - step if distance[i] >= 0 else SIDE + step)
            rest = distance[i] - CENTRE[b]
            of_query[b, 0] += np.float32(1)
            of_query[b, 1] += rest
            of_query[b, 2] += rest * rest
