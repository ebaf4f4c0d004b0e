"""Types printed back as C declarations, with the offsets and holes of structures."""

from __future__ import annotations

from collections.abc import Iterator

from emu.calls.types import CType, Enumeration, Member, Struct, declare, sized


def definition(struct: Struct, *, offsets: bool = False) -> str:
    """The declaration of a structure or union with its members, `offsets` as comments (bytes, or bytes:bit)."""
    if struct.members is None:
        return f"{struct.name};"
    total = f"  // {struct.size} bytes, aligned to {struct.alignment}" if offsets else ""
    return "\n".join(
        [f"{struct.name} {{", *_members(struct, offsets, "    ", 0), f"}}{_attributes(struct)};{total}"]
    )


def _members(struct: Struct, offsets: bool, indent: str, base: int) -> Iterator[str]:
    """A line for each member. Members of untagged structures are nested, with offsets from the outermost
    structure.
    """
    for member in struct.members or ():
        at = base + member.offset
        inner = member.type
        if isinstance(inner, Struct) and inner.name in ("struct", "union"):
            yield f"{indent}{inner.name} {{"
            yield from _members(inner, offsets, f"{indent}    ", at)
            text = f"{indent}}}{_attributes(inner)} {member.name}".rstrip() + ";"
        else:
            text = indent + _member(member)
        bit = f":{member.bits[0] % 8}" if member.bits else ""
        yield f"{text:<48} // {at}{bit}" if offsets else text


def _attributes(struct: Struct) -> str:
    """The attributes required to reproduce the layout."""
    aligned = struct.alignment > struct.natural
    words = ["packed"] * struct.packed + [f"aligned({struct.alignment})"] * aligned
    return f" __attribute__(({', '.join(words)}))" if words else ""


def _member(member: Member) -> str:
    width = f" : {member.bits[1]}" if member.bits else ""
    aligned = f" __attribute__((aligned({member.align})))" if member.align else ""
    return f"{declare(member.type, member.name)}{width}{aligned};"


def described(name: str, ctype: CType) -> str:
    """C for a type with that name; a structure has offsets and holes, as from pahole."""
    if isinstance(ctype, Struct):
        text = definition(ctype, offsets=True)
        holes = sum(size for _, size in holes_of(ctype))
        return text + (f", {holes} bytes of holes" if holes else "")
    if isinstance(ctype, Enumeration):
        values = ", ".join(f"{each} = {value}" for each, value in ctype.values)
        return f"{ctype.name} {{ {values} }};  // {ctype.size} bytes"
    return f"typedef {ctype} {name};  // {sized(ctype).size} bytes"


def holes_of(struct: Struct) -> list[tuple[int, int]]:
    """(offset, size) of the holes between the members of a structure and after the last."""
    if struct.is_union or struct.members is None:
        return []
    found, at = [], 0
    for member in struct.members:
        end = member.offset + sized(member.type).size
        if member.bits is not None:
            end = -(-sum(member.bits) // 8)
        if member.offset > at:
            found.append((at, member.offset - at))
        at = max(at, end)
    if (struct.size or 0) > at:
        found.append((at, (struct.size or 0) - at))
    return found
