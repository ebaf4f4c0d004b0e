"""Entries of objects that cannot be applied: the error names the place, the type and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from relink.errors import LinkErrors, RelinkError, RelocationOutOfImage
from relink.linker import Linker
from relink.memory.address_space import HostMemory
from tests.objects.build import compiled

FAR = "far = 0x123456789000"
EXTREME = {
    "PCALA_HI20": "pcalau12i $t1, 0",
    "PCALA_LO12": "addi.d $t0, $zero, 0",
    "PCALA64_LO20": "lu32i.d $t0, 0",
    "PCALA64_HI12": "lu52i.d $t0, $t0, 0",
}
#: ISA, what is wrong → the code at which an entry is wrong, what the error says.
CASES = {
    ("loongarch64", "a pop of nothing"): (
        ".reloc ., R_LARCH_SOP_POP_32_U, v; nop", "R_LARCH_SOP_POP_32_U", "pops 1 values"),
    ("loongarch64", "a push nobody pops"): (
        ".reloc ., R_LARCH_SOP_PUSH_ABSOLUTE, 5; nop", "R_LARCH_SOP_PUSH_ABSOLUTE", "no entry pops them"),
    ("loongarch64", "an assertion that fails"): (
        ".reloc ., R_LARCH_SOP_PUSH_ABSOLUTE, 0; .reloc ., R_LARCH_SOP_ASSERT, 0; nop", "R_LARCH_SOP_ASSERT",
        "R_LARCH_SOP_ASSERT fails"),
    ("loongarch64", "a popped value too wide"): (
        ".reloc ., R_LARCH_SOP_PUSH_ABSOLUTE, 2048; .reloc ., R_LARCH_SOP_POP_32_S_10_12, 0; addi.d $a0, $a0, 0",
        "R_LARCH_SOP_POP_32_S_10_12", "0x800 does not fit 12 bits"),
    ("loongarch64", "a thread pointer's distance to what is not thread-local"): (
        ".reloc ., R_LARCH_SOP_PUSH_TLS_TPREL, v; .reloc ., R_LARCH_SOP_POP_32_S_10_12, 0; addi.d $a0, $a0, 0",
        "R_LARCH_SOP_PUSH_TLS_TPREL", "no thread-local definition"),
    ("loongarch64", "a low part without its high part"): (
        ".reloc ., R_LARCH_PCADD_LO12, v; addi.d $a0, $a0, 0", "R_LARCH_PCADD_LO12", "no high part"),
    ("loongarch64", "a branch between instructions"): (
        ".reloc ., R_LARCH_B16, _start+2; beq $a0, $a1, 0", "R_LARCH_B16", "multiples of 4"),
    ("loongarch64", "a page out of the normal code model's reach"): (
        f"{FAR}; .reloc ., R_LARCH_PCALA_HI20, far; pcalau12i $a0, 0; addi.d $a0, $a0, 0", "R_LARCH_PCALA_HI20",
        "does not fit 32 bits"),
    ("riscv64", "a vendor's entry"): (
        ".reloc ., R_RISCV_CUSTOM200, v; nop", "R_RISCV_CUSTOM200", "defined by the vendor"),
    ("riscv64", "a vendor's name"): (
        ".reloc ., R_RISCV_VENDOR, v; nop", "R_RISCV_VENDOR", "names the vendor"),
    ("riscv64", "a type of dynamic linkers"): (
        ".reloc ., R_RISCV_RELATIVE, v; nop", "R_RISCV_RELATIVE", "only shared objects and executables"),
    ("riscv64", "a low part without its high part"): (
        ".reloc ., R_RISCV_PCREL_LO12_I, v; addi a0, a0, 0", "R_RISCV_PCREL_LO12_I", "no high part"),
    ("riscv64", "an absolute address out of reach"): (
        f"{FAR}; .reloc ., R_RISCV_HI20, far; lui a0, 0", "R_RISCV_HI20", "does not fit 32 bits"),
    ("riscv64", "a jump to an odd address"): (
        ".reloc ., R_RISCV_JAL, _start+1; jal zero, 0", "R_RISCV_JAL", "multiples of 2"),
    ("riscv64", "a ULEB128 too short"): (
        ".reloc ., R_RISCV_SET_ULEB128, _start+128; .reloc ., R_RISCV_SUB_ULEB128, _start; .byte 0, 0, 0, 0",
        "R_RISCV_SUB_ULEB128", "does not fit a ULEB128 of 1 bytes"),
}  # fmt: skip


def assembled(isa: str, code: str) -> Path:
    """An object with `code` at .text+4."""
    options = [".option norvc", ".option norelax"] if isa == "riscv64" else []
    data = [".data", ".dword 0", "v: .dword 1", ""]
    lines = [*options, ".text", ".globl _start, v", "_start: nop", *code.split("; "), *data]
    return compiled(isa, "\n".join(lines), language="assembler")


#: ISA → types of offsets from the thread pointer and in the block, types of slots.
THREAD_LOCAL = {
    "x86_64": (["R_X86_64_TPOFF32", "R_X86_64_DTPOFF32"], ["R_X86_64_TLSGD", "R_X86_64_GOTTPOFF"]),
    "i386": (["R_386_TLS_LE", "R_386_TLS_LDO_32"], ["R_386_TLS_GD", "R_386_TLS_IE", "R_386_TLS_GOTDESC"]),
    "aarch64": (["R_AARCH64_TLSLE_ADD_TPREL_LO12_NC", "R_AARCH64_TLSLD_ADD_DTPREL_LO12_NC"],
                ["R_AARCH64_TLSDESC_ADR_PAGE21", "R_AARCH64_TLSIE_ADR_GOTTPREL_PAGE21"]),
    "arm": (["R_ARM_TLS_LE32", "R_ARM_TLS_LDO32"], ["R_ARM_TLS_GD32", "R_ARM_TLS_IE32"]),
    "riscv64": (["R_RISCV_TPREL_HI20", "R_RISCV_TLS_DTPREL64"], ["R_RISCV_TLS_GD_HI20", "R_RISCV_TLS_GOT_HI20"]),
    "loongarch64": (["R_LARCH_TLS_LE_HI20", "R_LARCH_TLS_DTPREL64"], ["R_LARCH_TLS_GD_PC_HI20"]),
}  # fmt: skip
#: Variables of the data section: with a type, without one, of this object alone.
VARIABLES = (".globl typed", ".type typed, %object", "typed:", ".globl untyped", "untyped:", "local:", ".long 1")


@pytest.mark.parametrize("isa", THREAD_LOCAL)
def test_what_is_not_thread_local_has_no_place_in_thread_local_storage(isa: str) -> None:
    offsets, slots = THREAD_LOCAL[isa]
    entries = [(type_, name) for type_ in (*offsets, *slots) for name in ("typed", "untyped", "local")]
    code = [f".reloc ., {type_}, {name}\n.quad 0" for type_, name in entries]
    storage = ['.section .tdata,"awT",%progbits', ".globl t", "t: .long 1", ""]
    text = "\n".join([".text", *code, ".data", *VARIABLES, *storage])
    with pytest.raises(LinkErrors) as caught:
        Linker(HostMemory(isa)).load(compiled(isa, text, language="assembler"))
    messages = [str(error) for error in caught.value.exceptions]
    assert len(messages) == len(entries)
    assert all("no thread-local definition" in message for message in messages)
    for type_, name in entries:
        what = f"{type_} against {name}" if type_ in offsets else f"slot against {name}"
        assert any(what in message for message in messages), what


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_the_error_says_where_what_and_why(case: tuple[str, str]) -> None:
    code, name, problem = CASES[case]
    plugin = assembled(case[0], code)
    with pytest.raises(RelinkError) as caught:
        Linker(HostMemory(case[0])).load(plugin)
    message = str(caught.value)
    assert name in message
    assert problem in message
    assert plugin.name in message
    assert ".text" in message


def test_the_extreme_code_model_reaches_what_the_normal_one_does_not() -> None:
    code = "; ".join(f".reloc ., R_LARCH_{name}, far; {instruction}" for name, instruction in EXTREME.items())
    Linker(HostMemory("loongarch64")).load(assembled("loongarch64", f"{FAR}; {code}"))


def test_a_uleb128_number_does_not_reach_into_the_next_section() -> None:
    pair = ".reloc ., R_LARCH_ADD_ULEB128, b\n.reloc ., R_LARCH_SUB_ULEB128, a\n"
    text = f".text\na: nop\nb:\n.data\n{pair}.byte 0x80, 0x80\n"
    linker = Linker(HostMemory("loongarch64"))
    with pytest.raises(RelocationOutOfImage, match="does not end in its section"):
        linker.load(compiled("loongarch64", text, language="assembler"))


def test_uleb128_numbers_of_debug_sections_are_relocated() -> None:
    pair = ".reloc ., R_LARCH_ADD_ULEB128, b\n.reloc ., R_LARCH_SUB_ULEB128, a\n"
    text = f'.text\na: nop\nb:\n.section .debug_loc,"",%progbits\n{pair}.byte 0x80, 0\n'
    image = Linker(HostMemory("loongarch64")).load(compiled("loongarch64", text, language="assembler"))
    assert image.decoded.debug_sections is not None
    assert image.decoded.debug_sections[".debug_loc"] == b"\x84\x00"
