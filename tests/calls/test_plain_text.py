"""Plain text means without the C parser what it means to the parser; all other text is left to the parser."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from emu.calls import prototypes
from emu.calls.plain_text import read
from emu.calls.scope import Scope
from emu.calls.types import CType
from emu.errors import CallError
from emu.isa.registry import ISAS, convention
from emu.libc import table
from tests.sampling import everything, examples

SPECIFIERS = "int char long short unsigned signed void double float _Bool __int128 _Float128 _Float16".split()
NAMES = "size_t FILE wchar_t va_list locale_t bool int8_t float_t point row handler nothing".split()
OTHERS = """
    const volatile restrict const * * * * x y f ( ) , ... struct enum union static register inline _Complex _Atomic
    offsetof asm _Generic _Pragma __builtin_va_arg noreturn __attribute__ 3x foo & [ ] sizeof typedef __restrict
""".split()


def scope(arch: str) -> Scope:
    made = Scope()
    for name, text in {
        "point": "struct point", "row": "int[4]", "handler": "int(int)", "nothing": "void",
    }.items():  # fmt: skip
        made.add(name, prototypes.parse_type(text, arch))
    return made


def by_parser(text: str, arch: str, monkeypatch: pytest.MonkeyPatch) -> tuple[CType, str] | str:
    with monkeypatch.context() as patch:
        patch.setattr(prototypes, "read", lambda *arguments: None)
        return parsed(text, arch)


def parsed(text: str, arch: str) -> tuple[CType, str] | str:
    try:
        return prototypes._parse_in(text, arch, scope(arch))
    except CallError as error:
        return str(error)


@pytest.mark.parametrize("arch", ISAS)
def test_prototypes_of_the_hosted_library_are_plain(
    arch: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = sorted({row.prototype for row in table.functions(ISAS[arch])})
    compared = texts if everything(request.config) else texts[list(ISAS).index(arch) :: 40]
    for text in texts:
        assert read(text, convention(arch).data, Scope()) is not None, text
    for text in compared:
        assert prototypes._parse_in(text, arch, Scope()) == by_parser(text, arch, monkeypatch), text


def declared(rng: random.Random) -> str:
    words = SPECIFIERS[:8] + NAMES + ["*", "*", "x", "y", "const"]
    return " ".join(rng.choice(words if rng.random() < 0.95 else OTHERS) for _ in range(rng.randint(1, 4)))


def text_of(rng: random.Random) -> str:
    if rng.random() < 0.3:
        return " ".join(rng.choice(SPECIFIERS + NAMES + OTHERS) for _ in range(rng.randint(1, 8)))
    parameters = [declared(rng) for _ in range(rng.randint(0, 3))] + ["..."] * (rng.random() < 0.2)
    return declared(rng) + (f"({', '.join(parameters)})" if rng.random() < 0.8 else "")


@pytest.mark.parametrize("arch", ISAS)
def test_any_text_means_what_it_means_to_the_parser(arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, plain = random.Random(arch), 0
    for _ in range(examples(400)):
        text = text_of(rng)
        found = parsed(text, arch)
        assert found == by_parser(text, arch, monkeypatch), text
        plain += read(text, convention(arch).data, scope(arch)) is not None
    assert plain > examples(400) // 20


@pytest.mark.parametrize(
    "text",
    [
        "int f(int size_t)", "int f(row)", "row f(int)", "int f(void x)", "int f(void, ...)", "int f(...)",
        "int offsetof(int)", "int f(int), g(int)", "int f(int\fx)", "int f(int x__attributes_0)", "int é(int)",
        "x f(int)", "f(int)", "const x", "long long long f(int)", "int " + "*" * 51, "_Complex double f(void)",
    ],
)  # fmt: skip
def test_what_is_not_plain_is_left_to_the_parser(text: str) -> None:
    assert read(text, convention("riscv64").data, scope("riscv64")) is None


def test_a_call_by_a_plain_prototype_imports_no_parser() -> None:
    program = (
        "import sys; from emu.calls.plan import plan_call\n"
        "plan_call('arm', 'int printf(const char *format, ...)')\n"
        "print([name for name in ('pycparser', 'emu.calls.declarations') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
