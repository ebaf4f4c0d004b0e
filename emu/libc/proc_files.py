"""Files of /proc that are made when they are opened. Source: proc(5) of the Linux man-pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from emu.cpu.protocol import Protection

if TYPE_CHECKING:
    from emu.libc.library import Libc


def _maps(libc: Libc) -> bytes:
    """A line for each run of pages with the same permissions."""
    lines = []
    for region in libc.mappings.regions:
        for offset, size, protection in sorted(region.pages):
            low = region.address + offset
            letters = "".join(
                letter if protection & bit else "-"
                for letter, bit in (("r", Protection.R), ("w", Protection.W), ("x", Protection.X))
            )
            line = f"{low:08x}-{low + size:08x} {letters}p 00000000 00:00 0"
            lines.append(f"{line:<73}{region.name}" if region.name else line)
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def _command_line(libc: Libc) -> bytes:
    arguments = libc.program.arguments if libc.program is not None else ()
    return b"".join(each.encode("utf-8", "surrogateescape") + b"\0" for each in arguments)


def _environment(libc: Libc) -> bytes:
    pairs = (f"{name}={value}" for name, value in libc.environment.items())
    return b"".join(each.encode("utf-8", "surrogateescape") + b"\0" for each in pairs)


def _processors(libc: Libc) -> bytes:
    """/proc/cpuinfo: one processor, with its number alone, since the other lines differ between architectures."""
    return b"processor\t: 0\n\n"


GENERATED: Final[Mapping[str, Callable[[Libc], bytes]]] = {
    "/proc/self/maps": _maps,
    "/proc/self/cmdline": _command_line,
    "/proc/self/environ": _environment,
    "/proc/cpuinfo": _processors,
}
