"""The state of a flash device: immutable, shared sector by sector, and hashed sector by sector."""

from __future__ import annotations

from hashlib import blake2b

from relink.records import dataclass

_DIGEST = 16  #: bytes


@dataclass(frozen=True, slots=True)
class SectorState:
    """One sector: its bytes, how often each unit of writing was programmed (where that matters), and a hash."""

    content: bytes
    programs: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class FlashState:
    """A device at one time (see `Flash.state`). It can be pickled, and restored in another device of its kind."""

    device: str
    sizes: tuple[int, ...]  #: of its sectors
    units: int  #: number of units of writing whose programs are counted
    sectors: tuple[SectorState, ...]
    wear: bytes
    reads: bytes
    locked: frozenset[int]
    bad: frozenset[int]
    operations: int


def sector_state(content: bytes, programs: bytes) -> SectorState:
    """The state of a sector with its hash."""
    hashed = blake2b(content, digest_size=_DIGEST)
    hashed.update(programs)
    return SectorState(content, programs, hashed.digest())


def digest_of(*parts: bytes | str | int) -> bytes:
    """A hash of values, the same on every host."""
    hashed = blake2b(digest_size=_DIGEST)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        hashed.update(len(data).to_bytes(8, "little") + data)
    return hashed.digest()
