"""Names of hosts, services, protocols and interfaces: none is found, as without a network and its files.

Numbers are read by `emu.libc.addresses`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc.errno import Errno
from emu.libc.symbol_source import H_ERRNO_OFFSET
from emu.libc.table import export, export_data, register
from emu.libc.texts import constant_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from emu.libc.library import Libc

_HOST_NOT_FOUND = 1
#: glibc, resolv/herror.c: texts by h_errno.
_TEXTS = (
    b"Resolver Error 0 (no error)", b"Unknown host", b"Host name lookup failure", b"Unknown server error",
    b"No address associated with name",
)  # fmt: skip
_INTERNAL, _UNKNOWN = b"Resolver internal error", b"Unknown resolver error"


@export_data("in6addr_any")
def in6addr_any(libc: Libc) -> bytes:
    return bytes(16)


@export_data("in6addr_loopback")
def in6addr_loopback(libc: Libc) -> bytes:
    return bytes(15) + b"\1"


@export("int *__h_errno_location(void)")
def h_errno_location(libc: Libc) -> int:
    return libc.errno_address + H_ERRNO_OFFSET


@export("const char *hstrerror(int error)")
def hstrerror(libc: Libc, error: int) -> int:
    text = _INTERNAL if error < 0 else _TEXTS[error] if error < len(_TEXTS) else _UNKNOWN
    return constant_text(libc, text)


@export("int __res_init(void)", alias=("res_init",))
def res_init(libc: Libc) -> int:
    """There is no resolver to set up."""
    return 0


def no_host(libc: Libc, *_: int) -> int:
    """0, with h_errno HOST_NOT_FOUND."""
    libc.memory.write_uint(h_errno_location(libc), 4, _HOST_NOT_FOUND)
    return 0


register("gethostbyaddr", "void *gethostbyaddr(const void *address, unsigned size, int family)", no_host)


#: Queries of the resolver, by their parameters; those whose name begins with n have the state first.
_QUERIES = {
    "query search": "const char *name, int kind, int type, void *answer, int size",
    "querydomain": "const char *name, const char *domain, int kind, int type, void *answer, int size",
    "send": "const void *message, int length, void *answer, int size",
}
for _stems, _parameters in _QUERIES.items():
    for _stem in _stems.split():
        for _name, _first in ((f"res_{_stem}", ""), (f"res_n{_stem}", "void *state, ")):
            for _spelled in (_name, f"__{_name}"):
                register(_spelled, f"int {_spelled}({_first}{_parameters})", lambda libc, *_: no_host(libc) - 1)
for _spelled in ("res_ninit", "__res_ninit"):
    register(_spelled, f"int {_spelled}(void *state)", lambda libc, _: 0)
for _spelled in ("res_nclose", "__res_nclose"):
    register(_spelled, f"void {_spelled}(void *state)", lambda libc, _: None)


@export("void herror(const char *text)")
def herror(libc: Libc, text: int) -> None:
    error = libc.memory.read_uint(h_errno_location(libc), 4)
    prefix = libc.string(text) + b": " if text else b""
    libc.stderr.write(prefix + libc.string(hstrerror(libc, error)) + b"\n")


def _nothing(libc: Libc, *_: int) -> int:
    return 0


for _name, _parameters in {
    "getnetbyname": "const char *name",
    "getprotobyname": "const char *name",
    "getprotobynumber": "int number",
    "getprotoent": "void",
    "getservbyname": "const char *name, const char *protocol",
    "getservbyport": "int port, const char *protocol",
    "getservent": "void",
}.items():
    register(_name, f"void *{_name}({_parameters})", _nothing)


for _of in ("host", "net", "proto", "serv"):
    register(f"set{_of}ent", f"void set{_of}ent(int stay_open)", lambda libc, _: None)
    register(f"end{_of}ent", f"void end{_of}ent(void)", lambda libc: None)


def _not_found(place: int, error: int = 0) -> Callable[..., int]:
    """A reentrant look-up: `error`, NULL at its argument number `place`, and h_errno at the next, if any."""

    def look_up(libc: Libc, *words: int) -> int:
        libc.set_pointer(words[place], 0)
        if len(words) > place + 1:
            libc.memory.write_uint(words[place + 1], 4, _HOST_NOT_FOUND)
        return error

    return look_up


_BUFFER, _HOST_ERROR = "void *entry, char *buffer, size_t size, void **result", ", int *error"
for _name, _parameters, _count in (
    ("gethostbyname_r", f"const char *name, {_BUFFER}{_HOST_ERROR}", 1),
    ("gethostbyname2_r", f"const char *name, int family, {_BUFFER}{_HOST_ERROR}", 2),
    ("gethostbyaddr_r", f"const void *address, unsigned length, int family, {_BUFFER}{_HOST_ERROR}", 3),
    ("getservbyname_r", f"const char *name, const char *protocol, {_BUFFER}", 2),
    ("getservbyport_r", f"int port, const char *protocol, {_BUFFER}", 2),
    ("getprotobyname_r", f"const char *name, {_BUFFER}", 1),
    ("getprotobynumber_r", f"int number, {_BUFFER}", 1),
    ("getnetbyname_r", f"const char *name, {_BUFFER}{_HOST_ERROR}", 1),
    ("getnetbyaddr_r", f"unsigned net, int family, {_BUFFER}{_HOST_ERROR}", 2),
):
    register(_name, f"int {_name}({_parameters})", _not_found(_count + 3))
for _name, _parameters in {
    "gethostent_r": _BUFFER + _HOST_ERROR,
    "getnetent_r": _BUFFER + _HOST_ERROR,
    "getprotoent_r": _BUFFER,
    "getservent_r": _BUFFER,
    "getspnam_r": f"const char *name, {_BUFFER}",
}.items():
    register(_name, f"int {_name}({_parameters})", _not_found(3 + (_name == "getspnam_r"), Errno.ENOENT))
for _name in ("gethostent", "getnetent"):
    register(_name, f"void *{_name}(void)", no_host)


# ---------------------------------------------------------------- interfaces


@export("unsigned if_nametoindex(const char *name)")
def if_nametoindex(libc: Libc, name: int) -> int:
    return libc.fail(Errno.ENODEV, 0)


@export("char *if_indextoname(unsigned number, char *name)")
def if_indextoname(libc: Libc, number: int, name: int) -> int:
    return libc.fail(Errno.ENXIO, 0)


@export("void *if_nameindex(void)")
def if_nameindex(libc: Libc) -> int:
    return libc.fail(Errno.EAFNOSUPPORT, 0)


@export("void if_freenameindex(void *list)", alias=("freeifaddrs",))
def if_freenameindex(libc: Libc, listed: int) -> None:
    """Nothing to free: no list is ever returned."""
