"""Static TLS: blocks never overlap, are aligned as they ask and stay within the area, in both variants."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relink import ARCHITECTURES, HostMemory, Linker, TlsError, TlsModule, TlsVariant
from relink.arch import Architecture
from relink.elf.constants import DynamicFlag
from relink.tls import MAX_ALIGN, TlsLayout
from tests.linker.craft import Library
from tests.linker.helpers import lay

PAGES = list(ARCHITECTURES.values())
requests = st.tuples(
    st.integers(0, 3000), st.sampled_from([0, 1, 2, 4, 8, 16, 64, 1024, 4096]), st.integers(0, 8191)
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(PAGES), st.lists(st.one_of(requests, st.integers(0, 30)), max_size=30))
def test_blocks_keep_their_promises_through_any_sequence(
    page: Architecture, steps: list[int | tuple[int, int, int]]
) -> None:
    """A step is a request, or the number of the living module to release."""
    layout = TlsLayout(page, 0x4000)
    alive: list[TlsModule] = []
    for step in steps:
        if isinstance(step, int):
            if alive:
                layout.release(alive.pop(step % len(alive)))
            continue
        size, align, vaddr = step
        try:
            module = layout.allocate("lib.so", size, align, vaddr)
        except TlsError:
            # Only for want of room: an empty area takes any of these.
            assert alive
            continue
        assert (module.offset - vaddr) % max(align, 1) == 0
        assert module.id == min(set(range(1, 40)) - {m.id for m in alive})
        if layout.variant is TlsVariant.I:
            assert layout.tcb_size <= module.offset
            assert module.offset + size <= layout.static_size
        else:
            assert -layout.static_size <= module.offset
            assert module.offset + size <= 0
        for other in alive:
            apart = module.offset + size <= other.offset or other.offset + other.size <= module.offset
            assert apart or not size or not other.size
        alive.append(module)
    assert set(layout.modules.values()) == set(alive)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_first_block_lies_where_static_linkers_put_it(page: object) -> None:
    """What local-exec code of an executable assumes: behind the TCB, or just below the pointer."""
    expected = {
        "x86_64": -48,
        "i386": -48,
        "aarch64": 16,
        "arm": 16,
        "riscv64": 0,
        "riscv32": 0,
        "loongarch64": 0,
    }
    layout = TlsLayout(page)  # type: ignore[arg-type]
    assert layout.allocate("exe", 40, 16, 0).offset == expected[page.name]  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_area_is_used_to_its_last_byte_and_no_further(page: object) -> None:
    layout = TlsLayout(page, 0x1000)  # type: ignore[arg-type]
    room = 0x1000 - layout.tcb_size
    with pytest.raises(TlsError, match="static TLS"):
        layout.allocate("lib.so", room + 1, 1, 0)
    layout.allocate("lib.so", room, 1, 0)
    with pytest.raises(TlsError, match=r"lib2\.so.*needs 1 bytes"):
        layout.allocate("lib2.so", 1, 1, 0)


def test_an_alignment_the_thread_pointer_cannot_give_is_refused() -> None:
    layout = TlsLayout(ARCHITECTURES["riscv64"])
    layout.allocate("lib.so", 8, MAX_ALIGN, 0)
    with pytest.raises(TlsError, match="aligned"):
        layout.allocate("lib.so", 8, 2 * MAX_ALIGN, 0)


def test_modules_that_need_no_static_place_leave_the_surplus_and_are_dynamic_then(arch: str) -> None:
    linker = Linker(HostMemory(arch), tls_size=0x1000)
    library = Library(arch, "liba.so", tls=(b"", 0x380, 16)).image()
    images = [linker.load(library) for _ in range(5)]
    assert [image.tls.static for image in images if image.tls] == [True] * 3 + [False] * 2
    assert [image.tls.id for image in images if image.tls] == [1, 2, 3, 4, 5]
    gone = images[2].tls
    linker.unload(images[2])
    assert linker.load(library).tls == gone


def test_a_library_that_says_it_needs_static_tls_gets_the_surplus(arch: str) -> None:
    linker = Linker(HostMemory(arch), tls_size=0x1000)
    for _ in range(3):
        linker.load(Library(arch, "liba.so", tls=(b"", 0x380, 16)).image())
    needy = Library(arch, "libb.so", tls=(b"", 0x380, 16), flags=DynamicFlag.STATIC_TLS)
    image = linker.load(needy.image())
    assert image.tls is not None
    assert image.tls.static


def test_dynamic_modules_overlap_nobody_and_take_no_room() -> None:
    layout = TlsLayout(ARCHITECTURES["aarch64"], 0x1000)
    dynamic = layout.allocate_dynamic("liba.so", 0x100000, 1 << 16)
    assert (dynamic.id, dynamic.static) == (1, False)
    first = layout.allocate("libb.so", 0x1000 - layout.tcb_size, 1, 0)
    assert first.id == 2
    with pytest.raises(TlsError, match=r"static TLS block: needs 1048576 bytes; \d+ of 4096"):
        layout.make_static(dynamic, "liba.so", 16, 0)
    assert layout.modules[1] == dynamic


@pytest.mark.parametrize(("size", "align"), [((1 << 28) + 1, 1), (8, 1 << 25)])
def test_dynamic_blocks_have_bounds_too(size: int, align: int) -> None:
    with pytest.raises(TlsError, match="can be met"):
        TlsLayout(ARCHITECTURES["arm"]).allocate_spare("lib.so", size, align, 0)


@pytest.mark.parametrize("tells_offset", [False, True])
def test_an_image_whose_words_tell_no_tls_module_does_not_get_the_id_of_another(
    arch: str, tells_offset: bool
) -> None:
    memory = HostMemory(arch)
    for place in (0x5000_0000, 0x5000_0000 + 0x100_0000):
        lay(memory, Library(arch, "libt.so", tls=(b"abc", 16, 8)).image(), place)
    linker = Linker(memory)
    offset = 512 if linker.tls.variant.value == 1 else -512
    silent = linker.adopt(0x5000_0000, relocated=True, tls=TlsModule(0, offset, 16) if tells_offset else None)
    first = TlsModule(1, 2 * offset, 16)  # loaders count from 1
    assert linker.adopt(0x5000_0000 + 0x100_0000, relocated=True, tls=first).tls == first
    assert silent.tls is not None
    assert linker.tls.modules == {1: first, silent.tls.id: silent.tls}
