"""`--guest-cov`: which code of the libraries the tests have run, on all architectures together."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from emu.debug.coverage.data import CoverageData
from emu.debug.coverage.files import is_drcov, save
from relink.errors import RelinkError
from relink.records import replace

if TYPE_CHECKING:
    from emu.pytest_plugin.pool import Loaded


def files(config: pytest.Config) -> list[Path]:
    """Where to write."""
    return [
        (config.invocation_params.dir / name).absolute() for name in config.getoption("relink_guest_cov") or ()
    ]


def begin(config: pytest.Config) -> None:
    """Remove what an earlier session has written. Not called in xdist's workers, which all write.

    Raises UsageError for a file that cannot be written.
    """
    for file in files(config):
        target = Path(os.path.realpath(file))  # a link goes on leading there
        try:
            if not file.exists():
                target.open("xb").close()
            elif file.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            elif not file.is_file():
                continue  # a device or a pipe
            target.unlink()
        except OSError as error:
            raise pytest.UsageError(f"--guest-cov: {file} cannot be written: {error.strerror}") from None


class GuestCoverage:
    """The code that the tests of one process have run."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths, self._data = paths, CoverageData()

    @contextmanager
    def recording(self, loaded: Loaded) -> Iterator[None]:
        """Record the library's code during a test, as one hit of each line that it runs."""
        if loaded.loaded is None:
            yield
            return
        coverage = loaded.machine.coverage(loaded.loaded, branches=False).start()
        try:
            yield
        finally:
            with suppress(RelinkError):  # of a machine that is still in a call: the test fails
                coverage.stop()
                self._data.merge(coverage)

    def save(self) -> Iterator[str]:
        """Merge it into the files; the problems of those that cannot be written. In drcov files, the names of
        libraries tell architectures apart.
        """
        for path in self._paths:
            data = self._data
            if is_drcov(path):
                each = data.modules.values()
                data = CoverageData(replace(module, path=f"{module.arch}/{module.path}") for module in each)
            try:
                save(data, path, append=True)
            except (OSError, RelinkError) as error:
                yield f"--guest-cov: {path} was not written: {error}"
