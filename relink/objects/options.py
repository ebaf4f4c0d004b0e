"""What a user may ask of linking objects and archives into one image."""

from __future__ import annotations

from collections.abc import Sequence

from relink.records import dataclass, field

#: Of ld's --wrap: what references to a wrapped name mean, and what means the name itself.
_WRAPPER, _REAL = "__wrap_", "__real_"


@dataclass(frozen=True, slots=True)
class Wrapped:
    """Names whose references mean other names (GNU ld, --wrap)."""

    names: frozenset[str] = frozenset()

    def reference(self, name: str) -> str:
        """The name that an undefined reference to `name` means."""
        if name in self.names:
            return _WRAPPER + name
        real = name.removeprefix(_REAL)
        return real if real in self.names else name


@dataclass(frozen=True, slots=True)
class ObjectOptions:
    """How objects and archives become one image."""

    #: Symbols that archives are asked for beside what the objects need (ld's -u), and that others may bind to.
    undefined: Sequence[str] = ()
    whole_archive: bool = False  #: take all members of archives
    #: References to these names mean `__wrap_NAME`, those to `__real_NAME` the name itself, but for references in
    #: the object that defines it.
    wrapped: Wrapped = field(default=Wrapped())
    #: Names that somebody else defines for the objects' own references too, whatever the objects define.
    overridden: frozenset[str] = frozenset()
