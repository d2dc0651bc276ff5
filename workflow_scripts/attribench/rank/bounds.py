"""Error bounds of fast products: how far a product's score can be from the canonical one.

Notation. u is a unit row of the database and q one of a query, |q|, |u| <= 1 + 1e-9. A block of rows has a centre c and
the queries have one, m; y = u - c and p = q - m. The canonical score is q.u = q.c + m.y + p.y. The *offset* of a query,
q.c, and the *tilt* of a row, m.y, are float64 sums, one for each query or row. What is left to a product is p.y or q.y.
So a bound shrinks with the longest y of the block: rows close together leave no more pairs undecided than others.

g(n, e) = n e / (1 - n e) bounds the relative error of n roundings of relative error e (Higham, Accuracy and Stability of
Numerical Algorithms, 2nd ed., lemma 3.1). A sum of k products, in any order, with or without fused operations, rounds each
product at most k times. By Cauchy-Schwarz, sum |a_i b_i| <= |a| |b|.

The bounds of float32 and float64 are theorems. They assume IEEE arithmetic with rounding to nearest; numbers below 2^-126
may be flushed to zero. Those of bfloat16 and float16 rest on an assumption about processors, which is stated there and
tested on the machine at hand (`Bfloat16Product.satisfies_assumption`, `gpu.find_fault`).
"""

import math

FLOAT32, FLOAT64, BFLOAT16 = 2.0**-24, 2.0**-53, 2.0**-8
SLACK = 1.0001  # for the arithmetic of the bounds themselves, and for unit rows that are a hair too long
_FLUSHED = 2.0**-120  # more than a column's numbers below 2^-126 can add up to


def roundings(n: float, unit: float) -> float:
    """Return g(n, unit), with slack; infinity where it says nothing."""
    return SLACK * n * unit / (1 - n * unit) if n * unit < 0.5 else math.inf


def float64_error(dimension: int) -> float:
    """Return how far a float64 dot product of a unit query and a row, over the row's norm, is from the canonical score.

    Theorem: both round each product at most dimension + 2 times, the division by the norm included.
    """
    return 2.1 * roundings(dimension + 3, FLOAT64) + dimension * _FLUSHED


def shared_error(dimension: int) -> float:
    """Return what the bound of each faster product adds: the roundings of the canonical score, offset, tilt, y and p."""
    return 8 * roundings(dimension + 6, FLOAT64) + dimension * _FLUSHED


def float32_error(columns: int, parts: int, p, y, m):
    """Return the error of a float32 product in `parts` of at most `columns` columns, added to the float32 tilt.

    Theorem: p and y are rounded to float32 (2), each part is a sum in any order (columns), and parts and tilt are added one
    after the other (parts). p, y, m: the lengths |p|, |y|, |m|, as numbers or arrays.
    """
    return roundings(columns + parts + 2, FLOAT32) * p * y + roundings(parts + 1, FLOAT32) * m * y


def rounded_error(q, q_residual, y, y_residual):
    """Return how far q'.y' is from q.y, for q = q' + e and y = y' + f with the lengths |q'|, |e|, |y|, |f|.

    Theorem: q.y - q'.y' = e.y + q'.f.
    """
    return SLACK * (q_residual * y + q * y_residual)


def low_precision_sum_error(columns: int, q, y):
    """Return the error of a float32 sum of `columns` products of bfloat16 or float16 numbers, rows of lengths q and y.

    Assumption: products are exact, and each term costs at most one unit in the last place (2^-23) of the largest partial
    sum, which is at most |q| |y|. Processors with bfloat16 that round to nearest lose half of that. On tensor
    cores, Fasi, Higham, Mikaitis and Pranesh (Numerical behavior of NVIDIA tensor cores, PeerJ Computer Science 7:e330,
    2021) found less: products are aligned to the largest of a group, and cut off beyond float32's last bits.
    """
    return roundings(columns + 2, 2 * FLOAT32) * q * y
