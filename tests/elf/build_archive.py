"""Archives, byte by byte: GNU's, BSD's, thin ones, and what no archiver writes."""

from __future__ import annotations

import struct
from collections.abc import Mapping


def member_header(name: str, size: int | str, end: bytes = b"`\n") -> bytes:
    """The 60 bytes before a member."""
    return f"{name:<16}{0:<12}{0:<6}{0:<6}{644:<8}{size:<10}".encode() + end


def padded(data: bytes) -> bytes:
    """Members begin at even offsets."""
    return data + b"\n" * (len(data) & 1)


def gnu_archive(
    members: Mapping[str, bytes],
    index: Mapping[str, int] | None = None,
    *,
    width: int = 4,
    thin: bool = False,
) -> bytes:
    """A GNU archive; `index` maps symbols to the number of a member, `width` 8 writes it as `/SYM64/`."""
    long_names, fields = b"", []
    for name in members:
        if len(name) > 15 or thin:
            fields.append(f"/{len(long_names)}")
            long_names += name.encode() + b"/\n"
        else:
            fields.append(f"{name}/")
    table = member_header("//", len(long_names)) + padded(long_names) if long_names else b""
    names = b"".join(name.encode() + b"\0" for name in index or ())
    index_size = width * (1 + len(index or ())) + len(names)
    at = 8 + (60 + index_size + (index_size & 1) if index is not None else 0) + len(table)
    offsets, body = [], b""
    for field, data in zip(fields, members.values(), strict=True):
        offsets.append(at + len(body))
        body += member_header(field, len(data)) + (b"" if thin else padded(data))
    head = b"!<thin>\n" if thin else b"!<arch>\n"
    if index is not None:
        words = [len(index), *(offsets[number] for number in index.values())]
        content = b"".join(word.to_bytes(width, "big") for word in words) + names
        head += member_header("/" if width == 4 else "/SYM64/", len(content)) + padded(content)
    return head + table + body


def bsd_archive(members: Mapping[str, bytes], index: Mapping[str, int]) -> bytes:
    """A BSD archive: every name in front of its member, the index first."""
    names, places = b"", []
    for name in index:
        places.append(len(names))
        names += name.encode() + b"\0"
    index_size = 20 + 8 + 8 * len(index) + len(names)
    at = 8 + 60 + index_size + (index_size & 1)
    offsets, body = [], b""
    for name, data in members.items():
        offsets.append(at + len(body))
        body += member_header(f"#1/{len(name)}", len(name) + len(data)) + padded(name.encode() + data)
    pairs = b"".join(
        struct.pack("<II", place, offsets[n]) for place, n in zip(places, index.values(), strict=True)
    )
    content = b"__.SYMDEF".ljust(20, b"\0") + struct.pack("<I", len(pairs)) + pairs
    content += struct.pack("<I", len(names)) + names
    return b"!<arch>\n" + member_header("#1/20", len(content)) + padded(content) + body
