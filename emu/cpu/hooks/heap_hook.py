"""Machine code for the host by which the guest's malloc and free work without leaving the engine.

It is the hook before one instruction, a nop in the compiled malloc or free (`emu/libc/compiled/src/allocation.c`),
and works on the arrays of `emu.memory.small_blocks`: they are the host's, so that a guest cannot damage them, and
the whole operation happens between two instructions. The register of the result is 0 before the hook. It stays 0
where Python must act (large blocks, no free memory, bad pointers); otherwise it is the block's address, or 1 after
free. A hook that finds another value does nothing: the engine may stop at the nop after the hook, and come to it
again. All numbers in the arrays are checked before they are used as indices. Compiled by GCC (-O2 -fPIC
-ffreestanding -fno-jump-tables) from:

    typedef unsigned long u64; typedef unsigned int u32;
    enum { NEXT = 65, END, CHANGES };
    #define LIVE 0x80000000u
    #define FREE 0x40000000u
    struct Entry { u64 key, number; };
    struct Blocks {
        u64 *state; u32 *words; u64 *runs; struct Entry *table;
        u64 mask, count, paused;
    };
    struct Call {
        struct Blocks *blocks;
        int (*read)(void *, int, void *), (*write)(void *, int, const void *);
        int argument, result;
    };
    void allocate(void *engine, u64 address, u32 size, struct Call *call)
    {
        struct Blocks *b = call->blocks;
        u64 *state = b->state, wanted = 0, result = 0, place;
        (void)address, (void)size;
        call->read(engine, call->result, &result);
        if (b->paused || result)
            return;
        call->read(engine, call->argument, &wanted);
        if (wanted > 1024)
            return;
        wanted = wanted ? (wanted + 15) >> 4 : 1;
        if (state[wanted]) {
            place = state[wanted] - 1;
            if (place >= b->count << 10)
                return;
            state[wanted] = b->words[place] & (FREE - 1);
        } else {
            place = state[NEXT];
            if (place + wanted > state[END] || place >= b->count << 10)
                return;
            state[NEXT] = place + wanted;
        }
        b->words[place] = LIVE | wanted;
        state[CHANGES]++;
        result = b->runs[place >> 10] + ((place & 1023) << 4);
        call->write(engine, call->result, &result);
    }
    void release(void *engine, u64 address, u32 size, struct Call *call)
    {
        struct Blocks *b = call->blocks;
        u64 *state = b->state, block = 0, result = 0, at, left, place;
        u32 word;
        (void)address, (void)size;
        call->read(engine, call->result, &result);
        if (b->paused || result)
            return;
        call->read(engine, call->argument, &block);
        if (block & 15)
            return;
        if (block) {
            at = ((block >> 14) * 0x9E3779B97F4A7C15ul >> 32) & b->mask;
            for (left = b->mask; b->table[at].key != block >> 14; at = (at + 1) & b->mask)
                if (!b->table[at].number || !left--)
                    return;
            place = ((b->table[at].number - 1) << 10) | (block >> 4 & 1023);
            if (place >= b->count << 10)
                return;
            word = b->words[place];
            if (word - LIVE - 1 >= 64)
                return;
            word &= 127;
            b->words[place] = FREE | (u32)state[word];
            state[word] = place + 1;
            state[CHANGES]++;
        }
        result = 1;
        call->write(engine, call->result, &result);
    }
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from enum import IntEnum
from typing import Final, Protocol

from emu.cpu.hooks.stop_hook import HOST, HostCode, mapped_code

HEAP_CODE: Final[Mapping[str, HostCode]] = {
    "x86_64": HostCode(
        (0, 0x160),
        bytes.fromhex(
            "415641554154554889fd534889cb4883ec104c8b218b711c4c8d6c24084d8b34244c89ea48c704240000000048c74424"
            "0800000000ff5108498b442430480b4424080f85a50000008b73184889e24889efff5308488b0424483d000400000f87"
            "890000004885c00f8593000000b908000000b8010000004c01f148890424488b114885d20f8499000000498b44242848"
            "83ea0148c1e00a4839c27351498b442408488d34908b0625ffffff3f488901488b04240d000000804889d148c1e20448"
            "89ef890648c1e90a81e2f03f00008b731c498b4424104983861802000001480314c848895424084c89eaff53104883c4"
            "105b5d415c415d415ec3660f1f4400004883c00f48c1e804488d0cc500000000488904244c01f1488b114885d20f8567"
            "ffffff498b9608020000488d34104939b61002000072b6498b4c242848c1e10a4839ca73a8498b4c24084989b6080200"
            "00488d3491e959ffffff660f1f440000415641554989cd415455534889fb4883ec104c8b318b711c488d6c24084d8b26"
            "4889ea48c704240000000048c744240800000000ff5108498b4630480b4424080f85800000004889df418b75184889e2"
            "41ff5508488b3c244889f983e10f75664885ff0f84cb0000004989f8498b76204d8b4e1848b8157c4a7fb979379e49c1"
            "e80e490fafc048c1e8204821f04889c248c1e2044c01ca4c3b027523eb3a66904839ce74214883c0014883c1014821f0"
            "4889c248c1e2044c01ca4c3b02741948837a080075da4883c4105b5d415c415d415ec30f1f440000488b420848c1ef04"
            "498b562881e7ff0300004883e80148c1e20a48c1e00a4809f84839d073c8498b5608488d0c828b118db2ffffff7f83fe"
            "3f77b383e27f4883c001498d34d48b1681ca00000040891148890649838424180200000148c744240801000000418b75"
            "1c4889ea4889df41ff55104883c4105b5d415c415d415ec3"
        ),
    ),
    "aarch64": HostCode(
        (0, 0x150),
        bytes.fromhex(
            "fd7bbba9fd030091611c40b9f35301a9f30303aaf40300aaf55b02a9750c40a9b60240f9f71b00f9ff7f04a9f7230191"
            "e20317aa60003fd6a11a40f9e02740f9210000aa410500b5630640f9e2030191611a40b9e00314aa60003fd6e02340f9"
            "1f0010f148040054c00400b5010180d2200080d2e02300f9c302018bc16a61f8e10400b4a01640f9210400d13f2800eb"
            "e2020054a20640f9407861b84208018b00744092600000f9e02340f900000132c30e41f926fc4ad3a40a40f9650a40f9"
            "400000b96004009123247cd3611e40b9e20317aac00e01f9e00314aa847866f88300038be32700f9a0003fd6f35341a9"
            "f55b42a9f71b40f9fd7bc5a8c0035fd6003c009100fc44d3e02300f901f07dd3c302018bc16a61f861fbffb5c10641f9"
            "c20a41f90300018b7f0002eb08feff54a21640f93f2802eba2fdff54a20640f9c30601f94208018bd9ffff171f2003d5"
            "fd7bbba9fd030091611c40b9f35301a9f30303aaf40300aaf71b00f9770c40a9f55b02a9f5230191e20315aaf60240f9"
            "ff7f04a960003fd6e11a40f9e02740f9210000aa810400b5630640f9e2030191611a40b9e00314aa60003fd6e72340f9"
            "e20c40f281030054c70600b4a1828fd2e8fc4ed341e9aff2e39241a92137cff2e1c6f3f2017d019b8180418a20ec7cd3"
            "6500008b606860f81f0100eb01010054120000149f0002eb60010054606860f8420400911f0100eb80010054a60440f9"
            "210400918100018a20ec7cd36500008ba6feffb5f35341a9f55b42a9f71b40f9fd7bc5a8c0035fd6a00440f9e73444d3"
            "e11640f9000400d1e02800aa1f2801eba2feff54e30640f90200b012617860b82200020b5ffc0071e8fdff5421184092"
            "04040091c27a61f842000232627820b8c47a21f8c00e41f900040091c00e01f9630a40f9200080d2611e40b9e20315aa"
            "e02700f9e00314aa60003fd6f35341a9f55b42a9f71b40f9fd7bc5a8c0035fd6"
        ),
    ),
}


class HeapFunction(IntEnum):
    """What a hook does; the number of its entry in the code."""

    MALLOC = 0
    FREE = 1


class HeapCalls(Protocol):
    """The hooks of one CPU."""

    def has(self, address: int) -> bool:
        """Whether there is a hook at an address."""

    def add(self, address: int, function: HeapFunction, arrays: BlockArrays, argument: str, result: str) -> None:
        """Perform a function before the instruction at an address, with these registers, until it is unmapped."""

    def pause(self, more: int) -> None:
        """With 1, let each call get to Python until -1 takes that back."""


class BlockArrays(ctypes.Structure):
    """Where the arrays of `emu.memory.small_blocks` are."""

    _fields_ = (
        ("state", ctypes.c_void_p),
        ("words", ctypes.c_void_p),
        ("runs", ctypes.c_void_p),
        ("table", ctypes.c_void_p),
        ("mask", ctypes.c_uint64),  #: the number of entries of the table less one
        ("count", ctypes.c_uint64),  #: of runs
        ("paused", ctypes.c_uint64),  #: not 0: the hooks do nothing, so that each call gets to Python
    )

    state: int
    words: int
    runs: int
    table: int
    mask: int
    count: int
    paused: int


class HeapCall(ctypes.Structure):
    """The data of one hook. Registers are numbers of Unicorn's."""

    _fields_ = (
        ("arrays", ctypes.c_void_p),  #: the address of the BlockArrays
        ("read", ctypes.c_void_p),  #: the address of uc_reg_read
        ("write", ctypes.c_void_p),  #: that of uc_reg_write
        ("argument", ctypes.c_int32),
        ("result", ctypes.c_int32),
    )


def heap_hook(function: HeapFunction) -> int | None:
    """The address of the hook; None on unsupported hosts."""
    code = HEAP_CODE.get(HOST)
    address = mapped_code(None if code is None else code.code)
    return None if address is None or code is None else address + code.entries[function]
