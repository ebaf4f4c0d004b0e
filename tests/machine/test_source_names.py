"""Functions by their names in the source of C++ and Rust: found without a look at all names, and only these."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from emu import Machine
from emu.debug.demangle import demangled, with_source_name
from relink import Linker, UnresolvedSymbol
from relink.memory.address_space import HostMemory
from tests.counting import python_calls
from tests.linker.craft import DATA, FUNC, Library, Sym

MANGLED = (
    "plain _ZN2ns1fEi _ZN2ns1fEv _ZN2ns1fEd _Z4mostIiET_S0_S0_ _Z4mostIdET_S0_S0_ _ZN2ns4mostImlEEvv "
    "_ZN12_GLOBAL__N_15twiceEi _ZplRK1AS1_ _ZN1AcvbEv _ZN1AD1Ev _ZnwmRKSt9nothrow_t _ZNSt6vectorIiE4pushEOi "
    "_RNvCs1234_7mycrate3foo _RNvNtC7mycrate3foo3bar _Zbad _Z1hIJmmmmmEEvv"
).split()
MANGLED += [f"_ZN{'1a' * 300}1fEi", f"_Z1hIJ{'m' * 20}EEvv"]  # whose source is long, or has many words


def of_all_names(names: Iterable[str], wanted: str) -> dict[str, str]:
    """The same from each name."""
    spaceless, found = wanted.replace(" ", ""), {}
    for name in names:
        text = demangled(name)
        if text is None:
            continue
        plain = text.replace("(anonymous namespace)", "anonymous namespace").partition("(")[0]
        if text.replace(" ", "") == spaceless or plain == wanted or plain.endswith(f" {wanted}"):
            found[name] = text
    return found


def exporting(names: Iterable[str]) -> bytes:
    return Library("x86_64", "lib.so", symbols=[Sym(name, DATA, type=FUNC) for name in names]).image()


def test_the_names_that_are_found_are_those_of_a_look_at_all() -> None:
    decoded = Linker(HostMemory("x86_64")).load(exporting(MANGLED)).decoded
    wanted = {
        "ns::f",
        "ns::f(int)",
        "f",
        "absent",
        "",
        " ",
        "most<int>",
        "int most<int>",
        "anonymous namespace::twice",
    }
    for text in filter(None, map(demangled, MANGLED)):
        words = text.split(" ")
        wanted |= {" ".join(words[at:]) for at in range(len(words))} | {
            text.partition("(")[0],
            text[1:],
            text + " ",
        }
    assert sum(bool(with_source_name(decoded, each)) for each in wanted) > 30
    for each in wanted:
        assert with_source_name(decoded, each) == of_all_names(MANGLED, each), each


@pytest.mark.not_taken_back("counts calls")
@pytest.mark.parametrize("name", ["ns::f5", "absent"])
def test_a_name_costs_the_same_among_many(name: str) -> None:
    """Once one has been looked up: also those of clones that GCC made, as `f.isra.0`."""

    def cost(count: int) -> int:
        names = [f"_ZN2ns{len(str(number)) + 1}f{number}Ev" for number in range(count)]
        with Machine("x86_64") as machine:
            library = machine.load(exporting([*names, *(f"c{number}.isra.0" for number in range(count))]))

            def look_up() -> None:
                try:
                    assert library.function_symbol(name).name == names[5]
                except UnresolvedSymbol:
                    assert name == "absent"

            look_up()
            with pytest.raises(UnresolvedSymbol, match=r"the compiler made c5\.isra\.0 of it"):
                library.function_symbol("c5")
            return python_calls(look_up)

    cost(10)  # what is made once
    few = cost(10)
    assert few > 20, "the counter counts"
    assert cost(300) <= few + 30
