"""iconv, with Python's codecs: Unicode's encodings, and those of one byte that glibc has the same tables for.

`//IGNORE` leaves out what the target lacks; `//TRANSLIT` is refused (EINVAL), since what glibc writes instead is a
matter of its locales.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, NamedTuple

from emu.libc.errno import Errno
from emu.libc.table import export
from emu.memory.guest_view import PIECE

if TYPE_CHECKING:
    from emu.libc.library import Libc

#: Encodings of one byte, by Python's names (compared byte for byte with glibc 2.36).
_BYTES = frozenset(
    [f"iso8859-{n}" for n in (*range(1, 12), 13, 14, 15, 16)]
    + [f"cp{n}" for n in (437, 500, 737, 775, 850, 852, 855, 857, 858, *range(860, 867), 869, 874, 1125, 1140)]
    + [f"cp{n}" for n in (1250, 1251, 1252, 1253, 1254, 1256, 1257)]
    + ["ascii", "koi8-r", "koi8-u", "koi8-t", "hp-roman8"]
)


class Charset(NamedTuple):
    """How an encoding is read and written. `unit` is the size of its units; `largest` the last character."""

    codec: str
    unit: int = 1
    largest: int = 0x10FFFF
    mark: bool = False  #: with a byte order mark: written first, and skipped or obeyed at the start


_UTF_8 = Charset("utf-8")
_UTF_16 = {order: Charset(f"utf-16-{order}", 2) for order in ("le", "be")}
_UTF_32 = {order: Charset(f"utf-32-{order}", 4) for order in ("le", "be")}
_UCS_2 = {order: charset._replace(largest=0xFFFF) for order, charset in _UTF_16.items()}
#: By name without hyphens. Where a name leaves the order open it is the host's, little; only UCS-4's is big.
_UNICODE = {
    "": _UTF_8, "CHAR": _UTF_8, "UTF8": _UTF_8, "WCHART": _UTF_32["le"], "INTERNAL": _UTF_32["le"],
    "UTF16": _UTF_16["le"]._replace(mark=True), "UTF16LE": _UTF_16["le"], "UTF16BE": _UTF_16["be"],
    "UTF32": _UTF_32["le"]._replace(mark=True), "UTF32LE": _UTF_32["le"], "UTF32BE": _UTF_32["be"],
    "UCS2": _UCS_2["le"], "UCS2LE": _UCS_2["le"], "UCS2BE": _UCS_2["be"],
    "UNICODELITTLE": _UCS_2["le"], "UNICODEBIG": _UCS_2["be"],
    "UCS4": _UTF_32["be"], "UCS4BE": _UTF_32["be"], "UCS4LE": _UTF_32["le"], "ISO10646": _UTF_32["be"],
}  # fmt: skip


def find_charset(name: str) -> Charset | None:
    """The encoding of a name as glibc has them; None if there is none here."""
    plain = name.upper().replace("-", "").replace("_", "")
    if plain in _UNICODE:
        return _UNICODE[plain]
    try:
        codec = codecs.lookup(name).name
    except (LookupError, ValueError):
        return None
    return Charset(codec) if codec in _BYTES else None


class Conversion:
    """One open conversion."""

    def __init__(self, source: Charset, target: Charset, *, ignores: bool) -> None:
        self.source, self.target, self.ignores = source, target, ignores
        self.skipped = False  #: something was left out since this was last reset
        self.restart()

    def restart(self) -> None:
        self._reads = self.source.codec  # which the byte order mark may change
        self._read_mark, self._wrote_mark = not self.source.mark, not self.target.mark

    def convert(self, data: bytes, room: int) -> tuple[bytes, int, Errno | None]:
        """(output of at most `room` bytes, the number of bytes it was made of, why it is not all)."""
        used, out = 0, b""
        if not self._read_mark and len(data) >= self.source.unit:
            used = self._read_order(data)
        text, error = self._decoded(data[used:])
        if text and not self._wrote_mark:
            out = "\ufeff".encode(self.target.codec)
            if len(out) > room:
                return b"", used, Errno.E2BIG
            self._wrote_mark = True
        pieces, count, ended = self._encoded(text, room - len(out))
        used += len(text[:count].encode(self._reads))
        return out + pieces, used, ended or error

    def _read_order(self, data: bytes) -> int:
        """Obey and skip a byte order mark; return its size."""
        self._read_mark = True
        unit = self.source.unit
        for order in ("le", "be"):
            codec = f"utf-{8 * unit}-{order}"
            if data.startswith("\ufeff".encode(codec)):
                self._reads = codec
                return unit
        return 0

    def _decoded(self, data: bytes) -> tuple[str, Errno | None]:
        """The characters at the start of `data`, and why they are not all."""
        try:
            text, error = data.decode(self._reads), None
        except UnicodeDecodeError as failure:
            text = data[: failure.start].decode(self._reads)
            cut = any(word in failure.reason for word in ("unexpected end", "truncated"))
            alone = self.source.largest == 0xFFFF and len(data) - failure.start >= 2  # UCS-2 has no surrogates
            error = Errno.EINVAL if cut and not alone else Errno.EILSEQ
        wrong = next((at for at, c in enumerate(text) if ord(c) > self.source.largest), None)
        return (text, error) if wrong is None else (text[:wrong], Errno.EILSEQ)

    def _encoded(self, text: str, room: int) -> tuple[bytes, int, Errno | None]:
        """(output, the number of characters it is made of, why it is not all)."""
        try:
            whole = text.encode(self.target.codec)
            if len(whole) <= room and all(ord(c) <= self.target.largest for c in text):
                return whole, len(text), None
        except UnicodeEncodeError:
            pass
        out = bytearray()
        for at, character in enumerate(text):
            if len(out) + self.target.unit > room:
                return bytes(out), at, Errno.E2BIG
            try:
                piece = character.encode(self.target.codec)
            except UnicodeEncodeError:
                piece = b""
            if not piece or ord(character) > self.target.largest:
                if not self.ignores:
                    return bytes(out), at, Errno.EILSEQ
                piece, self.skipped = b"", True
            if len(out) + len(piece) > room:
                return bytes(out), at, Errno.E2BIG
            out += piece
        return bytes(out), len(text), None


class Conversions:
    """Open conversions, by the handle that the guest has: an address of its own."""

    def __init__(self, libc: Libc) -> None:
        self.open: dict[int, Conversion] = {}


@export("void *iconv_open(const char *to, const char *from_code)")
def iconv_open(libc: Libc, to: int, from_code: int) -> int:
    target, *options = libc.bounded_string(to, 256).decode("latin-1").split("//")
    source, *_ = libc.bounded_string(from_code, 256).decode("latin-1").split("//")
    wanted = {each.upper() for option in options for each in option.split(",") if each}
    ends = find_charset(source), find_charset(target)
    if ends[0] is None or ends[1] is None or wanted - {"IGNORE"}:
        return libc.fail(Errno.EINVAL, libc.arch.address_mask)
    handle = libc.heap.malloc(8)
    if not handle:
        return libc.fail(Errno.ENOMEM, libc.arch.address_mask)
    libc.state(Conversions).open[handle] = Conversion(ends[0], ends[1], ignores="IGNORE" in wanted)
    return handle


@export("size_t iconv(void *conversion, char **in, size_t *in_left, char **out, size_t *out_left)")
def iconv(libc: Libc, conversion: int, source: int, source_left: int, out: int, out_left: int) -> int:
    """0, since no character is replaced by another one, or (size_t)-1 with E2BIG, EILSEQ or EINVAL.

    With `//IGNORE` it is EILSEQ, after everything, if something was left out (glibc).
    """
    found, failed = libc.state(Conversions).open.get(conversion), libc.arch.address_mask
    if found is None:
        return libc.fail(Errno.EBADF, failed)
    if not source or not libc.pointer(source):
        found.restart()
        return 0
    places = source, source_left, out, out_left
    read, left, write, room = map(libc.pointer, places)
    found.skipped = False
    while left:
        data = libc.memory.read(read, min(left, PIECE))
        made, used, error = found.convert(data, room)
        if error is Errno.EILSEQ and found.ignores:
            found.skipped, used, error = True, used + min(found.source.unit, left - used), None
        libc.memory.write(write, made)
        is_last = left == len(data)
        read, left, write, room = read + used, left - used, write + len(made), room - len(made)
        for place, value in zip(places, (read, left, write, room), strict=True):
            libc.set_pointer(place, value)
        if error is not None and (is_last or error is not Errno.EINVAL):
            return libc.fail(error, failed)
        libc.check_budget()
    return libc.fail(Errno.EILSEQ, failed) if found.skipped else 0


@export("int iconv_close(void *conversion)")
def iconv_close(libc: Libc, conversion: int) -> int:
    if libc.state(Conversions).open.pop(conversion, None) is None:
        return libc.fail(Errno.EBADF)
    libc.heap.free(conversion)
    return 0
