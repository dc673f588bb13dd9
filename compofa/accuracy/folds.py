"""Which measured subnets to hold out together: those that are nearly the same would tell of one another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compofa.spaces.layout import Genotypes

FOLDS = 10


def families_of(genotypes: Genotypes) -> NDArray[np.intp]:
    """A number for each of `genotypes`, shape (n, columns), the same for two that differ in one column, and so on from
    one to the next; shape (n,). Searches leave long chains of such neighbours."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(genotypes)
    first, second = [], []
    for column in range(genotypes.shape[1]):
        others = np.delete(genotypes, column, axis=1)
        _, chosen, group = np.unique(others, axis=0, return_index=True, return_inverse=True)
        first.append(np.arange(count))
        second.append(chosen[group.reshape(-1)])
    ends = (np.concatenate(first), np.concatenate(second))
    links = coo_array((np.ones(len(ends[0]), dtype=np.int8), ends), shape=(count, count))
    return connected_components(links, directed=False)[1].astype(np.intp)


def group(genotypes: Genotypes) -> tuple[NDArray[np.intp], bool]:
    """The groups to hold out together, shape (n,), and whether they are those of :func:`families_of`: where a chain of
    neighbours holds more than a fold, as in a space that was measured whole, each subnet is a group."""
    found = families_of(genotypes)
    if np.bincount(found).max() <= len(genotypes) / FOLDS:
        return found, True
    return np.arange(len(genotypes)), False


def folds(groups: NDArray[np.intp], seed: int) -> NDArray[np.intp]:
    """The fold of each row, shape (n,), of its group: random, and about as many rows in each."""
    sizes = np.bincount(groups)
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold_of, filled = np.zeros(len(sizes), dtype=np.intp), np.zeros(FOLDS)
    for one in order.tolist():
        fold_of[one] = int(np.argmin(filled))
        filled[fold_of[one]] += sizes[one]
    found: NDArray[np.intp] = fold_of[groups]
    return found
