"""Score files to try: of made-up features, whose ranking is known."""

import h5py
import numpy as np

N, ENTRIES, D = 300, 4, 16


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def made_up(seed=0):
    """Return features whose scores are the file's: a database, 4 entries with 1 to 4 exemplars and 3 queries each."""
    rng = np.random.default_rng(seed)
    exemplar_entry, query_entry = np.repeat(np.arange(ENTRIES), [1, 2, 3, 4]), np.repeat(np.arange(ENTRIES), 3)
    exemplars = rng.standard_normal((10, D))
    queries = 0.6 * rng.standard_normal((12, D)) + np.array([exemplars[exemplar_entry == e][0] for e in query_entry])
    database = rng.standard_normal((N, D))
    database[5], database[9] = exemplars[3], database[8]  # ties
    return queries, query_entry, exemplars, exemplar_entry, database


def write_scores(path, made, order=None, dtype="float64", blank_others=False):
    """Write the score file; `order` permutes each axis."""
    queries, query_entry, exemplars, exemplar_entry, database = made
    order = order or (range(len(queries)), range(len(database)), range(len(exemplars)))
    q, x, e = (np.array(list(o)) for o in order)
    score = unit(queries) @ np.concatenate([unit(database), unit(exemplars)]).T
    # Equal rows have equal scores, which a matrix product does not promise.
    score[:, 9], score[:, 5] = score[:, 8], score[:, N + 3]
    x_score, e_score = score[:, :N].astype(dtype), score[:, N:].astype(dtype)
    if blank_others:
        e_score[query_entry[:, None] != exemplar_entry[None]] = np.nan
    with h5py.File(path, "w") as file:
        file["queries"] = [f"q/{i}.png" for i in q]
        file["database"] = [f"d/é{i}.png" for i in x]
        file["exemplars"] = [f"e/{i}.png" for i in e]
        file["database_scores"] = x_score[q][:, x]
        file["exemplar_scores"] = e_score[q][:, e]
    return path
