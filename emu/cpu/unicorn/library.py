"""Unicorn's C library and its constants, without its Python binding. The only file that imports that.

The binding takes 20 to 30 milliseconds to import: it asks `importlib.resources` for its folder, which imports zip
files, compression and random numbers. Only who asks for a `unicorn.Uc` needs it (`uc_class`). The library is
searched where the binding searches it: in the folder LIBUNICORN_PATH, then beside the binding.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import unicorn.unicorn_const as uc

__all__ = ["constants", "uc", "uc_class", "uclib"]

_PACKAGE: Final = "unicorn"
_FILE: Final = {"linux": "libunicorn.so.2", "darwin": "libunicorn.2.dylib"}.get(sys.platform, "")

_status, _engine, _context, _pointer = ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p
_s32, _u32, _u64, _size = ctypes.c_int32, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_size_t
#: The functions whose arguments ctypes converts: the result's type, and the arguments' (unicorn/unicorn.h).
_PROTOTYPES: Final[dict[str, tuple[Any, ...]]] = {
    "uc_close": (_status, _engine),
    "uc_context_alloc": (_status, _engine, ctypes.POINTER(_context)),
    "uc_context_free": (_status, _context),
    "uc_context_restore": (_status, _engine, _context),
    "uc_context_save": (_status, _engine, _context),
    "uc_context_size": (_size, _engine),
    "uc_ctl": (_status, _engine, _s32),
    "uc_emu_stop": (_status, _engine),
    "uc_hook_add": (_status, _engine, ctypes.POINTER(_size), _s32, _pointer, _pointer, _u64, _u64),
    "uc_hook_del": (_status, _engine, _size),
    "uc_mem_map_ptr": (_status, _engine, _u64, _u64, _u32, _pointer),
    "uc_mem_protect": (_status, _engine, _u64, _u64, _u32),
    "uc_mem_unmap": (_status, _engine, _u64, _u64),
    "uc_mmio_map": (_status, _engine, _u64, _u64, _pointer, _pointer, _pointer, _pointer),
    "uc_open": (_status, _u32, _u32, ctypes.POINTER(_engine)),
    "uc_reg_read": (_status, _engine, _s32, _pointer),
    "uc_reg_write": (_status, _engine, _s32, _pointer),
    "uc_strerror": (ctypes.c_char_p, _status),
}


def _folders() -> list[str]:
    """The folders of the package. Raises ModuleNotFoundError."""
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"No module named {_PACKAGE!r}", name=_PACKAGE)
    return list(spec.submodule_search_locations)


def _library() -> Any:
    """The library with prototypes; where it is not found, the binding's, which may be elsewhere."""
    for folder in (os.environ.get("LIBUNICORN_PATH"), *(os.path.join(folder, "lib") for folder in _folders())):
        if folder is None or not _FILE:
            continue
        try:
            library = ctypes.CDLL(os.path.join(folder, _FILE))
            for name, (result, *arguments) in _PROTOTYPES.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
        except (OSError, AttributeError):
            continue
        return library
    from unicorn.unicorn_py3.unicorn import uclib as found

    return found


@cache
def constants(name: str) -> ModuleType:
    """The constants of `unicorn.<name>_const`, of an object of their own: they are plain numbers."""
    file = f"{name}_const"
    for folder in _folders():
        path = os.path.join(folder, f"{file}.py")
        spec = spec_from_file_location(f"{_PACKAGE}.{file}", path)
        if spec is not None and spec.loader is not None and os.path.exists(path):
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    from importlib import import_module

    return import_module(f"unicorn.{file}")


def uc_class() -> Any:
    """The binding's class of an engine, `unicorn.Uc`."""
    from unicorn.unicorn_py3.unicorn import Uc

    return Uc


uclib: Final = _library()
if not TYPE_CHECKING:
    uc = constants("unicorn")
