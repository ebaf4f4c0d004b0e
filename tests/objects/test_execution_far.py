"""Calls too far for their instruction, within an image: each goes through the nearest stub, and arrives."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from emu import Library, Machine
from relink import HostMemory, Linker
from relink.errors import RelocationError
from relink.linker import LoadOptions
from relink.objects.combined import CombinedObjects
from relink.resolve.sources import DefinedSymbols
from tests.fixtures import arch_of
from tests.objects.build import compiled

MIB = 1 << 20


@dataclass(frozen=True)
class Isa:
    """One ISA's way to write a function that calls `far`, one that jumps there, and what these go to."""

    reach: int  #: bytes a branch of `call` or `jump` reaches
    call: str
    jump: str
    add: str  #: adds %d to the argument
    leave: str
    begin: str = ""
    type: str = ""


_RISCV = Isa(
    MIB,
    "addi sp, sp, -16\n{store} ra, 8(sp)\njal ra, far{addend}\n{load} ra, 8(sp)\naddi sp, sp, 16\nret",
    "jal zero, far",
    "addi a0, a0, {number}",
    "ret",
    ".option norelax\n.option norvc\n",
)
ISAS = {
    "aarch64": Isa(
        128 * MIB,
        "str x30, [sp, #-16]!\nbl far{addend}\nldr x30, [sp], #16\nret",
        "b far",
        "add w0, w0, #{number}",
        "ret",
    ),
    "riscv64": _RISCV,
    "riscv32": _RISCV,
    "loongarch64": Isa(
        128 * MIB,
        "addi.d $sp, $sp, -16\nst.d $ra, $sp, 8\nbl %b26(far{addend})\nld.d $ra, $sp, 8\naddi.d $sp, $sp, 16\nret",
        "b far",
        "addi.w $a0, $a0, {number}",
        "ret",
    ),
    "arm": Isa(
        32 * MIB,
        "push {{r3, lr}}\nbl far\npop {{r3, pc}}",
        "b far",
        "add r0, r0, #{number}",
        "bx lr",
        ".syntax unified\n.arm\n",
        ".type {name}, %function",
    ),
    "thumb": Isa(
        16 * MIB,
        "push {{r3, lr}}\nbl far\npop {{r3, pc}}",
        "b.w far",
        "add.w r0, r0, #{number}",
        "bx lr",
        ".syntax unified\n.thumb\n",
        ".type {name}, %function\n.thumb_func",
    ),
}
ADDENDS = ("aarch64", "riscv64", "riscv32", "loongarch64")


def function(target: str, name: str, *lines: str) -> str:
    isa = ISAS[target]
    words = {"store": "sd", "load": "ld"} if target != "riscv32" else {"store": "sw", "load": "lw"}
    code = "\n".join(lines).format(addend="", number=1, **words) if "{" in "".join(lines) else "\n".join(lines)
    return f".globl {name}\n{isa.type.format(name=name)}\n{name}:\n{code}\n"


def section(target: str, name: str, *functions: str) -> str:
    return f'.section .text.{name},"ax",%progbits\n.balign 4\n{ISAS[target].begin}' + "".join(functions)


def gap(name: str, size: int) -> str:
    return f'.section .text.{name},"ax",%nobits\n.skip {size}\n'


def load(machine: Machine, target: str, *sections: str) -> Library:
    return machine.load(compiled(target, "\n".join(sections), language="assembler"))


def add(target: str, number: int) -> str:
    return ISAS[target].add.format(number=number)


@pytest.mark.parametrize("target", ISAS)
def test_a_call_and_a_jump_across_more_than_their_reach(target: str) -> None:
    isa = ISAS[target]
    with Machine(arch_of(target)) as machine:
        lib = load(
            machine,
            target,
            section(target, "near", function(target, "call", isa.call), function(target, "jump", isa.jump)),
            gap("gap", isa.reach + 4096),
            section(target, "far", function(target, "far", add(target, 5), isa.leave)),
            section(target, "beside", function(target, "call_beside", isa.call)),
        )
        for name in ("call", "jump", "call_beside", "far"):
            assert lib.function(name, "int(int)")(37) == 42
        combined = lib.image.decoded
        assert isinstance(combined, CombinedObjects)
        assert combined.stubs is not None
        assert len(combined.stubs.symbols) == 1, "one stub serves every caller"
        assert len(combined.stubs.islands) > 1


@pytest.mark.parametrize("target", ["riscv64", "riscv32", "thumb"])
def test_many_callers_over_several_islands(target: str) -> None:
    """Callers and callees in both directions, each within reach of some island."""
    isa = ISAS[target]
    count, step = 6, isa.reach * 3 // 8
    parts = []
    for i in range(count):
        calls = [function(target, f"call_{i}_{j}", isa.call.replace("far", f"far_{j}")) for j in range(count)]
        far = function(target, f"far_{i}", add(target, i + 1), isa.leave)
        parts += [section(target, f"s{i}", far, *calls), gap(f"g{i}", step)]
    with Machine(arch_of(target)) as machine:
        lib = load(machine, target, *parts)
        for i in range(count):
            for j in range(count):
                assert lib.function(f"call_{i}_{j}", "int(int)")(10) == 11 + j


@pytest.mark.parametrize("target", ["thumb"])
def test_a_conditional_branch_beyond_a_mebibyte(target: str) -> None:
    """B<c>.W reaches the least; a colder section may lie further."""
    conditional = function(target, "jump_if_zero", "cmp r0, #0", "beq.w far", "movs r0, #7", "bx lr")
    with Machine(arch_of(target)) as machine:
        lib = load(
            machine,
            target,
            section(target, "near", conditional),
            gap("gap", MIB + 4096),
            section(target, "far", function(target, "far", add(target, 5), "bx lr")),
        )
        assert lib.function("jump_if_zero", "int(int)")(0) == 5
        assert lib.function("jump_if_zero", "int(int)")(1) == 7


@pytest.mark.parametrize("target", ["riscv64", "riscv32", "thumb"])
def test_little_code_far_apart_by_alignment(target: str) -> None:
    """Sections of a few bytes, each aligned to half of what a branch reaches: stubs lie in the padding."""
    isa, align = ISAS[target], f".balign {512 << 10}\n"
    parts = [section(target, "near", align, function(target, "call", isa.call))]
    parts += [section(target, f"pad{n}", align, function(target, f"pad{n}", "nop")) for n in range(40)]
    parts.append(section(target, "far", align, function(target, "far", add(target, 5), isa.leave)))
    with Machine(arch_of(target)) as machine:
        assert load(machine, target, *parts).function("call", "int(int)")(37) == 42


@pytest.mark.parametrize("target", ISAS)
def test_a_call_of_a_function_at_a_number_out_of_reach(target: str) -> None:
    """As firmware calls its ROM: `far = 0x7f000000` in another object."""
    isa = ISAS[target]
    with Machine(arch_of(target)) as machine:
        rom = load(machine, target, section(target, "rom", function(target, "far", add(target, 5), isa.leave)))
        place = rom.symbols["far"].address | (target == "thumb")
        number = f".globl far\n.type far, %function\nfar = {place:#x}\n"
        near = section(target, "near", function(target, "call", isa.call), function(target, "jump", isa.jump))
        objects = [compiled(target, text, language="assembler") for text in (near, number)]
        lib = machine.load(objects, base=place - (1 << 29) & -4096)
        assert lib.function("call", "int(int)")(37) == lib.function("jump", "int(int)")(37) == 42
        assert len(lib.link_map().stubs) == 1


@pytest.mark.parametrize("target", ADDENDS)
def test_a_far_branch_to_symbol_plus_addend_arrives_there(target: str) -> None:
    """How assemblers name a local label of another section."""
    isa = ISAS[target]
    words = {"store": "sd", "load": "ld"} if target != "riscv32" else {"store": "sw", "load": "lw"}
    call = ".globl {name}\n{name}:\n" + isa.call + "\n"
    inside = [call.format(name=f"call_{n}", addend=f" + {4 * n}", **words) for n in (0, 1, 2)]
    with Machine(arch_of(target)) as machine:
        lib = load(
            machine,
            target,
            section(target, "near", *inside),
            gap("gap", isa.reach + 4096),
            section(target, "far", function(target, "far", *(add(target, 1) for _ in range(3)), isa.leave)),
        )
        assert [lib.function(f"call_{n}", "int(int)")(10) for n in (0, 1, 2)] == [13, 12, 11]
        owners = {symbol.name: symbol.object for symbol in lib.link_map().symbols}
        assert owners["far"] == owners["call_2"] == lib.link_map().objects[0]


@pytest.mark.parametrize("target", ADDENDS)
def test_a_stub_cannot_stand_for_the_middle_of_another_images_function(target: str) -> None:
    isa = ISAS[target]
    words = {"store": "sd", "load": "ld"} if target != "riscv32" else {"store": "sw", "load": "lw"}
    text = section(target, "near", "call:\n" + isa.call.format(addend=" + 8", **words) + "\n")
    linker = Linker(HostMemory(arch_of(target)))
    with pytest.raises(RelocationError, match="symbol plus addend") as raised:
        linker.load(
            compiled(target, text, language="assembler"),
            options=_answering("far", 0x7FFF_0000),
        )
    assert raised.value.symbol == "far"


def _answering(name: str, address: int) -> LoadOptions:
    return LoadOptions(sources=[DefinedSymbols({name: address})])


@pytest.mark.parametrize("target", ["riscv64", "thumb"])
def test_a_section_too_long_to_have_stubs_near_is_an_overflow(target: str) -> None:
    isa = ISAS[target]
    jump = function(target, "jump", isa.jump)
    text = section(target, "near", f".skip {isa.reach + 4096}\n", jump, f".skip {isa.reach + 4096}\n")
    far = section(target, "far", function(target, "far", add(target, 5), isa.leave))
    with pytest.raises(RelocationError, match="does not fit") as raised:
        Linker(HostMemory(arch_of(target))).load(compiled(target, text + far, language="assembler"))
    assert raised.value.section.endswith((".rela.text.near)", ".rel.text.near)"))


# ---------------------------------------------------------------- padding


@pytest.mark.parametrize("target", ["riscv64", "riscv32", "loongarch64"])
def test_alignment_within_relaxed_code_really_holds(target: str) -> None:
    """R_*_ALIGN: what follows is aligned, code before and after still works, distances over it shrink."""
    nop, ret = ("nop", "ret")
    one = "addi a0, a0, 1" if target != "loongarch64" else "addi.w $a0, $a0, 1"
    compressed = "c.addi a0, 1" if target != "loongarch64" else one
    place = (
        "1: auipc a0, %pcrel_hi({0})\naddi a0, a0, %pcrel_lo(1b)"
        if target != "loongarch64"
        else ("pcalau12i $a0, %pc_hi20({0})\naddi.d $a0, $a0, %pc_lo12({0})")
    )
    aligns = (4, 8, 16, 32, 64, 256, 4096)
    text = ".text\n.globl run\nrun:\n"
    for align in aligns:
        text += f"{compressed}\n.balign {align}\n.globl at_{align}\nat_{align}: {one}\n"
    text += f"{ret}\n.globl end\nend: {nop}\n.globl place\nplace: {place.format('at_64')}\n{ret}\n"
    text += ".data\n.balign 8\n.globl span\nspan: .long end - run\n.uleb128 end - run\n.byte 0x55\n"
    with Machine(arch_of(target)) as machine:
        load(machine, target, ".text\nnop\n")  # whatever lies before
        lib = load(machine, target, text)
        for align in aligns:
            assert lib.symbols[f"at_{align}"].address % align == 0
        assert lib.function("run", "int(int)")(0) == 2 * len(aligns)
        assert lib.function("place", "uintptr_t()")() == lib.symbols["at_64"].address
        span = lib.symbols["end"].address - lib.symbols["run"].address
        data = lib.symbols["span"].read_bytes(8)
        assert int.from_bytes(data[:4], "little") == span
        length = next(i for i in range(4, 8) if not data[i] & 0x80) - 3
        assert sum((data[4 + i] & 0x7F) << 7 * i for i in range(length)) == span
        assert data[4 + length] == 0x55
