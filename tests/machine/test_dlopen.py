"""dlopen, dlsym, dlvsym and dlclose by guest code: glibc's behaviours, as its dlfcn/ and elf/ tests have them."""

from __future__ import annotations

import pytest

from emu.errors import ConstructorFault
from relink.elf import decode
from relink.memory.address_space import HostMemory, Protection
from relink.memory.placement import fill, region_size
from tests.fixtures import arch_of, fixture
from tests.linker.craft import FUNC, UNIQUE, Library, Sym
from tests.machine.dl import DEEPBIND, GLOBAL, LAZY, NODELETE, NOLOAD, NOW, Guest, library
from tests.objects.build import TARGETS

pytestmark = [pytest.mark.sample(2), pytest.mark.parametrize("target", TARGETS)]
NO_FILE = "cannot open shared object file: No such file or directory"


def test_one_library_has_one_handle_and_goes_with_its_last_close(target: str) -> None:
    with Guest(target, "one") as guest:
        handle = guest.open("libone.so")
        assert handle
        assert guest.open("libone.so", LAZY) == handle
        assert guest.call(handle, "one") == 13
        assert guest.close(handle) == 0
        assert guest.notes == [1]
        assert guest.close(handle) == 0
        assert guest.notes == [1, -1]
        assert not guest.loaded("one")


def test_a_handle_that_is_closed_or_none_is_refused(target: str) -> None:
    with Guest(target, "one") as guest:
        handle = guest.open("libone.so")
        guest.close(handle)
        assert guest.close(handle) == -1
        assert guest.error() == "invalid handle"
        assert guest.close(0x1234560) == -1
        assert guest.symbol(0x1234560, "one") == 0
        assert guest.error() == "invalid handle"


def test_the_host_s_own_load_cannot_be_closed_by_the_guest(target: str) -> None:
    with Guest(target, "one") as guest:
        mine = guest.machine.load("libone.so")
        handle = guest.open("libone.so")
        assert guest.close(handle) == 0
        assert guest.close(handle) == -1
        assert guest.error() == f"{library(target, 'one')}: shared object not open"
        assert mine.symbols["one_value"].read("int") == 11


def test_there_is_one_namespace(target: str) -> None:
    with Guest(target, "one") as guest:
        elsewhere = guest.driver.function("elsewhere", "void *(long, const char *, int)")
        assert elsewhere(0, "libone.so", NOW) == guest.open("libone.so") != 0
        assert elsewhere(-1, "libone.so", NOW) == 0
        assert guest.error() == "dlmopen: invalid namespace: only LM_ID_BASE is supported"
        assert guest.notes == [1]


def test_what_the_guest_left_open_is_closed_with_the_machine(target: str) -> None:
    with Guest(target, "one") as guest:
        guest.open("libone.so")
    assert guest.notes == [1, -1]


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        (0, "libone.so: invalid mode for dlopen(): Invalid argument"),
        (GLOBAL, "libone.so: invalid mode for dlopen(): Invalid argument"),
        (NOW | 0x40000, "invalid mode parameter"),
    ],
)
def test_a_mode_must_say_lazy_or_now(target: str, mode: int, error: str) -> None:
    with Guest(target, "one") as guest:
        assert guest.open("libone.so", mode) == 0
        assert guest.error() == error
        assert guest.notes == []


def test_dlerror_tells_once_and_success_clears_it(target: str) -> None:
    with Guest(target, "one") as guest:
        assert guest.error() is None
        assert guest.open("libmissing.so") == 0
        assert guest.error() == f"libmissing.so: {NO_FILE}"
        assert guest.error() is None
        guest.open("libmissing.so")
        handle = guest.open("libone.so")
        assert guest.error() is None
        guest.open("libmissing.so")
        assert guest.symbol(handle, "absent") == 0
        assert guest.error() == f"{library(target, 'one')}: undefined symbol: absent"


def test_noload_finds_only_what_is_there(target: str) -> None:
    with Guest(target, "one") as guest:
        assert guest.open("libone.so", NOW | NOLOAD) == 0
        assert guest.error() is None, "not loaded is no error"
        assert guest.open("libmissing.so", NOW | NOLOAD) == 0
        assert guest.error() == f"libmissing.so: {NO_FILE}"
        handle = guest.open("libone.so")
        assert guest.open("libone.so", NOW | NOLOAD) == handle
        guest.close(handle)
        assert guest.loaded("one"), "NOLOAD counts as an open"
        guest.close(handle)
        assert not guest.loaded("one")


def test_nodelete_keeps_a_library_until_the_end(target: str) -> None:
    with Guest(target, "one") as guest:
        handle = guest.open("libone.so", NOW | NODELETE)
        assert guest.close(handle) == 0
        assert guest.notes == [1]
        assert guest.close(handle) == 0, "no error, and no effect"
        assert guest.open("libone.so") == handle
    assert guest.notes == [1, -1]


def test_nodelete_may_come_later_and_from_the_file(target: str) -> None:
    stays = library(target, "global", "-z", "nodelete")
    with Guest(target, "one", libraries={"libglobal.so": stays}) as guest:
        handle = guest.open("libone.so")
        assert guest.open("libone.so", NOW | NOLOAD | NODELETE) == handle
        guest.close(handle)
        guest.close(handle)
        assert guest.loaded("one")
        guest.close(guest.open("libglobal.so"))
        assert guest.loaded("global")


def test_local_symbols_are_found_by_handle_only(target: str) -> None:
    with Guest(target, "one", "borrower") as guest:
        handle = guest.open("libone.so")
        assert guest.any("one_value") == 0
        assert guest.error() == f"{library(target, 'driver')}: undefined symbol: one_value"
        assert guest.open("libborrower.so") == 0
        assert guest.error() == f"{library(target, 'borrower')}: undefined symbol: one_value"
        assert not guest.loaded("borrower")
        assert guest.open("libone.so", NOW | NOLOAD | GLOBAL) == handle, "promoted"
        assert guest.any("one_value") == guest.symbol(handle, "one_value") != 0
        assert guest.call(guest.open("libborrower.so"), "look") == 11


def test_a_relocation_keeps_what_it_was_bound_to(target: str) -> None:
    with Guest(target, "one", "borrower") as guest:
        provider = guest.open("libone.so", NOW | GLOBAL)
        user = guest.open("libborrower.so")
        guest.close(provider)
        assert guest.call(user, "look") == 11
        assert guest.notes == [1]
        guest.close(user)
        assert guest.notes == [1, -1]
        assert not guest.loaded("one")


def test_a_look_up_keeps_what_it_has_found(target: str) -> None:
    with Guest(target, "one") as guest:
        handle = guest.open("libone.so", NOW | GLOBAL)
        assert guest.any("one_value")
        guest.close(handle)
        assert guest.loaded("one"), "the driver may use it"
        assert guest.any("one_value")


def test_dependencies_are_opened_first_and_closed_last(target: str) -> None:
    with Guest(target, "one", "two") as guest:
        handle = guest.open("libtwo.so")
        assert guest.notes == [1, 2]
        assert guest.call(handle, "two") == 14
        assert guest.symbol(handle, "one") == guest.symbol(guest.open("libone.so"), "one")
        guest.close(handle)
        assert guest.notes == [1, 2, -2], "libone is open by itself"
        guest.close(guest.open("libone.so", NOW | NOLOAD))
        guest.close(guest.open("libone.so", NOW | NOLOAD))
        assert guest.notes == [1, 2, -2]
    assert guest.notes == [1, 2, -2, -1]


def test_the_global_scope_comes_first_but_deepbind_turns_to_its_own(target: str) -> None:
    with Guest(target, "deep") as guest:
        assert guest.call(guest.open("libdeep.so"), "seen") == 1, "the driver's"
    with Guest(target, "deep") as guest:
        assert guest.call(guest.open("libdeep.so", NOW | DEEPBIND), "seen") == 4


def test_the_program_s_handle_is_the_global_scope(target: str) -> None:
    with Guest(target, "one", "global") as guest:
        program = guest.open(None)
        assert program
        assert guest.open("") == program
        assert guest.word(program, "common") == 1
        assert guest.symbol(program, "only_global") == 0
        assert guest.error() == "<main program>: undefined symbol: only_global"
        guest.open("libglobal.so", LAZY | GLOBAL)
        assert guest.word(program, "only_global") == 3
        assert guest.close(program) == guest.close(program) == 0


def test_a_library_may_open_itself(target: str) -> None:
    with Guest(target) as guest:
        guest.machine.linker.search.libraries["libdriver.so"] = library(target, "driver")  # type: ignore[index]
        handle = guest.open("libdriver.so")
        assert guest.word(handle, "common") == 1
        assert guest.close(handle) == 0
        assert guest.close(handle) == -1


def test_next_goes_down_the_chain_and_ends(target: str) -> None:
    with Guest(target, "link2", "link3", "chained") as guest:
        chained = guest.machine.load("libchained.so", local=True, preload=[library(target, "link1")])
        assert chained.function("start", "int(void)")() == 1 + 10 * (2 + 10 * 3)
        assert guest.next("chain") == 0
        assert guest.error() == f"{library(target, 'driver')}: undefined symbol: chain"
        handle = guest.open("libchained.so")
        assert guest.call(handle, "chain") == 2 + 10 * 3, "of its own list, link2 is first"


def test_next_reaches_the_hosted_c_library(target: str) -> None:
    with Guest(target) as guest:
        assert guest.next("malloc") == guest.any("malloc") != 0
        assert guest.next("common") == 0


def test_thread_local_ifunc_weak_and_unique_symbols(target: str) -> None:
    arch = arch_of(target)
    symbols = [Sym("only", bind=UNIQUE)]
    unique = {name: Library(arch, name, symbols=symbols).image() for name in ("libu.so", "libv.so")}
    with Guest(target, "one", libraries=unique) as guest:
        handle = guest.open("libone.so")
        place = guest.machine.call(guest.symbol(handle, "address_of_local"), "void *(void)")
        assert guest.symbol(handle, "one_local") == place
        assert guest.word(handle, "one_local") == 12
        assert guest.call(handle, "address_of_nowhere") == 0
        assert guest.symbol(handle, "nowhere") == 0
        assert guest.call(handle, "chosen") == 77, "what the resolver has chosen"
        first, second = (guest.symbol(guest.open(name), "only") for name in unique)
        assert first == second != 0


def test_versions_are_asked_for_exactly(target: str) -> None:
    folder = fixture(target, "versions/v2/libversions").parent
    with Guest(target, libraries={"libversions.so": folder / "libversions.so"}) as guest:
        handle = guest.open("libversions.so")
        old, new = guest.versioned(handle, "versioned", "V1"), guest.versioned(handle, "versioned", "V2")
        assert old
        assert new not in (0, old)
        assert guest.symbol(handle, "versioned") == new, "the default one"
        assert guest.versioned(handle, "versioned", "V9") == 0
        assert guest.error() == f"{folder / 'libversions.so'}: undefined symbol: versioned, version V9"


def test_closing_runs_what_the_library_has_registered_and_no_other_s(target: str) -> None:
    with Guest(target, "registers", "registers_too") as guest:
        first, second = guest.open("libregisters.so"), guest.open("libregisters_too.so")
        guest.close(first)
        assert guest.notes == [-40, 42, 41, -43]
        guest.open("libregisters.so")
        assert second
        guest.notes.clear()
    assert guest.notes == [42, 41, 51, -53, -40, -43], "at the end handlers, last first; then destructors"


def test_a_constructor_may_open_and_its_destructor_close(target: str) -> None:
    with Guest(target, "opener", "one") as guest:
        handle = guest.open("libopener.so")
        assert guest.notes == [30, 1, 31]
        guest.close(handle)
        assert guest.notes == [30, 1, 31, -30, -1], "a close within a close comes after it"
        assert not guest.loaded("one")
        guest.open("libopener.so")
    assert guest.notes[5:] == [30, 1, 31, -30, -1], "at the end, as with glibc, in load order"


def test_a_dlopen_that_fails_in_a_constructor_leaves_the_load_alone(target: str) -> None:
    with Guest(target, "failing_opener", "seeker_of_nothing") as guest:
        handle = guest.open("libfailing_opener.so")
        assert guest.word(handle, "handle") == 0
        text = guest.machine.memory.read_cstring(guest.symbol(handle, "text")).decode()
        assert text == f"{library(target, 'seeker_of_nothing')}: undefined symbol: nothing"
        assert not guest.loaded("seeker_of_nothing")


def test_a_constructor_that_faults_takes_along_what_it_opened(target: str) -> None:
    with Guest(target, "crasher", "one", "two") as guest:
        regions = len(guest.machine.memory.regions)
        for _ in range(2):
            with pytest.raises(ConstructorFault, match="constructor"):
                guest.open("libcrasher.so")
            assert not any(map(guest.loaded, ("crasher", "one", "two")))
        assert len(guest.machine.memory.regions) <= regions + 2, "link maps only"
        assert guest.open("libtwo.so")


def test_so_does_one_of_an_image_that_was_in_memory(target: str) -> None:
    path = library(target, "crasher")
    region = HostMemory(arch_of(target)).reserve(region_size(decode(path)))
    fill(region, decode(path))
    with Guest(target, "one", "two") as guest:
        memory, images = guest.machine.memory, list(guest.machine.linker.images)
        address = memory.map_anonymous(len(region.buffer), Protection.R | Protection.W | Protection.X)
        memory.write(address, region.buffer.tobytes())
        traps, regions = len(guest.machine.traps), len(memory.regions)
        with pytest.raises(ConstructorFault, match="constructor"):
            guest.machine.adopt(address, relocated=False)
        assert guest.machine.linker.images == images
        assert len(memory.regions) <= regions + 3, "link maps and the heap only"
        assert len(guest.machine.traps) <= traps + 3, "dlopen and its kin only"
        assert guest.open("libtwo.so")


def test_a_file_the_guest_has_can_be_opened_by_its_path(target: str) -> None:
    with Guest(target, files={"/opt/libone.so": library(target, "one").read_bytes()}) as guest:
        handle = guest.open("/opt/libone.so")
        assert guest.call(handle, "one") == 13
        assert guest.open("/opt/libone.so") == handle
        assert guest.open("../opt/libone.so") == handle


def test_a_missing_version_is_named_with_both_libraries(target: str) -> None:
    client = fixture(target, "versions/client_v3")
    provider = fixture(target, "versions/v2/libversions")
    with Guest(target, libraries={"libversions.so": provider, "client": client}) as guest:
        assert guest.open("client") == 0
        text = guest.error()
        assert text is not None
        assert "libversions.so: version `V3' not found (required by " in text


def test_the_c_library_s_names_open_what_the_host_answers(target: str) -> None:
    with Guest(target) as guest:
        for name in ("libc.so.6", "libm.so.6", "libdl.so.2"):
            handle = guest.open(name)
            assert handle, guest.error()
            assert guest.symbol(handle, "strlen") == guest.any("strlen") != 0
            assert guest.symbol(handle, "no_such_function") == 0
            assert guest.error() == f"{name}: undefined symbol: no_such_function"
            assert guest.close(handle) == 0
            assert guest.close(handle) == -1


def test_a_handle_reaches_the_c_library_only_if_its_image_needs_it(target: str) -> None:
    arch = arch_of(target)
    files = {
        "libneeds.so": Library(arch, "libneeds.so", ["libc.so.6"], symbols=[Sym("a", type=FUNC)]).image(),
        "libalone.so": Library(arch, "libalone.so", symbols=[Sym("a", type=FUNC)]).image(),
    }
    with Guest(target, libraries=files) as guest:
        assert guest.symbol(guest.open("libneeds.so"), "strlen") != 0
        assert guest.symbol(guest.open("libalone.so"), "strlen") == 0


def test_the_runpath_of_the_caller_is_searched(target: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("origin")
    (folder / "sub").mkdir()
    (folder / "sub" / "libone.so").write_bytes(library(target, "one").read_bytes())
    (folder / "driver.so").write_bytes(library(target, "driver", "-rpath", "$ORIGIN/sub").read_bytes())
    with Guest(target) as guest:
        assert guest.open("libone.so") == 0
        guest.driver = guest.machine.load(folder / "driver.so", local=True)
        assert guest.open("libone.so") == guest.open("$ORIGIN/sub/libone.so") == 0  # nobody named that folder
    with Guest(target, library_path=[folder / "sub"]) as guest:
        guest.driver = guest.machine.load(folder / "driver.so", local=True)
        handle = guest.open("$ORIGIN/sub/libone.so")
        assert handle, guest.error()
        assert guest.call(handle, "one") == 13
        assert guest.open("libone.so") == handle
