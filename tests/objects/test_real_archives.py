"""Static libraries as distributions ship them: every member links, whole archives and members by themselves.

What an archive leaves undefined is bound to one address, as a trap would be: nothing is called here.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from emu.cli.report import report
from relink import HostMemory, Linker
from relink.elf.archive import Archive
from relink.image import Image
from relink.linker import LoadOptions
from relink.objects.combined import CombinedObjects
from relink.relocate.static import DYNAMIC_ONLY
from tests.grouping import by
from tests.real import real_archives
from toolchains.archives import FLAVOURS

pytestmark = pytest.mark.real

LIBRARIES = [
    pytest.param(flavour, name, id=f"{flavour}-{name}") for flavour, row in FLAVOURS.items() for name in row.files
]
#: Libraries of hundreds of members, and flavours that have them without debug information: every relocation is one
#: that linking the whole archive applies then. To count those too takes ten times as long as what is left.
_LARGE = ("libc.a", "libm.a", "libcrypto.a", "musl libc.a")
_STRIPPED = ("x86_64", "i386", "aarch64", "arm", "riscv64", "loongarch64")
COUNTED = [case for case in LIBRARIES if case.values[0] not in _STRIPPED or case.values[1] not in _LARGE]
_SAMPLE = 1  #: library of each flavour, unless all are asked for
_TRAP = 0x2000_0000
_TLS_SIZE = 1 << 16
_ALONE = 24  #: members of each archive that are linked by themselves, spread evenly


def _link(arch: str, source: Path | bytes, name: str | None = None) -> Image:
    linker = Linker(HostMemory(arch), tls_size=_TLS_SIZE)
    return linker.load(source, name=name, options=LoadOptions(unresolved=lambda image, symbol: _TRAP))


@by(("flavour", "name"), COUNTED, sample=_SAMPLE)
def test_every_relocation_type_of_an_archive_is_implemented(flavour: str, name: str) -> None:
    found = report([str(path) for path in real_archives(flavour, name)])
    assert not found.skipped
    assert [
        (kind.name, kind.status)
        for part in found.architectures
        for kind in part.types
        if kind.status != "implemented"
    ] == []
    assert [part.share for part in found.architectures] == [1.0]


@by(("flavour", "name"), LIBRARIES, sample=_SAMPLE)
def test_a_whole_archive_links_into_one_image(flavour: str, name: str) -> None:
    for path in real_archives(flavour, name):
        image = _link(FLAVOURS[flavour].arch, path)
        combined = image.decoded
        assert isinstance(combined, CombinedObjects)
        archive = Archive.open(path)
        assert len(combined.files) == len(archive.objects) > 0
        # Nothing was passed over: what was applied is what the kept sections hold, less what only marks something.
        page, applied = image.architecture, sum(image.relocation_counts.values())
        numbers = Counter(combined.relocations[0].type.tolist())
        silent = sum(count for number, count in numbers.items() if page.relocations[number].formula is None)
        assert applied + silent >= numbers.total()
        assert not any(page.relocations[number].role in DYNAMIC_ONLY for number in numbers)


@by(("flavour", "name"), LIBRARIES, sample=_SAMPLE)
def test_members_link_by_themselves(flavour: str, name: str) -> None:
    for path in real_archives(flavour, name):
        archive = Archive.open(path)
        step = max(len(archive.objects) // _ALONE, 1)
        for number in archive.objects[::step]:
            member = archive.members[number]
            if any(section.flags & 2 and section.size for section in archive.object(number).sections):
                _link(FLAVOURS[flavour].arch, member.data.tobytes(), member.full_name)
