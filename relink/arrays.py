"""Type aliases for numpy arrays in signatures, and functions that are quicker than numpy's on short arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    U8: TypeAlias = NDArray[np.uint8]
    U16: TypeAlias = NDArray[np.uint16]
    U32: TypeAlias = NDArray[np.uint32]
    U64: TypeAlias = NDArray[np.uint64]
    I64: TypeAlias = NDArray[np.int64]
    Bools: TypeAlias = NDArray[np.bool_]
    AnyArray: TypeAlias = NDArray[Any]
else:  # numpy.typing takes half a millisecond to import
    U8 = U16 = U32 = U64 = I64 = Bools = AnyArray = np.ndarray


#: Whether any, or each, element is true; the greatest, and the least. The methods of arrays are functions in
#: Python around these, which take twice as long for short arrays.
anywhere, everywhere = np.logical_or.reduce, np.logical_and.reduce
highest, lowest = np.maximum.reduce, np.minimum.reduce

_FEW = 32  #: elements of an array for which a set is quicker


def one_of(array: AnyArray, values: Iterable[int]) -> Bools:
    """bool[n]: which elements are among a few values. For short arrays `np.isin` takes ten times as long."""
    found: Bools = np.zeros(array.shape, np.bool_)
    for value in values:
        found |= array == int(value)
    return found


def indices_where(condition: AnyArray) -> NDArray[np.intp]:
    """int[n]: the indices at which a one-dimensional array is not zero. `np.flatnonzero` takes five times
    as long.
    """
    return condition.nonzero()[0]


def distinct(array: AnyArray) -> AnyArray:
    """[n]: the distinct integers of a one-dimensional array, in order. `np.unique` imports `numpy.ma` at its first
    use, in 10 ms, and takes ten times as long where most elements are distinct.
    """
    if len(array) < _FEW:
        return np.array(sorted(set(array.tolist())), array.dtype)
    ordered = np.sort(array)
    kept = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=kept[1:])
    return ordered[kept]


def without(array: AnyArray, others: AnyArray) -> AnyArray:
    """[n]: the distinct elements of `array` that are not among `others`, in order, as `np.setdiff1d`."""
    found = distinct(array)
    return found[np.isin(found, distinct(others), assume_unique=True, invert=True)]
