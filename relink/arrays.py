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
