"""Shared objects for one kind of dynamic relocation each: thread-local storage, IFUNCs, packed tables, data."""

from __future__ import annotations

from collections.abc import Mapping

from toolchains.recipe import ALL, ARM, RELA, X86, Recipe, roles
from toolchains.targets import Role

R = Role


def _for(targets: tuple[str, ...], *roles: Role) -> Mapping[str, frozenset[Role]]:
    return {target: frozenset(roles) for target in targets}


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


def _tls(name: str, source: str, needs: tuple[str, ...], *others: Role) -> list[Recipe]:
    """A TLS fixture twice: in the target's default dialect, and with descriptors where it has them."""
    return [
        Recipe(
            name, (source,), needs=needs, expects=roles(*others), expects_on=_TLS_EXPECTS, cflags_on=_TRADITIONAL
        ),
        Recipe(
            f"{name}_desc",
            (source,),
            needs=needs,
            lacks=_NO_DESCRIPTORS,
            cflags_on=_DIALECT,
            expects=roles(R.TLS_DESC, *others),
        ),
    ]


_TLS = [
    Recipe("libtls_other", ("tls/other.c",), expects_on=_TLS_EXPECTS, cflags_on=_TRADITIONAL),
    *_tls("tls", "tls/tls.c", ("libtls_other",), R.TLS_STATIC),
    *_tls("tls_dynamic", "tls/dynamic.c", ()),
    *_tls("tls_aligned", "tls/aligned.c", (), R.TLS_STATIC),
    Recipe("tls_static", ("tls/static_only.c",), expects=roles(R.TLS_STATIC)),
    Recipe("tls_weak", ("tls/weak.c",), expects_on=_TLS_EXPECTS, cflags_on=_TRADITIONAL),
    Recipe(
        "tls_textrel",
        ("tls/textrel.c",),
        needs=("libtls_other",),
        targets=("i386",),
        pic=False,
        ldflags=("-z", "notext"),
        expects=roles(R.TLS_STATIC, R.RELATIVE),
    ),
]

_IFUNC = [
    # GNU as and ld let a Thumb tail call of a hidden IFUNC jump into nowhere.
    Recipe(
        "ifunc",
        ("ifunc/ifunc.c",),
        cflags_on={"thumb-gcc": ("-fno-optimize-sibling-calls",)},
        expects=roles(R.IRELATIVE, R.SYMBOLIC, R.JUMP_SLOT, R.GLOB_DAT),
    ),
    # GNU ld serves a function that is both called and pointed to from one GOT slot on x86.
    Recipe(
        "ifunc_client",
        ("ifunc/client.c",),
        needs=("ifunc",),
        expects=roles(R.SYMBOLIC),
        expects_on={"clang": roles(R.JUMP_SLOT), **{f"{name}-gcc": roles(R.GLOB_DAT) for name in X86}},
    ),
    Recipe("ifunc_fault", ("ifunc/fault.c",), expects=roles(R.JUMP_SLOT)),
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
        expects=roles(R.RELR, R.RELATIVE, R.SYMBOLIC),
    ),
    Recipe(
        "relr_only",
        ("relocs/packed.c",),
        ldflags_on=_RELR,
        lacks=_NO_RELR,
        cflags=("-DNO_UNALIGNED",),
        expects=roles(R.RELR),
    ),
    Recipe(
        "android",
        ("relocs/packed.c",),
        ldflags=("--pack-dyn-relocs=android",),
        lacks=_NO_APS2,
        expects=roles(R.APS2),
    ),
    Recipe(
        "android_relr",
        ("relocs/packed.c",),
        ldflags=("--pack-dyn-relocs=android+relr",),
        lacks=_NO_APS2,
        expects=roles(R.APS2, R.RELR),
    ),
    Recipe("nocombreloc", ("relocs/packed.c",), ldflags=("-z", "nocombreloc"), expects=roles(R.RELATIVE)),
    # REL where the psABI says RELA: no dynamic linker need accept it; a reader must not crash.
    Recipe(
        "rel_format",
        ("relocs/packed.c",),
        ldflags=("-z", "rel"),
        targets=RELA,
        lacks={"gcc": "GNU ld writes the psABI's format only"},
        expects=roles(R.RELATIVE),
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
            expects=roles(R.RELATIVE, R.SYMBOLIC, R.GLOB_DAT, R.JUMP_SLOT),
        )
        for name, ldflags in (("datarel", ()), ("datarel_now", ("-z", "now", "-z", "relro")))
    ),
    Recipe(
        "textrel",
        ("relocs/textrel.c",),
        needs=("libprovider",),
        ldflags=("-z", "notext"),
        expects=roles(R.SYMBOLIC, R.RELATIVE),
        expects_on={"i386": roles(R.PC_RELATIVE), "x86_64": roles(R.SIZE)},
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
        expects=roles(R.SYMBOLIC),
        expects_on={"i386": roles(R.PC_RELATIVE)},
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
            expects=roles(role),
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
        expects=roles(R.JUMP_SLOT),
        targets=("aarch64", "riscv64", "riscv32"),
    ),
    # PLT entries of another shape: landing pads. Not -z pac-plt: its entries authenticate pointers that no
    # dynamic linker signs (under glibc they fault).
    Recipe(
        "plt_landing_pads",
        ("relocs/datarel.c", "relocs/special.c"),
        needs=("libprovider",),
        targets=(*X86, "aarch64"),
        expects=roles(R.JUMP_SLOT),
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

RELOCATIONS = (*_TLS, *_IFUNC, *_PACKED, *_DATA)
