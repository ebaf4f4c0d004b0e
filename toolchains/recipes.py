"""What is built: one row per fixture. Order matters only in that a row's `needs` stand above it.

Most shared objects and the executables stand here, shared objects for one kind of dynamic relocation in
`relocation_recipes.py`, relocatable objects in `objects.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from toolchains.objects import OBJECTS
from toolchains.recipe import ARM, X86, Kind, Recipe, roles
from toolchains.relocation_recipes import RELOCATIONS
from toolchains.targets import Role

R = Role


# What GNU ld does on x86 unless told otherwise, as these fixtures are for the sake of size.
_SEPARATE = {f"{name}-gcc": ("-z", "separate-code") for name in X86}
_BASIC = [
    Recipe(
        "basic",
        ("basic/basic.c",),
        ldflags_on=_SEPARATE,
        expects=roles(R.RELATIVE, R.SYMBOLIC, R.JUMP_SLOT, R.GLOB_DAT),
    ),
    Recipe("basic-dwarf", ("basic/basic.c", "basic/prototypes.c"), cflags=("-g", "-gdwarf-4"), strip=()),
    Recipe("basic-dwarf5", ("basic/prototypes.c",), cflags=("-g", "-gdwarf-5"), strip=()),
    # The same code in other containers: no section headers at all, and segments laid out for 64 KiB pages.
    Recipe("basic-nosections", ("basic/basic.c",), ldflags=("-z", "nosectionheader")),
    Recipe("basic-64k", ("basic/basic.c",), ldflags=("-z", "max-page-size=65536"), expects=roles(R.RELATIVE)),
    Recipe(
        "basic-now",
        ("basic/basic.c",),
        ldflags=("-z", "now", "-z", "nodelete"),
        ldflags_on=_SEPARATE,
        expects=roles(R.JUMP_SLOT),
    ),
    Recipe("cxx", ("cxx/cxx.cpp",), ldflags_on=_SEPARATE, expects=roles(R.RELATIVE, R.SYMBOLIC, R.JUMP_SLOT)),
    Recipe(
        "cxx_exceptions",
        ("cxx/exceptions.cpp",),
        cflags=("-fexceptions",),
        ldflags_on=_SEPARATE,
        expects=roles(R.JUMP_SLOT),
    ),
    Recipe("bss", ("relocs/bss.c",), expects=roles(R.SYMBOLIC)),
    Recipe("imports", ("relocs/imports.c",), expects=roles(R.SYMBOLIC, R.JUMP_SLOT)),
    Recipe("interwork", ("relocs/interwork.c",), targets=ARM, expects=roles(R.SYMBOLIC, R.RELATIVE)),
]

_DEPS = [
    Recipe("deps/libleaf", ("deps/leaf.c",)),
    Recipe("deps/libmid", ("deps/mid.c",), needs=("deps/libleaf",)),
    Recipe("deps/libside", ("deps/side.c",), needs=("deps/libleaf",)),
    Recipe("deps/libtop", ("deps/top.c",), needs=("deps/libmid", "deps/libside"), expects=roles(R.SYMBOLIC)),
    Recipe("deps/libcycle_a", ("deps/cycle_a.c",), stubs=("libcycle_b.so",)),
    Recipe("deps/libcycle_b", ("deps/cycle_b.c",), stubs=("libcycle_a.so",)),
    Recipe("deps/needs_missing", ("deps/renamed.c",), stubs=("libnowhere.so.3", "libalso_nowhere.so")),
    Recipe("deps/renamed_file", ("deps/renamed.c",), soname="librenamed.so.1"),
    Recipe("deps/renamed_client", ("deps/renamed_client.c",), needs=("deps/renamed_file",)),
    Recipe("deps/no_soname", ("deps/renamed.c",), soname=""),
]

_INNER_AND_DEEP = ("rpath/lib/libinner", "rpath/lib/libdeep")
_RPATH = [
    Recipe("rpath/lib/libdeep", ("deps/deep.c",)),
    # Needs libdeep.so but says nothing of where: only an inherited RPATH finds it.
    Recipe("rpath/lib/libinner", ("deps/inner.c",), needs=("rpath/lib/libdeep",)),
    Recipe(
        "rpath/by_rpath",
        ("deps/application.c",),
        needs=("rpath/lib/libinner",),
        ldflags=("--disable-new-dtags", "-rpath", "$ORIGIN/lib"),
    ),
    Recipe(
        "rpath/by_runpath",
        ("deps/application.c",),
        needs=("rpath/lib/libinner",),
        ldflags=("--enable-new-dtags", "-rpath", "$ORIGIN/lib"),
    ),
    *(
        Recipe(
            f"rpath/{name}",
            ("deps/application.c",),
            needs=_INNER_AND_DEEP,
            ldflags=("--enable-new-dtags", "-rpath", path),
        )
        for name, path in (
            ("by_runpath_direct", "$ORIGIN/lib"),
            ("by_braces", "${ORIGIN}/lib"),
            ("by_lib_token", "$ORIGIN/$LIB"),
            ("by_several", "$ORIGIN/nowhere:$ORIGIN/lib"),
            ("sub/by_parent", "$ORIGIN/../lib"),
        )
    ),
]


def _noting(
    name: str, symbol: str, number: int, *needs: str, calls: str = "", stubs: tuple[str, ...] = ()
) -> Recipe:
    defines = (f"-DNAME={symbol}", f"-DNUMBER={number}", *((f"-DCALLS={calls}",) if calls else ()))
    return Recipe(
        f"startup/{name}",
        ("startup/noting.c",),
        cflags=defines,
        stubs=stubs,
        needs=(*(f"startup/{need}" for need in needs), "startup/liblog"),
    )


_STARTUP = [
    Recipe(
        "ctors",
        ("startup/ctors.c",),
        ldflags=("-init=fixture_init", "-fini=fixture_fini"),
        expects=roles(R.RELATIVE),
    ),
    Recipe("startup/liblog", ("startup/log.c",)),
    _noting("libbase", "base", 10),
    _noting("libmiddle", "middle", 20, "libbase", calls="base"),
    _noting("app", "app", 30, "libmiddle", calls="middle"),
    _noting("libring_a", "ring_a", 40, stubs=("libring_b.so",), calls="ring_b"),
    _noting("libring_b", "ring_b", 50, stubs=("libring_a.so",), calls="ring_a"),
    Recipe("startup/libctor_fault", ("startup/ctor_fault.c",), needs=("startup/liblog",)),
    _noting("needs_ctor_fault", "needs_fault", 70, "libctor_fault", "libbase"),
    Recipe("ctor_fault", ("startup/ctor_fault.c",), needs=("startup/liblog",)),
]


def _age(name: str, *defines: str, script: str = "") -> Recipe:
    return Recipe(
        f"versions/{name}/libversions",
        ("versions/versions.c",),
        cflags=tuple(f"-D{define}" for define in defines),
        ldflags=(f"--version-script={script}",) if script else (),
        inputs=(script,) if script else (),
    )


def _client(name: str, age: str, *defines: str, source: str = "versions/client.c") -> Recipe:
    return Recipe(f"versions/{name}", (source,), cflags=defines, needs=(f"versions/{age}/libversions",))


_OLD_AND_NEW = ('V1_MARK="@"', 'V2_MARK="@@"')
_VERSIONS = [
    _age("v1", "AGE=1", 'V1_MARK="@@"', script="versions/v1.map"),
    _age("v2", "AGE=2", *_OLD_AND_NEW, script="versions/v2.map"),
    _age("v3", "AGE=3", *_OLD_AND_NEW, script="versions/v3.map"),
    _age("none", "UNVERSIONED"),
    _client("client_v1", "v1"),
    _client("client_v2", "v2"),
    _client("client_v3", "v3", "-DNEEDS_V3"),
    _client("client_v3_weak", "v3", source="versions/weak_client.c"),
    _client("client_unversioned", "none"),
]

_HASH = [
    *(
        Recipe(f"hash_{style}", ("hash/few.c",), ldflags=(f"--hash-style={style}",))
        for style in ("sysv", "gnu", "both")
    ),
    Recipe("hash_many", ("hash/many.c",), ldflags=("--hash-style=both",)),
    Recipe("hash_empty_gnu", ("hash/empty.c",), ldflags=("--hash-style=gnu",), expects=roles(R.SYMBOLIC)),
    Recipe("hash_empty_sysv", ("hash/empty.c",), ldflags=("--hash-style=sysv",), expects=roles(R.SYMBOLIC)),
    Recipe("bare", ("hash/bare.c",)),
]

_CALLS = [
    Recipe("abi", ("abi/callee.c", "abi/caller.c"), cflags=("-ffp-contract=off",), expects=roles(R.JUMP_SLOT)),
    Recipe(
        "faults",
        ("faults/faults.c",),
        cflags=("-fno-optimize-sibling-calls", "-fno-omit-frame-pointer"),
        strip=("--strip-debug",),
        expects=roles(R.JUMP_SLOT),
    ),
    Recipe(
        "libcuser",
        ("libc/libcuser.c",),
        cflags=("-fno-builtin", "-fstack-protector-strong"),
        expects=roles(R.JUMP_SLOT, R.GLOB_DAT),
    ),
    Recipe("mathuser", ("libc/mathuser.c",), cflags=("-fno-builtin",), expects=roles(R.JUMP_SLOT)),
    Recipe("helpers", ("libc/helpers.c",)),
]

_PROGRAM = (
    "--export-dynamic",
    "--allow-shlib-undefined",
    "-dynamic-linker=/lib/ld-fixture.so.1",
    "-rpath",
    "$ORIGIN/../deps:$ORIGIN/..",
)
_EXECUTABLES = [
    # gcc's PIEs on x86_64 copy data unless told otherwise: that is exe/copy's subject.
    Recipe(
        "exe/pie",
        ("relocs/startup.c",),
        needs=("deps/libleaf",),
        kind=Kind.EXECUTABLE,
        cflags_on={"x86_64-gcc": ("-mno-direct-extern-access",)},
        ldflags=("-pie", *_PROGRAM),
        expects=roles(R.JUMP_SLOT),
    ),
    Recipe(
        "exe/copy",
        ("relocs/startup.c",),
        needs=("deps/libleaf",),
        kind=Kind.EXECUTABLE,
        pic=False,
        cflags_on={"clang": ("-fdirect-access-external-data",)},
        ldflags=("-no-pie", *_PROGRAM),
        lacks={"loongarch64-gcc": "GNU ld resolves external data to 0 instead of writing a COPY"},
        expects=roles(R.COPY, R.JUMP_SLOT),
    ),
    Recipe(
        "exe/tls",
        ("tls/executable.c",),
        needs=("libtls_other",),
        kind=Kind.EXECUTABLE,
        ldflags=("-pie", *_PROGRAM),
        expects=roles(R.TLS_STATIC),
    ),
]

RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        *_BASIC,
        *_DEPS,
        *_RPATH,
        *_STARTUP,
        *RELOCATIONS,
        *_VERSIONS,
        *_HASH,
        *_CALLS,
        *_EXECUTABLES,
        *OBJECTS,
    )
}
