"""Options for linking objects and archives into one image."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from relink.records import cached_property, dataclass, field

if TYPE_CHECKING:
    from relink.objects.script import LinkScript

#: Prefixes of ld's --wrap: references to NAME become `__wrap_NAME`; `__real_NAME` becomes NAME.
_WRAPPER, _REAL = "__wrap_", "__real_"


@dataclass(frozen=True, slots=True)
class Wrapped:
    """The wrapped names (GNU ld, --wrap)."""

    names: frozenset[str] = frozenset()

    def reference(self, name: str) -> str:
        """The name that an undefined reference to `name` resolves to."""
        if name in self.names:
            return _WRAPPER + name
        real = name.removeprefix(_REAL)
        return real if real in self.names else name


@dataclass(frozen=True)
class ObjectOptions:
    """Options for linking objects and archives into one image."""

    #: Additional undefined symbols that select archive members (ld's -u); other images may bind to them.
    undefined: Sequence[str] = ()
    whole_archive: bool = False  #: add all members of archives
    #: References to these names mean `__wrap_NAME`, those to `__real_NAME` the name itself, but for references in
    #: the object that defines it.
    wrapped: Wrapped = field(default=Wrapped())
    #: Names whose references, also in these objects, bind outside the image even if the objects define them.
    overridden: frozenset[str] = frozenset()
    #: Places the sections in a device's memory (None: the address space chooses).
    script: LinkScript | None = None

    @cached_property
    def identity(self) -> tuple[Hashable, ...] | None:
        """A key of caches, equal for options that link objects alike. None with a script, which are not kept."""
        if self.script is not None:
            return None
        return tuple(self.undefined), self.whole_archive, self.wrapped.names, self.overridden
