"""Instructions that capstone does not know have their names in faults, as assemblers have them."""

from __future__ import annotations

import pytest

from emu import Machine
from emu.cpu.loongarch64 import names as loongarch
from emu.debug import riscv_names
from emu.errors import GuestFault
from tests.loongarch64.lsx_opcodes import OPCODES
from tests.loongarch64.opcodes import BY_NAME
from tests.objects.build import compiled

#: Codes in memory's order, and their names, of LLVM's assembler.
RISCV = """
33a5c520 sh1add | 3b85c508 add.uw | 1b953508 slli.uw | 33f5c540 andn | 13950560 clz | 1b952560 cpopw
13954560 sext.b | 3bc50508 zext.h | 13d55560 rori | 1bd55560 roriw | 13d57528 orc.b | 13d5856b rev8
33b5c50a clmulh | 13959528 bseti | 33d5c548 bext | 33c5c508 pack | 13d57568 brev8 | 33c5c528 xperm8
3385c53a aes64ds | 13952510 sha256sig0 | 13955510 sha512sum1 | 13958510 sm3p0 | 33d5c50e czero.eqz
33f5c50e czero.nez | 53f5c504 fadd.h | 57f5050d vsetvli | 577502cd vsetivli | 87600502 vle32.v
a7000502 vse8.v | 8770b50a vlse64.v | 87602506 vluxei32.v | 07610522 vlseg2e32.v | d7802102 vadd.vv
d7402502 vadd.vx | d7b02102 vadd.vi | d7a02196 vmul.vv | d76025b6 vmacc.vx | d7a02102 vredsum.vs
d7902102 vfadd.vv | d75025b2 vfmacc.vf | 572143d6 vwadd.wv | d7b021b2 vnsrl.wi | d7802162 vmseq.vv
d7a02166 vmand.mm | d7802132 vrgather.vv | d7b0213e vslidedown.vi | 7300d000 wrs.nto | 2f25b628 amocas.w
2f05b600 amoadd.b | 619d c.zext.b | 759d c.not | 4d9d c.mul | 8881 c.lbu
"""


def test_extensions_of_riscv_are_named() -> None:
    for item in RISCV.replace("\n", " | ").strip(" |").split(" | "):
        code, name = item.split()
        word = int.from_bytes(bytes.fromhex(code), "little")
        text = riscv_names.short(word) if len(code) == 4 else riscv_names.instruction(word, 0)
        assert text is not None
        assert text.split()[0] == name


def test_every_instruction_of_loongarch_is_named() -> None:
    for name, word in [
        *((n, each.word) for n, each in BY_NAME.items()),
        *((each.name, each.word) for each in OPCODES),
    ]:
        assert (loongarch.instruction(word, 0) or "").split()[0] == name


@pytest.mark.parametrize(("arch", "code", "name"), [
    ("riscv64", ".word 0x20c5a533", "sh1add a0, a1, a2"), ("riscv32", ".word 0x022180d7", "vadd.vv v1, v2, v3"),
    ("riscv64", ".short 0x9d61", "c.zext.b a0"), ("loongarch64", ".word 0x740a1043", "xvadd.b $xr3, $xr2, $xr4"),
    ("loongarch64", ".word 0x002a0007", "break 7"),
])  # fmt: skip
def test_a_fault_names_what_was_refused(arch: str, code: str, name: str) -> None:
    with Machine(arch) as machine:
        source = f".globl refused\nrefused: {code}\n nop\n nop\n"
        library = machine.load(compiled(arch, source, language="assembler"))
        with pytest.raises(GuestFault) as caught:
            library.function("refused", "int refused(void)")()
        assert name in next(line for line in caught.value.disassembly if line.startswith("=>"))
