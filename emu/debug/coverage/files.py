"""Files of coverage: written, merged with what a file has, and merged with each other."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from emu.debug.coverage.data import CoverageData
from emu.debug.coverage.drcov import read_drcov, write_drcov
from emu.debug.coverage.lcov import Tracefile
from emu.debug.coverage.module import Module
from relink.export.whole_file import write_whole
from relink.memory.rollback import Rollback


def is_drcov(path: Path) -> bool:
    """Whether a file of this name is a drcov file."""
    return path.suffix in (".drcov", ".log")


def save(data: CoverageData, path: Path, *, test: str = "", append: bool = False) -> None:
    """See `Coverage.save`."""
    drcov = is_drcov(path)
    if path.exists() and not path.is_file():  # a device or a pipe: nothing is read of it, nor takes its place
        path.write_bytes(_content(data, path, test, b"", drcov=drcov))
        return
    path = Path(os.path.realpath(path))  # a link goes on leading there
    with _locked(path, needed=append):
        before = path.read_bytes() if append and path.exists() else b""
        content = _content(data, path, test, before, drcov=drcov)
        write_whole(path, content)


def _content(data: CoverageData, path: Path, test: str, before: bytes, *, drcov: bool) -> bytes:
    """The new content of a file that has `before`."""
    if drcov:
        merged = CoverageData()
        if before:
            merged.merge(read_drcov(before, str(path)))
        merged.merge(_without_arch(data))
        return write_drcov(merged)
    trace = Tracefile.of(data)
    if before:
        merged_trace = Tracefile.read(before.decode("utf-8", "surrogateescape"), str(path))
        merged_trace.merge(trace)
        trace = merged_trace
    return trace.text(test).encode("utf-8", "surrogateescape")


def _without_arch(data: CoverageData) -> CoverageData:
    """The data as a drcov file has it: it does not tell ISAs apart."""
    return CoverageData(
        Module(each.path, "", each.size, each.base, each.low, None, each.blocks, each.branches)
        for each in data.modules.values()
    )


def merge_files(paths: Iterable[str | os.PathLike[str]], output: str | os.PathLike[str]) -> None:
    """Merge drcov files, or lcov tracefiles, into one. Raises MachineError for a file of the other kind,
    OSError.
    """
    output = Path(output)
    if is_drcov(output):
        data = CoverageData()
        for path in map(Path, paths):
            data.merge(read_drcov(path.read_bytes(), str(path)))
        write_whole(output, write_drcov(data))
        return
    trace = Tracefile()
    for path in map(Path, paths):
        trace.merge(Tracefile.read(path.read_text("utf-8", "surrogateescape"), str(path)))
    write_whole(output, trace.text().encode("utf-8", "surrogateescape"))


@contextmanager
def _locked(path: Path, *, needed: bool) -> Iterator[None]:
    """Hold a lock beside a file, so that processes change it one after the other. The last removes it."""
    if not needed:
        yield
        return
    import fcntl

    beside = path.with_name(path.name + ".lock")
    rest = Rollback([(_remove_unheld, (beside,))])
    try:
        while True:
            with beside.open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if _is_file(lock.fileno(), beside):
                    yield
                    return
                # Removed by the process that held it: others lock a new one.
    finally:
        try:
            rest.close()
        finally:
            if rest.calls:
                rest.close()


def _remove_unheld(path: Path) -> None:
    """Remove a lock's file, unless another process has the lock."""
    import fcntl

    with suppress(FileNotFoundError, BlockingIOError), path.open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_file(lock.fileno(), path):
            path.unlink()


def _is_file(number: int, path: Path) -> bool:
    """Whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(number), path.stat())
    except FileNotFoundError:
        return False
