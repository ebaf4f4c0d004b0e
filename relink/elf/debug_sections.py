"""The contents of an image's debug sections, and what could not be read of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


class DebugSections(dict[str, bytes]):
    """Contents of debug sections by name (".debug_info").

    `problems` are sentences about those that cannot be read, `missing` names a file that has them and is not
    there; `folders` is where files that they name are looked for, `machine` the e_machine of the image, `path` its
    file.
    """

    def __init__(
        self,
        sections: Mapping[str, bytes] | None = None,
        problems: Sequence[str] = (),
        *,
        source: str = "<debug>",
        bits: int = 64,
        machine: int = 0,
        paths: Sequence[Path] = (),
    ) -> None:
        super().__init__(sections or {})
        self.problems = tuple(problems)
        self.source, self.bits, self.machine = source, bits, machine
        self.paths = tuple(paths)
        self.missing: str | None = None

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of the image's files, each once."""
        return tuple(dict.fromkeys(path.parent for path in self.paths))
