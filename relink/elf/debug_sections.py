"""`DebugSections`: the contents of an image's debug sections, and the problems met in reading them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


class DebugSections(dict[str, bytes]):
    """Contents of debug sections by name (".debug_info").

    - `problems`: a sentence for each section that cannot be read;
    - `missing`: the name of a separate debug file that was not found, or only with another checksum;
    - `folders`: where files that the sections name are searched;
    - `machine`: e_machine of the image; `path`: its file.
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
        """The folders of the image's files, without duplicates."""
        return tuple(dict.fromkeys(path.parent for path in self.paths))
