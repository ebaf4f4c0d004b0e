"""Machine code for the host that has Unicorn leave an instruction at a store that may not be made.

Unicorn leaves at once at a load. At a store it asks, by `cpu_exit`, to be left at the next opportunity: for one
that is translated, right behind it; for one by a function of its own (AArch64 `dc zva`; x86 `fxsave`), anywhere
later. So the hook for bad accesses, `record`, notes for the thread how to leave, and `cpu_exit`, which follows,
does so. Unicorn has set the guest's pc right before it calls the hook.

Behind 64 KiB of `state` is what GCC 12 (-Os) makes of:

    typedef unsigned long u64;
    extern struct {
        void (*exit)(void *cpu);
        void (*(*get)(u64 key))(void *cpu);
        int (*set)(u64 key, void (*leave)(void *cpu));
        u64 key;
    } state __attribute__((visibility("hidden")));
    struct record {
        u64 engine; int kind; u64 address; int size; u64 value, data;
        void (*leave)(void *cpu);
    } __attribute__((packed));
    enum { WRITE_UNMAPPED = 20, WRITE_PROT = 22 };

    void cpu_exit(void *cpu)
    {
        state.exit(cpu);
        void (*leave)(void *cpu) = state.get(state.key);
        if (leave) {
            state.set(state.key, 0);
            leave(cpu);
        }
    }

    int record(u64 engine, int kind, u64 address, int size, u64 value, struct record *record)
    {
        record->engine = engine;
        record->kind = kind;
        record->address = address;
        record->size = size;
        record->value = value;
        if (kind == WRITE_UNMAPPED || kind == WRITE_PROT)
            state.set(state.key, record->leave);
        return 0;
    }
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from emu.cpu.hooks.stop_hook import HostCode

REPLACED: Final = ("cpu_exit",)
#: Functions of the C library.
USED_OF_C: Final = ("pthread_getspecific", "pthread_setspecific")

#: What `uname -m` says -> where `cpu_exit` and `record` begin, and machine code.
CODE: Final[Mapping[str, HostCode]] = {
    "x86_64": HostCode(
        (0, 0x3F),
        bytes.fromhex("""
554889fd5351ff15f4fffeff488b3d0500ffffff15effffeff4885c0741d4889c3488b3df0fffeff31f6ff15e0fffeff5a4889ef4889d85b
5dffe0585b5dc34189710883e6fd4989394989510c418949144d89411883fe14751650498b7128488b3db2fffeffff15a4fffeff31c05ac3
31c0c3
"""),
    ),
    "aarch64": HostCode(
        (0, 0x6C),
        bytes.fromhex("""
fd7bbda981ffff90fd030091f35301a934000091210040f9f51300f9f50300aa20003fd6810640f9800e40f920003fd6600100b4f30300aa
010080d2820241a940003fd6e00315aaf00313aaf35341a9f51340f9fd7bc3a800021fd6f35341a9f51340f9fd7bc3a8c0035fd6a00000f9
a10800b921781e12a2c000f8a31400b9a40c00f93f5000716101005480ffff9000000091fd7bbfa9fd030091020041a9a11440f940003fd6
00008052fd7bc1a8c0035fd600008052c0035fd6
"""),
    ),
}
