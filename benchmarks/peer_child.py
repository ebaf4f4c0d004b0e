"""What a peer does in a process of its own, and how many milliseconds of processor time that took.

    python peer_child.py KIND FILE [MORE…]

This file imports nothing of the project: peers have environments of their own. What is imported or loaded
beforehand is not counted. Prints JSON.

dlopen FILE [NEEDED…]   one dlopen(RTLD_NOW), the libraries it needs loaded before
dlmopen FILE            one dlmopen into a new namespace: the library with all it needs
reopen FILE             dlopen and dlclose, again and again; the mean
lief FILE               LIEF parses the file
cle FILE [FOLDER…]      CLE loads and relocates it; with folders, with what it needs from there
qiling FILE             Qiling starts the program and runs it to its end
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import sys
import time
from collections.abc import Callable


def _timed(work: Callable[[], object], count: int = 1) -> float:
    started = time.process_time()
    for _ in range(count):
        work()
    return (time.process_time() - started) * 1e3 / count


def dlopen(path: str, *needed: str) -> float:
    for name in needed:
        try:
            ctypes.CDLL(name, mode=os.RTLD_NOW | os.RTLD_GLOBAL)
        except OSError:
            continue  # the library may be one that nothing else finds
    return _timed(lambda: ctypes.CDLL(path, mode=os.RTLD_NOW))


def dlmopen(path: str) -> float:
    libc = ctypes.CDLL(None)
    libc.dlmopen.restype, libc.dlerror.restype = ctypes.c_void_p, ctypes.c_char_p
    libc.dlmopen.argtypes = [ctypes.c_long, ctypes.c_char_p, ctypes.c_int]

    def load() -> None:
        if not libc.dlmopen(-1, path.encode(), os.RTLD_NOW):
            raise OSError(libc.dlerror().decode())

    return _timed(load)


def reopen(path: str) -> float:
    close = ctypes.CDLL(None).dlclose
    close.argtypes = [ctypes.c_void_p]
    return _timed(lambda: close(ctypes.CDLL(path, mode=os.RTLD_NOW)._handle), 200)


def lief(path: str) -> float:
    import lief

    return _timed(lambda: lief.parse(path))


def cle(path: str, *folders: str) -> float:
    import cle

    logging.disable(logging.CRITICAL)
    options = {"auto_load_libs": bool(folders), "ld_path": folders, "perform_relocations": True}
    return _timed(lambda: cle.Loader(path, **options))


def qiling(path: str) -> float:
    from qiling import Qiling
    from qiling.const import QL_VERBOSE

    return _timed(lambda: Qiling([path], "/", verbose=QL_VERBOSE.DISABLED).run())


if __name__ == "__main__":
    kinds = {work.__name__: work for work in (dlopen, dlmopen, reopen, lief, cle, qiling)}
    spent = kinds[sys.argv[1]](*sys.argv[2:])
    print()  # what a guest printed may have no end of line
    print(json.dumps({"ms": spent}))
