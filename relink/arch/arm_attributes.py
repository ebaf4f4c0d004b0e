"""Arm build attributes: the core that an object is for, and its floating-point calling convention.

Addenda to, and Errata in, the ABI for the Arm Architecture (2024Q3), section "Build attributes": a section of type
SHT_ARM_ATTRIBUTES holds, for the vendor "aeabi", tags with numbers and texts.
"""

from __future__ import annotations

from functools import lru_cache

from relink.arch.spec import FloatAbi

SHT_ARM_ATTRIBUTES = 0x7000_0003

_TAG_FILE, _TAG_CPU_ARCH, _TAG_COMPATIBILITY = 1, 6, 32
_TAG_FP_NUMBER_MODEL, _TAG_VFP_ARGS = 23, 28
_SHORT = 256  #: bytes of a section whose values are kept
_TEXTS = (4, 5)  # CPU_raw_name, CPU_name; above 32 the lowest bit of a tag tells whether its value is text
#: Values of Tag_CPU_arch with Thumb but no 32-bit load of the PC: v4T to v6KZ, v6K, v6-M, v6S-M, v8-M.baseline.
_THUMB_1 = frozenset({2, 3, 4, 5, 6, 7, 9, 11, 12, 16})


def lacks_thumb2(section: bytes) -> bool:
    """Whether the code is for a core that has only 16-bit Thumb (and BL). False when the section cannot be
    read.
    """
    try:
        return _of_file(section, _TAG_CPU_ARCH) in _THUMB_1
    except (IndexError, ValueError):
        return False


def float_calls(section: bytes) -> FloatAbi | None:
    """How floating-point values are passed; None when none are, when either way works, or when the section cannot
    be read.
    """
    try:
        if not _of_file(section, _TAG_FP_NUMBER_MODEL):  # uses no floating point: assembly, mostly
            return None
        return {0: FloatAbi.SOFT, 1: FloatAbi.HARD}.get(_of_file(section, _TAG_VFP_ARGS) or 0)
    except (IndexError, ValueError):
        return None


def _of_file(section: bytes, tag: int) -> int | None:
    """A tag's value for the whole file. Raises IndexError or ValueError when the section is truncated."""
    return (_read_once if len(section) <= _SHORT else _read)(section, tag)


def _read(section: bytes, tag: int) -> int | None:
    at = 1
    while section[:1] == b"A" and at + 4 < len(section):
        end = at + max(int.from_bytes(section[at : at + 4], "little"), 5)
        vendor_end = section.index(0, at + 4)
        if section[at + 4 : vendor_end] == b"aeabi":
            start = vendor_end + 1
            if section[start] == _TAG_FILE:  # which comes first
                size = int.from_bytes(section[start + 1 : start + 5], "little")
                return _attribute(section[start + 5 : start + size], tag)
        at = end
    return None


#: Compilers write the same attributes into all of their objects.
_read_once = lru_cache(maxsize=64)(_read)


def _attribute(data: bytes, wanted: int) -> int | None:
    at = 0
    while at < len(data):
        tag, at = _uleb128(data, at)
        is_text = tag in _TEXTS or (tag > _TAG_COMPATIBILITY and tag & 1)
        if not is_text:
            value, at = _uleb128(data, at)
            if tag == wanted:
                return value
        if is_text or tag == _TAG_COMPATIBILITY:
            at = data.index(0, at) + 1
    return None


def _uleb128(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not data[at - 1] & 0x80:
            return value, at
