"""Relocatable objects and archives: one row per fixture, and the static relocation types each must hold.

Every source is compiled with and without position-independent code, and with each code model of its target, by
both compilers. `static_types.py` lists the types that each fixture is for. Comments in the sources give the
results of their functions.
"""

from __future__ import annotations

from collections.abc import Mapping

from toolchains.recipe import ALL, ARM, LOONGARCH, RISCV, X86, Kind, On, Recipe
from toolchains.static_types import HOLDS

_A64 = ("aarch64",)
_X64 = ("x86_64",)
_NONE: On = {}


def _object(
    name: str,
    source: str,
    *cflags: str,
    pic: bool = True,
    targets: tuple[str, ...] = ALL,
    on: On = _NONE,
    lacks: Mapping[str, str] | None = None,
) -> Recipe:
    return Recipe(
        f"objects/{name}",
        (f"objects/{source}",),
        cflags=cflags,
        cflags_on=on,
        pic=pic,
        targets=targets,
        lacks=lacks or {},
        kind=Kind.OBJECT,
        holds_on=HOLDS.get(name, _NONE),
    )


# ---------------------------------------------------------------- the same sources, with and without -fPIC

_BOTH_WAYS = ("basic", "data", "calls", "switches")
_PLAIN = [
    *(_object(f"{way}/{name}", f"{name}.c", pic=way == "pic") for way in ("pic", "nopic") for name in _BOTH_WAYS),
    _object("ctors", "ctors.c"),
    _object("commons", "commons.c", "-fcommon"),
    # One section per function and datum, as for --gc-sections.
    _object("sections", "calls.c", "-ffunction-sections", "-fdata-sections"),
    # Unwind tables as compilers write them by default: .eh_frame, on Arm .ARM.exidx.
    _object("unwind", "calls.c", "-fasynchronous-unwind-tables", on=dict.fromkeys(ARM, ("-funwind-tables",))),
    # GOT entries instead of PLT entries for calls, which a linker may relax.
    _object("no_plt", "calls.c", "-fno-plt", targets=(*X86, "aarch64")),
    _object("debug", "basic.c", "-g", "-gdwarf-5"),
    _object("comdat_a", "comdat_a.cpp"),
    _object("comdat_b", "comdat_b.cpp"),
    # Without linker relaxation: fewer relocations, and none marked R_*_RELAX.
    _object("no_relax", "calls.c", "-mno-relax", targets=(*RISCV, *LOONGARCH)),
    # Calls that may be out of range.
    _object("long_calls", "calls.c", pic=False, targets=ARM, on=dict.fromkeys(ARM, ("-mlong-calls",))),
    _object("words", "words.c"),
    _object("branches", "branches.c"),
]

# ---------------------------------------------------------------- code models

_MODELS: Mapping[str, tuple[tuple[str, ...], bool]] = {
    # name: (targets, position-independent)
    "large": (_X64, True),
    "kernel": (_X64, False),
    "tiny": (_A64, False),
    "medlow": (RISCV, False),
    "medany": (RISCV, False),
}
_BY_MODEL = [
    *(
        _object(f"{model}/{name}", f"{name}.c", f"-mcmodel={model}", pic=pic, targets=targets)
        for model, (targets, pic) in _MODELS.items()
        for name in ("basic", "calls", "data")
    ),
    # AArch64's and LoongArch's largest models are not for position-independent code, or only for it.
    *(
        _object(f"large_absolute/{name}", f"{name}.c", "-mcmodel=large", pic=False, targets=(*_X64, *_A64))
        for name in ("basic", "calls")
    ),
    *(
        _object(f"{model}/{name}", f"{name}.c", f"-mcmodel={model}", targets=LOONGARCH)
        for model in ("normal", "extreme")
        for name in ("basic", "calls")
    ),
    # All data is large: .ldata, .lbss, .lrodata, addressed with 64-bit distances.
    *(
        _object(
            f"medium/{name}",
            f"{name}.c",
            "-mcmodel=medium",
            targets=(*_X64, *LOONGARCH),
            on={"x86_64": ("-mlarge-data-threshold=0",)},
        )
        for name in ("basic", "calls", "data")
    ),
    # A GOT of at most 32 KiB, addressed from its page.
    _object("small_pic/basic", "basic.c", "-fpic", targets=_A64),
]

# ---------------------------------------------------------------- thread-local storage, by model and dialect

_NO_DESCRIPTORS = dict.fromkeys((f"{name}-clang" for name in ARM), "clang has no TLS descriptors for Arm")
_TRADITIONAL = {"aarch64-clang": "clang has only TLS descriptors for AArch64"}
_TLS = [
    _object(
        "tls/general_dynamic",
        "tls.c",
        "-ftls-model=global-dynamic",
        lacks=_TRADITIONAL,
        on={"aarch64-gcc": ("-mtls-dialect=trad",)},
    ),
    _object(
        "tls/local_dynamic",
        "tls.c",
        "-ftls-model=local-dynamic",
        lacks=_TRADITIONAL,
        on={"aarch64-gcc": ("-mtls-dialect=trad",)},
    ),
    _object("tls/initial_exec", "tls.c", "-ftls-model=initial-exec"),
    _object("tls/initial_exec_nopic", "tls.c", "-ftls-model=initial-exec", pic=False),
    _object("tls/local_exec", "tls.c", "-ftls-model=local-exec", pic=False),
    _object(
        "tls/descriptors",
        "tls.c",
        lacks=_NO_DESCRIPTORS,
        on={
            **dict.fromkeys((*X86, *ARM), ("-mtls-dialect=gnu2",)),
            **dict.fromkeys((*RISCV, *LOONGARCH), ("-mtls-dialect=desc",)),
        },
    ),
]

# How far thread-local data may lie, in bits; the tiny model's short distances; LoongArch's 64-bit ones.
_TLS += [
    *(
        _object(
            f"tls/size{bits}",
            "tls.c",
            "-ftls-model=local-exec",
            f"-mtls-size={bits}",
            f"-mcmodel={model}",
            pic=False,
            targets=_A64,
        )
        for bits, model in ((12, "small"), (32, "small"), (48, "large"))
    ),
    _object("tls/tiny_initial_exec", "tls.c", "-mcmodel=tiny", "-ftls-model=initial-exec", targets=_A64),
    _object("tls/instructions", "tls_insns.c", targets=_A64),
    *(
        _object(f"tls/extreme_{name}", "tls.c", "-mcmodel=extreme", *flags, targets=LOONGARCH)
        for name, flags in (
            ("general_dynamic", ("-ftls-model=global-dynamic",)),
            ("initial_exec", ("-ftls-model=initial-exec",)),
            ("local_exec", ("-ftls-model=local-exec",)),
            ("descriptors", ("-mtls-dialect=desc",)),
        )
    ),
]

# ---------------------------------------------------------------- archives

_ARCHIVES = [
    Recipe(
        "objects/libchain",
        tuple(
            f"objects/archive/{name}.c" for name in ("unused", "bottom_with_a_long_member_name", "middle", "top")
        ),
        kind=Kind.ARCHIVE,
    ),
]

OBJECTS: tuple[Recipe, ...] = (*_PLAIN, *_BY_MODEL, *_TLS, *_ARCHIVES)
