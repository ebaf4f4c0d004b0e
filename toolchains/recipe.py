"""`Recipe`: the description of a fixture: how one file is built for each variant."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from toolchains.targets import COMPILERS, TARGETS, VARIANTS, Role, Variant

ALL = tuple(TARGETS)
X86 = ("x86_64", "i386")
ARM = ("arm", "thumb")
RISCV = ("riscv64", "riscv32")
LOONGARCH = ("loongarch64",)
RELA = tuple(name for name in ALL if name not in ("i386", *ARM))


class Kind(enum.Enum):
    """The kind of file that a recipe makes; the value is the file's suffix."""

    SHARED = ".so"
    EXECUTABLE = ".elf"
    OBJECT = ".o"
    ARCHIVE = ".a"


LINKED = (Kind.SHARED, Kind.EXECUTABLE)

On = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Recipe:
    """How one file is built for each of its variants.

    A mapping named `…_on` adds to the field before it; its keys are compilers (`gcc`), targets (`riscv32`) or
    variants (`riscv32-gcc`), and the most general comes first.

    name      its path under `built/<variant>/`, without suffix
    sources   relative to `arch_fixtures/src`; each becomes an object, an archive's member
    needs     recipes it is linked against, in DT_NEEDED order
    stubs     SONAMEs it needs without their being built first (cycles): empty libraries stand in
    inputs    other files the commands read (version scripts)
    expects   dynamic relocation roles it must hold, asserted after the build
    holds_on  static relocation types it must hold (without R_<ARCH>_), asserted too
    lacks     which compilers, targets or variants cannot make it, and why not
    soname    None: the file's own name; "": none at all
    pic       the code's position independence, where `cflags` does not say
    """

    name: str
    sources: tuple[str, ...]
    cflags: tuple[str, ...] = ()
    ldflags: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    stubs: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    targets: tuple[str, ...] = ALL
    compilers: tuple[str, ...] = COMPILERS
    expects: frozenset[Role] = frozenset()
    expects_on: Mapping[str, frozenset[Role]] = field(default_factory=dict)
    holds_on: On = field(default_factory=dict)
    cflags_on: On = field(default_factory=dict)
    ldflags_on: On = field(default_factory=dict)
    lacks: Mapping[str, str] = field(default_factory=dict)
    soname: str | None = None
    pic: bool = True
    strip: tuple[str, ...] = ("--strip-all",)
    kind: Kind = Kind.SHARED

    @property
    def file(self) -> str:
        """The path under `built/<variant>/`."""
        return f"{self.name}{self.kind.value}"

    def lacking(self, variant: Variant) -> str | None:
        """Why this compiler cannot build it for this target; None if it can."""
        return next((self.lacks[key] for key in variant.keys if key in self.lacks), None)

    def wanted(self, variant: Variant) -> bool:
        """Whether the fixture is intended for `variant`, even if it cannot be built."""
        return variant.target.name in self.targets and variant.compiler in self.compilers

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants it is built for, in order."""
        return tuple(
            name for name, variant in VARIANTS.items() if self.wanted(variant) and self.lacking(variant) is None
        )


def words_on(words: On, variant: Variant) -> tuple[str, ...]:
    """The words of a mapping named `…_on` for `variant`."""
    return tuple(word for key in variant.keys for word in words.get(key, ()))


def roles(*expected: Role) -> frozenset[Role]:
    """The dynamic relocation roles a fixture is expected to hold, as `Recipe.expects` has them."""
    return frozenset(expected)
