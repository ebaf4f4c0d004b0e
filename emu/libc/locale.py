"""Locales beside setlocale: there is one, "C", whatever is asked for; messages stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc.table import export, export_data

if TYPE_CHECKING:
    from emu.libc.core import Libc

#: nl_item of CODESET and RADIXCHAR, the same in glibc and musl (langinfo.h).
_CODESET, _RADIX = 14, 0x10000
#: Characters are UTF-8 here (see the wide family), as musl says of its C locale too.
_TEXTS = b"UTF-8\0.\0\0"


@export_data("__relink_langinfo")
def langinfo_texts(libc: Libc) -> bytes:
    return _TEXTS


@export("char *nl_langinfo(int item)")
def nl_langinfo(libc: Libc, item: int) -> int:
    texts = libc.data_symbol("__relink_langinfo") or 0
    return texts + {_CODESET: 0, _RADIX: 6}.get(item, 8)


@export("char *nl_langinfo_l(int item, void *locale)", alias=("__nl_langinfo_l",))
def nl_langinfo_l(libc: Libc, item: int, locale: int) -> int:
    return nl_langinfo(libc, item)


@export("void *newlocale(int mask, const char *name, void *base)", alias=("__newlocale",))
def newlocale(libc: Libc, mask: int, name: int, base: int) -> int:
    return base or (libc.data_symbol("__relink_langinfo") or 0)


@export("void *duplocale(void *locale)", alias=("__duplocale",))
def duplocale(libc: Libc, locale: int) -> int:
    return locale


@export("void *uselocale(void *locale)", alias=("__uselocale",))
def uselocale(libc: Libc, locale: int) -> int:
    return libc.data_symbol("__relink_langinfo") or 0


@export("void freelocale(void *locale)", alias=("__freelocale",))
def freelocale(libc: Libc, locale: int) -> None:
    """One serves all."""


@export("char *ngettext(const char *one, const char *many, unsigned long count)")
def ngettext(libc: Libc, one: int, many: int, count: int) -> int:
    return one if count == 1 else many


@export("char *dngettext(const char *domain, const char *one, const char *many, unsigned long count)")
def dngettext(libc: Libc, domain: int, one: int, many: int, count: int) -> int:
    return ngettext(libc, one, many, count)


@export(
    "char *dcngettext(const char *domain, const char *one, const char *many, unsigned long count, int category)"
)
def dcngettext(libc: Libc, domain: int, one: int, many: int, count: int, category: int) -> int:
    return ngettext(libc, one, many, count)


@export("char *bind_textdomain_codeset(const char *domain, const char *codeset)")
def bind_textdomain_codeset(libc: Libc, domain: int, codeset: int) -> int:
    return codeset
