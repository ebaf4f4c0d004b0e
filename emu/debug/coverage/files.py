"""Files of coverage: written, merged with what a file has, and merged with each other."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from emu.debug.coverage.data import CoverageData
from emu.debug.coverage.drcov import read_drcov, write_drcov
from emu.debug.coverage.lcov import Tracefile
from emu.debug.coverage.module import Module


def is_drcov(path: Path) -> bool:
    """Whether a file of this name is a drcov file."""
    return path.suffix in (".drcov", ".log")


def save(data: CoverageData, path: Path, *, test: str = "", append: bool = False) -> None:
    """See `Coverage.save`."""
    with _locked(path, needed=append):
        content = path.read_bytes() if append and path.exists() else b""
        if is_drcov(path):
            merged = CoverageData()
            if content:
                merged.merge(read_drcov(content, str(path)))
            merged.merge(_without_arch(data))
            content = write_drcov(merged)
        else:
            trace = Tracefile.of(data)
            if content:
                before = Tracefile.read(content.decode("utf-8", "surrogateescape"), str(path))
                before.merge(trace)
                trace = before
            content = trace.text(test).encode("utf-8", "surrogateescape")
        temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
        temporary.write_bytes(content)
        os.replace(temporary, path)


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
        output.write_bytes(write_drcov(data))
        return
    trace = Tracefile()
    for path in map(Path, paths):
        trace.merge(Tracefile.read(path.read_text("utf-8", "surrogateescape"), str(path)))
    output.write_text(trace.text(), "utf-8", "surrogateescape")


@contextmanager
def _locked(path: Path, *, needed: bool) -> Iterator[None]:
    """Hold a lock beside a file, so that processes change it one after the other. The last removes it."""
    if not needed:
        yield
        return
    import fcntl

    beside = path.with_name(path.name + ".lock")
    while True:
        with beside.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_file(lock.fileno(), beside):
                continue  # removed by the process that held it: others lock a new one
            try:
                yield
            finally:
                beside.unlink()
            return


def _is_file(number: int, path: Path) -> bool:
    """Whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(number), path.stat())
    except FileNotFoundError:
        return False
