"""The compiled loop of `mappers.py`: a matrix product whose bits depend on nothing but its operands."""

import numpy as np

from attribench.compiled import compiled

_COLUMNS = 64  # outputs at a time: their slice of the matrix stays in the cache


@compiled
def linear(rows, weight, out):
    """out [n, p] = rows [n, d] @ weight [d, p], all float64 in C order, each sum in the order of d, each operation rounded.

    Four products are added at a time, one after the other: the same operations as one by one, with fewer stores.
    """
    n, d = rows.shape
    p = weight.shape[1]
    for first in range(0, p, _COLUMNS):
        last = min(first + _COLUMNS, p)
        block = weight[:, first:last].copy()
        for r in range(n):
            row, total = rows[r], out[r, first:last]
            total[:] = 0.0
            whole = d - d % 4
            for i in range(0, whole, 4):
                a, b, c, e = row[i], row[i + 1], row[i + 2], row[i + 3]
                wa, wb, wc, we = block[i], block[i + 1], block[i + 2], block[i + 3]
                for j in range(last - first):
                    total[j] = (((total[j] + a * wa[j]) + b * wb[j]) + c * wc[j]) + e * we[j]
            for i in range(whole, d):
                a, wa = row[i], block[i]
                for j in range(last - first):
                    total[j] += a * wa[j]


def product(rows: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """float64 [n, p]: `linear` of rows [n, d] and weight [d, p]."""
    out = np.empty((len(rows), weight.shape[1]))
    linear(np.ascontiguousarray(rows, np.float64), np.ascontiguousarray(weight, np.float64), out)
    return out
