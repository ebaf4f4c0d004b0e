"""Members of real archives, byte for byte what lld and GNU ld make of them at the same addresses.

docs/objects.md lists what may differ, and why; `Allowed` names it. Everything else is a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from itertools import islice, pairwise
from pathlib import Path

import pytest

from relink.arch import architecture
from relink.elf.archive import Archive
from tests.grouping import by, each
from tests.objects.side_by_side import Allowed, TheyRefuse, decode, is_fit, link_both
from tests.real import available, real_archives
from tests.sampling import examples
from toolchains.archives import FLAVOURS
from toolchains.build import BUILT
from toolchains.linkers import gnu_ld, lld
from toolchains.targets import VARIANTS

pytestmark = pytest.mark.real

LINKERS: Mapping[str, tuple[Callable[[str], list[str]], tuple[str, ...]]] = {
    "lld": (lld, ("-static", "-O0", "-z", "norelro")),
    "gnu": (gnu_ld, ("-static", "--no-warn-rwx-segments")),
}
LIBRARIES = ("libz.a", "libc.a", "libcrypto.a", "libstdc++.a", "libgcc.a", "musl libc.a")
#: The ABI of the object that defines what members leave undefined, where it is not the target's usual one.
CFLAGS = {
    "thumb-v6m": ("-target", "thumbv6m-none-eabi", "-march=armv6-m", "-mfloat-abi=soft"),
    "thumb-v7m": ("-target", "thumbv7m-none-eabi", "-march=armv7-m", "-mfloat-abi=soft"),
    "thumb-v7em": ("-target", "thumbv7em-none-eabihf", "-march=armv7e-m", "-mfloat-abi=hard"),
    "riscv32-imac": ("-march=rv32imac", "-mabi=ilp32"),
}
#: Types a linker relaxes whatever it is told.
RELAXES = {
    ("gnu", "i386"): frozenset({"GOT32X"}),
    ("lld", "loongarch64"): frozenset({"GOT_PC_HI20", "GOT_PC_LO12"}),
}
MEMBERS = examples(60)
CASES = [
    pytest.param(flavour, name, linker, id=f"{linker}-{flavour}-{name}")
    for flavour, row in FLAVOURS.items()
    for name in LIBRARIES
    if name in row.files
    for linker in LINKERS
]


@cache
def sample(paths: tuple[Path, ...], count: int) -> list[tuple[str, bytes]]:
    """Up to `count` members spread evenly over the archives: of each part of them one that is fit."""
    archives = [Archive.open(path) for path in paths]
    members = [(archive, number) for archive in archives for number in archive.objects]
    ends = [len(members) * part // count for part in range(count + 1)]
    found = []
    for begin, end in pairwise(ends):
        middle = (begin + end) // 2
        fit = (m for m in members[middle:end] + members[begin:middle] if is_fit(m[0].object(m[1])))
        for archive, number in islice(fit, 1):
            found.append((archive.members[number].full_name, archive.members[number].data.tobytes()))
    return found


@by(("flavour", "name", "linker"), CASES, sample=1)
def test_members_are_linked_to_the_same_bytes(flavour: str, name: str, linker: str, tmp_path: Path) -> None:
    arch = architecture(FLAVOURS[flavour].arch)
    command, flags = LINKERS[linker]
    members = sample(real_archives(flavour, name), MEMBERS)
    sides = link_both(
        arch,
        members,
        [*available(command, arch.name), *flags],
        tmp_path,
        CFLAGS.get(flavour, ()),
        RELAXES.get((linker, arch.name), frozenset()),
    )
    assert sides.differences() == []
    assert sides.compared > 500 * MEMBERS // 60
    assert sides.allowed[Allowed.PADDING] < 20


#: Fixtures whose symbols must lie at addresses of the test's choosing.
ELSEWHERE = ("words.o", "branches.o")
#: What a linker says that knows fewer types than we do.
IGNORANT = ("unknown relocation", "unrecognized relocation", "assertion fail", "unsupported")


@each("linker", LINKERS, sample=1)
@pytest.mark.parametrize("variant", VARIANTS)
def test_compiled_objects_are_linked_to_the_same_bytes(variant: str, linker: str, tmp_path: Path) -> None:
    """Each code model and TLS model, by itself."""
    arch = architecture(VARIANTS[variant].target.arch)
    command, flags = LINKERS[linker]
    tool = [*available(command, arch.name), *flags]
    relaxes, compared = RELAXES.get((linker, arch.name), frozenset()), 0
    for path in sorted((BUILT / variant / "objects").rglob("*.o")):
        data = path.read_bytes()
        if path.name in ELSEWHERE or not is_fit(decode(str(path), data)):
            continue
        try:
            sides = link_both(
                arch, [(str(path), data)], tool, tmp_path, relaxes=relaxes, thumb=variant.startswith("thumb")
            )
        except TheyRefuse as refusal:
            if not any(word in str(refusal) for word in IGNORANT):
                raise
            continue
        assert sides.differences() == [], path
        compared += sides.compared
    if not compared:
        pytest.skip(f"no objects are built for {variant}")
