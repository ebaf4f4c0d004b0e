"""Unicorn is told of many mappings only when the guest uses them; that changes nothing for the guest."""

from __future__ import annotations

import pytest

from emu import Machine
from emu.cpu.unicorn import api as unicorn_api
from emu.cpu.unicorn import late_maps
from emu.errors import GuestFault
from relink.errors import AddressSpaceError
from relink.memory.address_space import PAGE, Protection
from tests.fixtures import arch_of
from tests.objects.build import compiled

TARGETS = ("x86_64", "i386", "aarch64", "arm", "thumb", "riscv64", "riscv32")
BASE, COUNT = 0x5000_0000, 96

#: Accesses whose first or second half is in a page that nothing has touched: those a compiler makes, and
#: those that write back, repeat or are atomic. Each step uses fresh pages.
TOUCHING = """
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
struct big { u32 w[24]; };
typedef struct { u64 value; } __attribute__((packed)) odd;

static u8 *page(u8 *base, u32 number) { return base + 4096u * number; }

u64 touch(u8 *base)
{
    u64 sum = 0;
    u32 at = 1;
    ((odd *)(page(base, at) - 3))->value += 5;
    at += 2;
    sum += ((volatile odd *)(page(base, at) - 3))->value;
    at += 2;
    *(struct big *)(page(base, at) - 40) = *(struct big *)(page(base, at + 2) - 40);
    at += 4;
    for (u32 round = 0; round < 2; round++, at += 2) {
        u32 *word = (u32 *)(page(base, at) + 16), expected = *word + round;
        sum += __atomic_fetch_add((u32 *)(page(base, at + 1) + 16), 7, __ATOMIC_SEQ_CST);
        sum += __atomic_compare_exchange_n(word, &expected, 9, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        sum += __atomic_exchange_n((u8 *)(page(base, at + 1) + 17), 3, __ATOMIC_SEQ_CST);
    }
    *(volatile double *)(page(base, at) + 8) = *(volatile double *)(page(base, at + 1) + 8) * 3.0;
    at += 2;
#if defined(__x86_64__) || defined(__i386__)
    u8 *to = page(base, at + 1) - 20, *from = page(base, at + 3) - 30;
    unsigned long count = 5000;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
    sum += (u32)(to - base) + (u32)(from - base) * 3 + count;
    at += 6;
    u8 *cell = page(base, at) - 2;
    __asm__ volatile("lock; addl $77, (%0)" : : "r"(cell) : "memory", "cc");
    at += 2;
    __asm__ volatile("lock; xaddl %0, (%1)" : "+r"(at) : "r"(page(base, at)) : "memory", "cc");
    sum += at;
    at = 24;
#ifdef __x86_64__
    __asm__ volatile("push (%1); pop (%0)" : : "r"(page(base, at) - 4), "r"(page(base, at + 2) - 4) : "memory");
#else
    __asm__ volatile("pushl (%1); popl (%0)" : : "r"(page(base, at) - 2), "r"(page(base, at + 2) - 2) : "memory");
#endif
    at += 4;
    __asm__ volatile("fxsave (%0)" : : "r"(page(base, at) - 256) : "memory");
    for (u32 n = 0; n < 512; n++) (page(base, at) - 256)[n] = 0;
#elif defined(__aarch64__)
    u64 a, b, *pair = (u64 *)(page(base, at) - 8);
    __asm__ volatile("ldp %0, %1, [%2], #16" : "=&r"(a), "=&r"(b), "+r"(pair) : : "memory");
    sum += a + b + (u64)((u8 *)pair - base);
    at += 2;
    pair = (u64 *)(page(base, at) + 8);
    __asm__ volatile("stp %1, %2, [%0, #-16]!" : "+r"(pair) : "r"(a), "r"(b) : "memory");
    sum += (u64)((u8 *)pair - base);
    at += 2;
    __asm__ volatile("dc zva, %0" : : "r"(page(base, at) + 64) : "memory");
    at += 1;
    u8 *vectors = page(base, at + 1) - 24;
    __asm__ volatile("ld1 {v0.16b-v3.16b}, [%0], #64\\n st4 {v0.16b-v3.16b}, [%1]"
                     : "+r"(vectors) : "r"(page(base, at + 3) - 24) : "memory", "v0", "v1", "v2", "v3");
    sum += (u64)(vectors - base);
#elif defined(__arm__)
    u32 *from = (u32 *)(page(base, at) - 8), *to = (u32 *)(page(base, at + 2) - 4);
    __asm__ volatile("ldmia %0!, {r4, r5, r6, r8}\\n stmia %1!, {r4, r5, r6, r8}"
                     : "+r"(from), "+r"(to) : : "memory", "r4", "r5", "r6", "r8");
    sum += (u32)((u8 *)from - base) + (u32)((u8 *)to - base) * 3;
    at += 4;
    u32 less = (u32)sum, *last = (u32 *)page(base, at);
    __asm__ volatile("cmp %0, #0\\n ite ne\\n ldrne %0, [%1]\\n moveq %0, #1"
                     : "+r"(less) : "r"(last) : "memory", "cc");
    sum += less;
#endif
    return sum;
}
"""


def filled(machine: Machine) -> None:
    """A mapping for each page, with bytes that tell the places apart."""
    for number in range(COUNT):
        address = machine.memory.map_anonymous(PAGE, at=BASE + number * PAGE)
        machine.memory.write(address, bytes((number * 7 + at * 13 + (at >> 8)) & 255 for at in range(PAGE)))


def outcome(target: str) -> tuple[int, bytes]:
    with Machine(arch_of(target)) as machine:
        filled(machine)
        touch = machine.load(compiled(target, TOUCHING)).function("touch", "unsigned long long(void *)")
        return touch(BASE), machine.memory.read(BASE, COUNT * PAGE)


@pytest.mark.parametrize("target", TARGETS)
def test_accesses_to_pages_the_engine_lacks_are_repeated(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = outcome(target)
    monkeypatch.setattr(late_maps, "MOST", -1)
    assert outcome(target) == at_once


def test_the_engine_is_told_of_what_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    real = unicorn_api.uclib.uc_mem_map_ptr

    def noting(handle: object, address: int, *rest: object) -> int:
        told.append(address)
        return int(real(handle, address, *rest))

    monkeypatch.setattr(unicorn_api.uclib, "uc_mem_map_ptr", noting)
    with Machine("x86_64") as machine:
        filled(machine)
        content = machine.memory.read(BASE + PAGE - 8, 16)
        assert max(told, default=0) < BASE, "the host needs no engine"
        source = "int read_at(unsigned char *at) { return *at; }"
        read_at = machine.load(compiled("x86_64", source)).function("read_at", "int(void *)")
        assert read_at(BASE + 5 * PAGE + 1) == machine.memory.read(BASE + 5 * PAGE + 1, 1)[0]
        assert [address for address in told if BASE <= address < BASE + COUNT * PAGE] == [BASE + 5 * PAGE]
        assert len(told) < 12
        # Pages that change before the engine has them, and pages that go.
        machine.memory.protect_pages(BASE + 6 * PAGE, PAGE, Protection.NONE)
        machine.memory.unmap(BASE + 7 * PAGE)
        before = len(told)
        for number, problem in ((6, "unreadable"), (7, "unmapped")):
            with pytest.raises(GuestFault, match=problem):
                read_at(BASE + number * PAGE)
        assert len(told) == before
        assert content == machine.memory.read(BASE + PAGE - 8, 16)


def test_overlaps_are_refused_at_once() -> None:
    with Machine("i386") as machine:
        at = machine.memory.map_anonymous(PAGE)
        with pytest.raises(AddressSpaceError):
            machine.memory.map_anonymous(PAGE, at=at)
        with pytest.raises(AddressSpaceError):
            machine.cpu.map(0xFFFF_E000, PAGE, Protection.R, machine.memory.region_at(at).buffer)  # type: ignore[union-attr]


def test_what_takes_the_engine_itself_has_all_mappings() -> None:
    with Machine("x86_64") as machine:
        filled(machine)
        native = machine.cpu.native
        assert native.mem_read(BASE + 9 * PAGE, 4) == machine.memory.read(BASE + 9 * PAGE, 4)
        later = machine.memory.map_anonymous(PAGE)
        assert native.mem_read(later, 4) == bytes(4)


@pytest.mark.parametrize("limit", [1, 10_000])
def test_counted_runs_have_all_mappings(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit counts instructions; one that is repeated would count twice."""
    counts = []
    for most in (late_maps.MOST, -1):
        monkeypatch.setattr(late_maps, "MOST", most)
        with Machine("x86_64") as machine:
            filled(machine)
            library = machine.load(compiled("x86_64", "int read_at(unsigned char *at) { return *at; }"))
            read_at = library.function("read_at", "int(void *)")
            try:
                read_at(BASE, max_instructions=limit)
            except Exception as error:
                counts.append(str(error))
            else:
                counts.append(str(machine.cpu.executed))
    assert counts[0] == counts[1]
