"""Frames of signal handlers on x86 (Linux, arch/x86/kernel/signal_{64,32}.c, include/uapi/asm/sigcontext.h).

The x87 and SSE registers are in an FXSAVE image above the frame, on i386 after the image of FSAVE's environment.
"""

from __future__ import annotations

from emu.isa.convention import numbered
from emu.isa.signal_abi import (
    INFO_SIZE,
    FaultWords,
    FloatArea,
    PageFault,
    Saved,
    SignalAbi,
    SignalFrame,
    saved,
    words,
)

_FLAGS = 0x40CD5 | 0x10000  #: FIX_EFLAGS without TF
_FAULTS = PageFault(unmapped=4, protected=5, write=2, fetch=16)
_FXSAVE = 512
_ENTRY = {"fpcw": 0x37F, "fpsw": 0, "fptag": 0xFFFF, "mxcsr": 0x1F80}


def _fxsave(at: int, vectors: int, pointer: int) -> FloatArea:
    """The image at `at`, 16 bytes from one register to the next; `fptag` in one byte has a bit for each in use."""
    registers = (
        Saved("fpcw", at, 2),
        Saved("fpsw", at + 2, 2),
        Saved("mxcsr", at + 24, 4, 0xFFFF),
        *saved(numbered("st", 8), at + 32, 10, 16),
        Saved("fptag", at + 4, 1),
        *saved(numbered("xmm", vectors), at + 160, 16),
    )
    return FloatArea(at + _FXSAVE, 64, at, pointer, registers, {at + 28: words((0xFFFF,), 4)})


_CONTEXT_64 = 8 + 40  #: of struct sigcontext: behind the return address, and flags, link and stack_t of ucontext_t
_INFO_64 = 8 + 304
FRAME_64 = SignalFrame(
    size=8 + 304 + INFO_SIZE,
    skew=8,
    info=_INFO_64,
    context=8,
    stack=8 + 16,
    mask=((_CONTEXT_64 + 256, 8),),
    registers=(
        *saved(numbered("r", 8, 8), _CONTEXT_64, 8),
        *saved(("rdi", "rsi", "rbp", "rbx", "rdx", "rax", "rcx", "sp", "pc"), _CONTEXT_64 + 64, 8),
        Saved("rflags", _CONTEXT_64 + 136, 8, _FLAGS),
    ),
    # UC_FP_XSTATE is not set: there is an FXSAVE image only. CS, GS, FS, SS.
    constants={8: words((6,), 8), _CONTEXT_64 + 144: words((0x33, 0, 0, 0x2B), 2)},
    return_at=0,
    popped=8,
    floats=_fxsave(0, 16, _CONTEXT_64 + 184),
    fault=FaultWords((_CONTEXT_64 + 176, 8), (_CONTEXT_64 + 160, 8), (_CONTEXT_64 + 152, 8), _FAULTS, {}),
    return_code=bytes.fromhex("48c7c00f000000 0f05"),  # mov rax, 15; syscall
)
SIGNALS_64 = SignalAbi(
    frame=FRAME_64,
    arguments=("rdi", "rsi", "rdx"),
    entry={"rax": 0, **_ENTRY},
    cleared=("rflags", 0x10500),  # DF, RF, TF
    illegal=2,
    trap=0x80,
    trap_length=1,
)


def _context_32(at: int) -> tuple[tuple[Saved, ...], dict[int, bytes], FaultWords]:
    """struct sigcontext at `at`: registers, segments, and words about a fault."""
    registers = (
        *saved(("edi", "esi", "ebp", "sp", "ebx", "edx", "ecx", "eax"), at + 16, 4),
        Saved("pc", at + 56, 4),
        Saved("eflags", at + 64, 4, _FLAGS),
    )
    segments = {at: words((0x33, 0, 0x2B, 0x2B), 4), at + 60: words((0x23,), 4), at + 72: words((0x2B,), 4)}
    return registers, segments, FaultWords((at + 84, 4), (at + 48, 4), (at + 52, 4), _FAULTS, {})


def _floats_32(pointer: int) -> FloatArea:
    """FSAVE's environment with the status word and the number of the format (0: an FXSAVE image follows)."""
    area = _fxsave(112, 8, pointer)
    legacy = (Saved("fpcw", 0, 2), Saved("fpsw", 4, 2), Saved("fptag", 8, 2))
    return area._replace(registers=(*area.registers, *legacy))


_SC, _RT_SC = 8, 16 + INFO_SIZE + 20  # behind the return address, the number (and two pointers, siginfo_t)
_REGISTERS, _SEGMENTS, _WORDS = _context_32(_SC)
_RT_REGISTERS, _RT_SEGMENTS, _RT_WORDS = _context_32(_RT_SC)
PLAIN_32 = SignalFrame(
    size=8 + 88 + 112 + 4 + 8,
    skew=4,
    number=4,
    info=None,
    context=None,
    stack=None,
    mask=((_SC + 80, 4), (_SC + 88 + 112, 4)),
    registers=_REGISTERS,
    constants=_SEGMENTS,
    return_at=0,
    popped=8,
    floats=_floats_32(_SC + 76),
    fault=_WORDS,
    call="sigreturn",
    return_code=bytes.fromhex("58 b877000000 cd80"),  # pop eax; mov eax, 119; int 0x80
)
FRAME_32 = SignalFrame(
    size=16 + INFO_SIZE + 20 + 88 + 8 + 8,
    skew=4,
    number=4,
    info=16,
    context=16 + INFO_SIZE,
    stack=16 + INFO_SIZE + 8,
    mask=((_RT_SC + 88, 8),),
    registers=_RT_REGISTERS,
    pointers=((8, 16), (12, 16 + INFO_SIZE)),
    constants=_RT_SEGMENTS,
    return_at=0,
    popped=4,
    floats=_floats_32(_RT_SC + 76),
    fault=_RT_WORDS,
    return_code=bytes.fromhex("b8ad000000 cd80"),  # mov eax, 173; int 0x80
)
SIGNALS_32 = SignalAbi(
    frame=FRAME_32,
    plain=PLAIN_32,
    arguments=("eax", "edx", "ecx"),  # besides the stack: for handlers built with regparm
    entry=_ENTRY,
    cleared=("eflags", 0x10500),
    illegal=2,
    trap=0x80,
    trap_length=1,
)
