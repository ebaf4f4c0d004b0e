"""The scenarios of the oracle: the fixtures to load, with other libraries, and the functions to call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from toolchains.recipe import Kind, Recipe
from toolchains.recipes import RECIPES
from toolchains.targets import TARGETS, Role, Variant


@dataclass(frozen=True)
class Scenario:
    """One load of one fixture.

    preload   fixtures that come before it in the global scope
    path      where its needs are looked for, relative to `built/<variant>`
    at_start  whether it is there when the program starts, and not opened later: static TLS beyond what dynamic
              linkers keep in reserve, and, with musl, any static TLS at all
    calls     functions to call once everything is loaded, in order: a name and up to three integers
    lazy      whether jump slots are left for their first call, by way of the PLT's header
    """

    fixture: str
    preload: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    at_start: bool = False
    calls: tuple[str, ...] = ()
    lazy: bool = False

    @property
    def key(self) -> str:
        """The scenario's name in the golden file."""
        above = "".join(f" after {name}" for name in self.preload)
        age = f" with {self.path[0]}" if self.fixture.startswith("versions/client") else ""
        return f"{self.fixture}{above}{age}{' lazily' if self.lazy else ''}"

    @property
    def recipe(self) -> Recipe:
        return RECIPES[self.fixture]


def _words(text: str) -> tuple[str, ...]:
    """Calls are separated by semicolons."""
    return tuple(" ".join(call.split()) for call in text.split(";"))


_TLS = _words(
    "tls_gd; tls_ld; tls_ie; tls_other_gd; tls_other_ie; tls_zero; tls_gd_address; tls_ld_address; "
    "tls_ie_address; tls_zero_block_address; tls_other_gd_address; tls_other_ie_address; tls_set 500; "
    "tls_gd; tls_ld; tls_ie; tls_other_gd; tls_zero"
)
_TLS_DYNAMIC = _words(
    "dynamic_get; dynamic_local_get; dynamic_address; dynamic_local_address; "
    "dynamic_block_address; dynamic_set 9; dynamic_get; dynamic_local_get"
)
_TLS_ALIGNED = _words(
    "aligned_sum; tls_misalignment; aligned_data_address; aligned_zero_address; aligned_static_address"
)
_BASIC = _words(
    "awesome_func 21; get_counter; add 5 3; apply 0 5 3; apply 1 5 3; set_counter 40; get_counter; "
    "bump_zeroed 3; greeting_length"
)
_DATA = _words(
    "call_import 5; call_weak 5; call_missing_if_there 1; call_protected 5; call_all 1; got_import; "
    "got_own; got_missing; got_abs; got_unique; got_common; got_import_function; private_address; "
    "hidden_address"
)
_PACKED = _words("packed_check; packed_call 3; packed_unaligned")
_SYMBOLIC = _words("call_shared; call_shared_pointer; call_kept; call_kept_pointer; read_shared_value")
_VERSIONS = _words("client_versioned; client_versioned_pointer; client_same; client_data")
_TEXT = _words("text_word 0; text_word 1; text_word 2; text_word 3; text_words_address; text_sum 2; text_call 3")

CALLS: Mapping[str, tuple[str, ...]] = {
    "tls": _TLS,
    "tls_desc": _TLS,
    "tls_dynamic": _TLS_DYNAMIC,
    "tls_dynamic_desc": _TLS_DYNAMIC,
    "tls_aligned": _TLS_ALIGNED,
    "tls_aligned_desc": _TLS_ALIGNED,
    "tls_static": _words("static_get; static_address; static_zero_address; static_set 3; static_get"),
    "tls_weak": _words("weak_tls_value 0"),
    "tls_textrel": _words("text_tls_get; text_tls_address"),
    "libtls_other": _words("other_gd_address; other_ie_address"),
    "ifunc": _words("call_ifunc; call_ifunc_hidden; call_ifunc_pointer; call_ifunc_hidden_pointer; ifunc_address"),
    "ifunc_client": _words("client_call 1; client_call_pointer 2; client_address"),
    **dict.fromkeys(("basic", "basic-dwarf", "basic-nosections", "basic-64k", "basic-now"), _BASIC),
    "datarel": _DATA,
    "datarel_now": _DATA,
    "plt_landing_pads": _DATA,
    "textrel": _TEXT,
    "textrel_nopic": _TEXT,
    **dict.fromkeys(("relr", "nocombreloc", "rel_format"), _PACKED),
    "relr_only": _words("packed_check; packed_call 3"),
    **dict.fromkeys(("symbolic", "symbolic_list", "not_symbolic"), _SYMBOLIC),
    "versions/client_v1": _VERSIONS,
    "versions/client_v2": _VERSIONS,
    "versions/client_unversioned": _VERSIONS,
    "versions/client_v3": (*_VERSIONS, "client_added"),
    "versions/client_v3_weak": ("weak_client",),
    "deps/libtop": _words("top 1; ask_who; top_sees_leaf_value"),
    "startup/app": ("calls_below",),
    "bss": _words("bss_sum; read_table 63; page_misalignment"),
    "interwork": _words(
        "t32_calls_a32 2; a32_calls_t32 2; a32_through_table 0 3; a32_through_table 1 3; "
        "t32_through_table 2 3; t32_through_table 3 3; state_sum"
    ),
    "variant_pcs": _words("call_variant 4; call_ordinary 4"),
    "imports": ("present",),
    "exe/copy": _words("copied_value; call_leaf 3; set_copied_value 77; copied_value; call_leaf 3"),
    "exe/pie": _words("copied_value; call_leaf 3; set_copied_value 77; copied_value; call_leaf 3"),
    "exe/tls": _words(
        "exe_data_get; exe_aligned_get; exe_other_get; exe_data_address; exe_zero_address; "
        "exe_misalignment; exe_set 5; exe_data_get"
    ),
}
"""What is called, by fixture; the others only have their memory compared."""

VOID = frozenset({"set_counter", "tls_set", "dynamic_set", "static_set", "exe_set", "set_copied_value"})
"""Functions of those that return nothing."""

_LAZY = (
    "basic", "datarel", "plt_landing_pads", "ifunc", "ifunc_client", "variant_pcs", "deps/libtop", "tls",
    "tls_desc", "cxx",
)  # fmt: skip
"""Fixtures that are also loaded lazily, by dynamic linkers that do so."""

_AGES = ("versions/v1", "versions/v2", "versions/v3", "versions/none")

_IGNORED: Mapping[str, tuple[str, ...]] = {
    # What only the process knows: its arguments, the processor's features; and how often a resolver is asked,
    # which is once for each reference with glibc and once for all of them here.
    "ctors": ("seen_argc", "seen_argv", "seen_envp"),
    "ifunc": ("resolver_hwcap", "resolver_second", "resolver_calls"),
    # Pre-initialisers and constructors of a program; the oracle never gets to the latter.
    "exe/pie": ("startup_log", "startup_logged"),
    "exe/copy": ("startup_log", "startup_logged"),
}
_MUSL_REBASES_ABSOLUTE = ("abs_symbol", "abs_high", "got_abs")
_IGNORED_WITH_MUSL: Mapping[str, tuple[str, ...]] = {
    # musl adds the load bias to absolute symbols too, and on RISC-V runs no DT_INIT.
    "datarel": _MUSL_REBASES_ABSOLUTE,
    "datarel_now": _MUSL_REBASES_ABSOLUTE,
    "ctors": ("order", "order_count", "ctor_count"),
}


def ignored(name: str, variant: Variant) -> tuple[str, ...]:
    """Names in the fixture `name` that are not compared: variables, what is relocated against a symbol, and
    functions called."""
    return _IGNORED.get(name, ()) + (_IGNORED_WITH_MUSL.get(name, ()) if uses_musl(variant) else ())


ANDROID = "APS2: no C library's dynamic linker reads Android's packed relocations, and qemu-user runs no Android"
_WRONG_FORMAT = "glibc ignores relocations in a format other than the psABI's, and runs the unrelocated code"
_MUSL_PROGRAM = (
    "musl runs no constructors before the program's code, and these programs do not have "
    "musl's start files: the probe is never reached"
)


def uses_musl(variant: Variant) -> bool:
    """Whether the oracle is musl's dynamic linker, not glibc's: where Debian has no port."""
    return TARGETS[variant.target.arch].debian is None


def scenarios(variant: Variant) -> list[Scenario]:
    """Every load there is to compare for `variant`, in a stable order."""
    found: list[Scenario] = []
    for recipe in RECIPES.values():
        if variant.name not in recipe.variants or recipe.kind not in (Kind.SHARED, Kind.EXECUTABLE):
            continue
        for path in _paths(recipe.name):
            found.append(Scenario(recipe.name, (), path, _at_start(recipe, variant), CALLS.get(recipe.name, ())))
            if recipe.name in ("symbolic", "symbolic_list", "not_symbolic"):
                found.append(Scenario(recipe.name, ("interposer",), path, False, CALLS[recipe.name]))
            if recipe.name in _LAZY and not uses_musl(variant):
                found.append(Scenario(recipe.name, (), path, calls=CALLS.get(recipe.name, ()), lazy=True))
    return found


def _paths(name: str) -> tuple[tuple[str, ...], ...]:
    if name.startswith("versions/client"):
        return tuple((age,) for age in _AGES)
    folder = name.rpartition("/")[0]
    # Those under rpath/ say themselves where their needs lie; so do the executables.
    return ((),) if folder.startswith(("rpath", "exe")) else ((folder or ".",),)


def _at_start(recipe: Recipe, variant: Variant) -> bool:
    static = Role.TLS_STATIC in recipe.expects
    return recipe.name.startswith("tls_aligned") or (static and uses_musl(variant))


def no_oracle(scenario: Scenario, variant: Variant) -> str | None:
    """Why there is no oracle for a scenario; None if there is one."""
    if Role.APS2 in scenario.recipe.expects:
        return ANDROID
    if scenario.fixture == "rel_format":
        return _WRONG_FORMAT
    if uses_musl(variant) and scenario.recipe.kind is Kind.EXECUTABLE:
        return _MUSL_PROGRAM
    return None


def beyond_oracle(scenario: Scenario, variant: Variant) -> str | None:
    """Why the oracle cannot load a scenario that this project can; None if they should agree, also in refusing."""
    name, arch = scenario.fixture, variant.target.arch
    if uses_musl(variant) and name in ("ifunc", "ifunc_client"):
        return _NO_IFUNC
    if arch.startswith("riscv") and Role.TLS_DESC in scenario.recipe.expects:
        return _NO_DESCRIPTORS
    return _BEYOND.get((arch, name)) or _BEYOND.get((variant.name, scenario.key))


_NO_IFUNC = "musl has no indirect functions"
_NO_DESCRIPTORS = "this release of the C library's dynamic linker has no TLS descriptors for RISC-V"
_WEAK_TLS = "the dynamic linker reads the module of an undefined weak thread-local symbol"
_BEYOND: Mapping[tuple[str, str], str] = {
    ("riscv32", "tls_weak"): _WEAK_TLS,
    ("loongarch64", "tls_weak"): _WEAK_TLS,
    ("i386-gcc", "tls_desc lazily"): "glibc 2.41 crashes when it binds GNU ld's descriptors lazily",
    ("i386-clang", "exe/copy"): "qemu-user places the dynamic linker, run by name, at the program's address",
    ("x86_64-gcc", "textrel"): "glibc does not support R_X86_64_PC64 in a shared object",
}

_LIB = "$LIB is lib or lib64 here, lib/<multiarch name> in Debian's glibc"
_MUSL_VERSIONS = "musl ignores symbol versions"
_DIFFERENT: Mapping[str, str] = {
    "rpath/by_lib_token": _LIB,
}
_DIFFERENT_WITH_MUSL: Mapping[str, str] = {
    "ifunc_fault": "musl refuses an indirect function; here its resolver is run, and faults",
    "rpath/by_runpath": "in musl a library's dependencies inherit its RUNPATH",
    "symbolic_list after interposer": "musl ignores DF_SYMBOLIC",
    **{
        f"versions/client_{client} with versions/{age}": _MUSL_VERSIONS
        for client, ages in (
            ("v1", ("v2", "v3")),
            ("v2", ("v1",)),
            ("v3", ("v1", "v2")),
            ("v3_weak", ("v1", "v2")),
            ("unversioned", ("v2", "v3")),
        )
        for age in ages
    },
}


def different(scenario: Scenario, variant: Variant) -> str | None:
    """Why this project and the oracle intentionally differ; None if they must agree."""
    if uses_musl(variant) and scenario.key in _DIFFERENT_WITH_MUSL:
        return _DIFFERENT_WITH_MUSL[scenario.key]
    return _DIFFERENT.get(scenario.key)
