"""What is built: one row per fixture. Order matters only in that a row's `needs` stand above it.

Shared objects and executables stand here, relocatable objects in `objects.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from toolchains.objects import OBJECTS
from toolchains.recipe import ALL, ARM, RELA, X86, Kind, Recipe
from toolchains.targets import Role

R = Role


def _roles(*roles: Role) -> frozenset[Role]:
    return frozenset(roles)


def _for(targets: tuple[str, ...], *roles: Role) -> Mapping[str, frozenset[Role]]:
    return {target: frozenset(roles) for target in targets}


# What GNU ld does on x86 unless told otherwise, as these fixtures are for the sake of size.
_SEPARATE = {f"{name}-gcc": ("-z", "separate-code") for name in X86}
_BASIC = [
    Recipe(
        "basic",
        ("basic/basic.c",),
        ldflags_on=_SEPARATE,
        expects=_roles(R.RELATIVE, R.SYMBOLIC, R.JUMP_SLOT, R.GLOB_DAT),
    ),
    Recipe("basic-dwarf", ("basic/basic.c", "basic/prototypes.c"), cflags=("-g", "-gdwarf-4"), strip=()),
    Recipe("basic-dwarf5", ("basic/prototypes.c",), cflags=("-g", "-gdwarf-5"), strip=()),
    # The same code in other containers: no section headers at all, and segments laid out for 64 KiB pages.
    Recipe("basic-nosections", ("basic/basic.c",), ldflags=("-z", "nosectionheader")),
    Recipe("basic-64k", ("basic/basic.c",), ldflags=("-z", "max-page-size=65536"), expects=_roles(R.RELATIVE)),
    Recipe(
        "basic-now",
        ("basic/basic.c",),
        ldflags=("-z", "now", "-z", "nodelete"),
        ldflags_on=_SEPARATE,
        expects=_roles(R.JUMP_SLOT),
    ),
    Recipe("cxx", ("cxx/cxx.cpp",), ldflags_on=_SEPARATE, expects=_roles(R.RELATIVE, R.SYMBOLIC, R.JUMP_SLOT)),
    Recipe(
        "cxx_exceptions",
        ("cxx/exceptions.cpp",),
        cflags=("-fexceptions",),
        ldflags_on=_SEPARATE,
        expects=_roles(R.JUMP_SLOT),
    ),
    Recipe("bss", ("relocs/bss.c",), expects=_roles(R.SYMBOLIC)),
    Recipe("imports", ("relocs/imports.c",), expects=_roles(R.SYMBOLIC, R.JUMP_SLOT)),
    Recipe("interwork", ("relocs/interwork.c",), targets=ARM, expects=_roles(R.SYMBOLIC, R.RELATIVE)),
]

_DEPS = [
    Recipe("deps/libleaf", ("deps/leaf.c",)),
    Recipe("deps/libmid", ("deps/mid.c",), needs=("deps/libleaf",)),
    Recipe("deps/libside", ("deps/side.c",), needs=("deps/libleaf",)),
    Recipe("deps/libtop", ("deps/top.c",), needs=("deps/libmid", "deps/libside"), expects=_roles(R.SYMBOLIC)),
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
        expects=_roles(R.RELATIVE),
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

# AArch64 has descriptors by default: clang knows nothing else there, gcc is asked for the traditional dialect.
_TRADITIONAL = {"aarch64-gcc": ("-mtls-dialect=trad",)}
_DIALECT = {
    name: ("-mtls-dialect=gnu2" if name in (*X86, *ARM) else "-mtls-dialect=desc",)
    for name in ALL
    if name != "aarch64"
}
_TLS_EXPECTS = {
    **_for(tuple(name for name in ALL if name != "aarch64"), R.TLS_MODULE, R.TLS_OFFSET),
    **_for(("aarch64-gcc",), R.TLS_MODULE, R.TLS_OFFSET),
    **_for(("aarch64-clang",), R.TLS_DESC),
}
_NO_DESCRIPTORS = dict.fromkeys((f"{name}-clang" for name in ARM), "clang has no TLS descriptors for Arm")


def _tls(name: str, source: str, needs: tuple[str, ...], *roles: Role) -> list[Recipe]:
    """A TLS fixture twice: in the target's default dialect, and with descriptors where it has them."""
    return [
        Recipe(
            name, (source,), needs=needs, expects=_roles(*roles), expects_on=_TLS_EXPECTS, cflags_on=_TRADITIONAL
        ),
        Recipe(
            f"{name}_desc",
            (source,),
            needs=needs,
            lacks=_NO_DESCRIPTORS,
            cflags_on=_DIALECT,
            expects=_roles(R.TLS_DESC, *roles),
        ),
    ]


_TLS = [
    Recipe("libtls_other", ("tls/other.c",), expects_on=_TLS_EXPECTS, cflags_on=_TRADITIONAL),
    *_tls("tls", "tls/tls.c", ("libtls_other",), R.TLS_STATIC),
    *_tls("tls_dynamic", "tls/dynamic.c", ()),
    *_tls("tls_aligned", "tls/aligned.c", (), R.TLS_STATIC),
    Recipe("tls_static", ("tls/static_only.c",), expects=_roles(R.TLS_STATIC)),
    Recipe("tls_weak", ("tls/weak.c",), expects_on=_TLS_EXPECTS, cflags_on=_TRADITIONAL),
    Recipe(
        "tls_textrel",
        ("tls/textrel.c",),
        needs=("libtls_other",),
        targets=("i386",),
        pic=False,
        ldflags=("-z", "notext"),
        expects=_roles(R.TLS_STATIC, R.RELATIVE),
    ),
]

_IFUNC = [
    # GNU as and ld let a Thumb tail call of a hidden IFUNC jump into nowhere.
    Recipe(
        "ifunc",
        ("ifunc/ifunc.c",),
        cflags_on={"thumb-gcc": ("-fno-optimize-sibling-calls",)},
        expects=_roles(R.IRELATIVE, R.SYMBOLIC, R.JUMP_SLOT, R.GLOB_DAT),
    ),
    # GNU ld serves a function that is both called and pointed to from one GOT slot on x86.
    Recipe(
        "ifunc_client",
        ("ifunc/client.c",),
        needs=("ifunc",),
        expects=_roles(R.SYMBOLIC),
        expects_on={"clang": _roles(R.JUMP_SLOT), **{f"{name}-gcc": _roles(R.GLOB_DAT) for name in X86}},
    ),
    Recipe("ifunc_fault", ("ifunc/fault.c",), expects=_roles(R.JUMP_SLOT)),
]

_RELR = {"clang": ("--pack-dyn-relocs=relr",), "gcc": ("-z", "pack-relative-relocs")}
_NO_RELR = {
    f"{name}-gcc": "GNU ld ignores -z pack-relative-relocs for this target"
    for name in (*ARM, "riscv64", "riscv32")
}
_NO_APS2 = {"gcc": "GNU ld has no Android packed relocations"}
_PACKED = [
    Recipe(
        "relr",
        ("relocs/packed.c",),
        ldflags_on=_RELR,
        lacks=_NO_RELR,
        expects=_roles(R.RELR, R.RELATIVE, R.SYMBOLIC),
    ),
    Recipe(
        "relr_only",
        ("relocs/packed.c",),
        ldflags_on=_RELR,
        lacks=_NO_RELR,
        cflags=("-DNO_UNALIGNED",),
        expects=_roles(R.RELR),
    ),
    Recipe(
        "android",
        ("relocs/packed.c",),
        ldflags=("--pack-dyn-relocs=android",),
        lacks=_NO_APS2,
        expects=_roles(R.APS2),
    ),
    Recipe(
        "android_relr",
        ("relocs/packed.c",),
        ldflags=("--pack-dyn-relocs=android+relr",),
        lacks=_NO_APS2,
        expects=_roles(R.APS2, R.RELR),
    ),
    Recipe("nocombreloc", ("relocs/packed.c",), ldflags=("-z", "nocombreloc"), expects=_roles(R.RELATIVE)),
    # REL where the psABI says RELA: no dynamic linker need accept it; a reader must not crash.
    Recipe(
        "rel_format",
        ("relocs/packed.c",),
        ldflags=("-z", "rel"),
        targets=RELA,
        lacks={"gcc": "GNU ld writes the psABI's format only"},
        expects=_roles(R.RELATIVE),
    ),
]

_LIST = "relocs/symbolic.list"
_DATA = [
    Recipe("libprovider", ("relocs/provider.c",)),
    *(
        Recipe(
            name,
            ("relocs/datarel.c", "relocs/special.c"),
            needs=("libprovider",),
            cflags=("-fcommon",),
            ldflags=ldflags,
            expects=_roles(R.RELATIVE, R.SYMBOLIC, R.GLOB_DAT, R.JUMP_SLOT),
        )
        for name, ldflags in (("datarel", ()), ("datarel_now", ("-z", "now", "-z", "relro")))
    ),
    Recipe(
        "textrel",
        ("relocs/textrel.c",),
        needs=("libprovider",),
        ldflags=("-z", "notext"),
        expects=_roles(R.SYMBOLIC, R.RELATIVE),
        expects_on={"i386": _roles(R.PC_RELATIVE), "x86_64": _roles(R.SIZE)},
    ),
    Recipe(
        "textrel_nopic",
        ("relocs/textrel.c",),
        needs=("libprovider",),
        ldflags=("-z", "notext"),
        pic=False,
        targets=("i386", *ARM),
        cflags_on={
            **{f"{name}-clang": ("-mno-movt",) for name in ARM},
            **{f"{name}-gcc": ("-mword-relocations",) for name in ARM},
        },
        expects=_roles(R.SYMBOLIC),
        expects_on={"i386": _roles(R.PC_RELATIVE)},
    ),
    # lld resolves at link time what -Bsymbolic allows; the dynamic list keeps the names in the dynamic
    # linker's hands, with DF_SYMBOLIC set.
    *(
        Recipe(
            name,
            ("relocs/symbolic.c",),
            cflags=("-fsemantic-interposition",),
            ldflags=ldflags,
            inputs=inputs,
            expects=_roles(role),
            lacks={"gcc": "with a dynamic list GNU ld leaves DF_SYMBOLIC out"} if inputs else {},
        )
        for name, ldflags, inputs, role in (
            ("symbolic", ("-Bsymbolic",), (), R.RELATIVE),
            ("symbolic_list", ("-Bsymbolic", f"--dynamic-list={_LIST}"), (_LIST,), R.SYMBOLIC),
            ("not_symbolic", (), (), R.SYMBOLIC),
        )
    ),
    Recipe("interposer", ("relocs/interposer.c",)),
    Recipe(
        "variant_pcs",
        ("relocs/variant.c",),
        stubs=("libprovider.so",),
        expects=_roles(R.JUMP_SLOT),
        targets=("aarch64", "riscv64", "riscv32"),
    ),
    # PLT entries of another shape: landing pads. Not -z pac-plt: its entries authenticate pointers that no
    # dynamic linker signs (under glibc they fault).
    Recipe(
        "plt_landing_pads",
        ("relocs/datarel.c", "relocs/special.c"),
        needs=("libprovider",),
        targets=(*X86, "aarch64"),
        expects=_roles(R.JUMP_SLOT),
        cflags=("-fcommon",),
        cflags_on={
            **dict.fromkeys(X86, ("-fcf-protection=branch",)),
            "aarch64": ("-mbranch-protection=standard",),
        },
        ldflags_on={
            **{f"{name}-clang": ("-z", "force-ibt") for name in X86},
            **{f"{name}-gcc": ("-z", "ibtplt") for name in X86},
            "aarch64": ("-z", "force-bti"),
        },
    ),
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
    Recipe("hash_empty_gnu", ("hash/empty.c",), ldflags=("--hash-style=gnu",), expects=_roles(R.SYMBOLIC)),
    Recipe("hash_empty_sysv", ("hash/empty.c",), ldflags=("--hash-style=sysv",), expects=_roles(R.SYMBOLIC)),
    Recipe("bare", ("hash/bare.c",)),
]

_CALLS = [
    Recipe("abi", ("abi/callee.c", "abi/caller.c"), cflags=("-ffp-contract=off",), expects=_roles(R.JUMP_SLOT)),
    Recipe(
        "faults",
        ("faults/faults.c",),
        cflags=("-fno-optimize-sibling-calls", "-fno-omit-frame-pointer"),
        strip=("--strip-debug",),
        expects=_roles(R.JUMP_SLOT),
    ),
    Recipe(
        "libcuser",
        ("libc/libcuser.c",),
        cflags=("-fno-builtin", "-fstack-protector-strong"),
        expects=_roles(R.JUMP_SLOT, R.GLOB_DAT),
    ),
    Recipe("mathuser", ("libc/mathuser.c",), cflags=("-fno-builtin",), expects=_roles(R.JUMP_SLOT)),
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
        expects=_roles(R.JUMP_SLOT),
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
        expects=_roles(R.COPY, R.JUMP_SLOT),
    ),
    Recipe(
        "exe/tls",
        ("tls/executable.c",),
        needs=("libtls_other",),
        kind=Kind.EXECUTABLE,
        ldflags=("-pie", *_PROGRAM),
        expects=_roles(R.TLS_STATIC),
    ),
]

RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        *_BASIC,
        *_DEPS,
        *_RPATH,
        *_STARTUP,
        *_TLS,
        *_IFUNC,
        *_PACKED,
        *_DATA,
        *_VERSIONS,
        *_HASH,
        *_CALLS,
        *_EXECUTABLES,
        *OBJECTS,
    )
}
