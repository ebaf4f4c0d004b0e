"""C arrays and types as numpy's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from emu.calls.codec import plain_code
from emu.calls.store import GuestStore, View
from emu.calls.types import Array, CType, Enumeration, Pointer, Struct
from emu.errors import CallError

if TYPE_CHECKING:
    import numpy as np


def numpy_array(view: View) -> np.ndarray[Any, Any]:
    """The elements of an array: see `ArrayView.numpy` (emu.calls.records)."""
    import numpy

    shape, target = [], view._ctype_
    element: CType = target
    while isinstance(element, Array):
        shape.append(element.count or 0)
        element = element.target
    kind = numpy_type(element)
    store, at = view._store_, view._at_
    data = bytes(view) if isinstance(store, GuestStore) else memoryview(store.data)[at : at + target.size]
    return numpy.frombuffer(data, kind).reshape(shape)


def numpy_type(ctype: CType) -> np.dtype[Any]:
    """The dtype with a type's layout. Raises CallError when numpy has none."""
    import numpy

    if isinstance(ctype, Struct):
        fields = ctype.fields
        if any(member.bits for member in fields.values()):
            raise CallError(f"numpy has no bit-fields, which {ctype} has")
        layout: Any = {
            "names": list(fields),
            "formats": [numpy_type(member.type) for member in fields.values()],
            "offsets": [member.offset for member in fields.values()],
            "itemsize": ctype.size,
        }
        return cast("np.dtype[Any]", numpy.dtype(layout))
    if isinstance(ctype, Array):
        items: Any = (numpy_type(ctype.target), (ctype.count or 0,))
        return cast("np.dtype[Any]", numpy.dtype(items))
    if isinstance(ctype, Pointer):
        return numpy.dtype(f"<u{ctype.size}")
    letter = plain_code(ctype) or (isinstance(ctype, Enumeration) and f"{'iu'[not ctype.signed]}{ctype.size}")
    if not letter:
        raise CallError(f"numpy has no type for {ctype}")
    found: np.dtype[Any] = numpy.dtype(f"<{letter}")
    return found
