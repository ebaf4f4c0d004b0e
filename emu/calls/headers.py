"""C headers: the types, functions and constants that they declare, for a data model.

A header without directives is parsed directly. A header with `#include` and other directives is first preprocessed
by a compiler for the target (by any compiler, if it only includes its own headers): a cross gcc, clang, or the
clang of the ziglang wheel. Declarations are parsed separately: one that pycparser does not understand is listed in
`problems`, and the others are kept.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

from emu.calls.attributes import move_attributes
from emu.calls.basic import FORMAT_NAMES
from emu.calls.constants import integer_literal
from emu.calls.declarations import Builder
from emu.calls.namespace import Types
from emu.calls.prototypes import spelt
from emu.calls.scope import Scope
from emu.calls.typedefs import TYPEDEFS
from emu.errors import CallError
from emu.isa.convention import CallingConvention
from emu.isa.registry import ISAS

_TIMEOUT = 60.0  #: time limit of the preprocessor in seconds
_MOST = 64 << 20  #: limit for the preprocessed text in bytes
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/|(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')", re.DOTALL)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|[A-Za-z_]\w*|[{}();]|[^A-Za-z_{}();"\']+', re.DOTALL)
_WORD = re.compile(r"[A-Za-z_]\w*")
_PACK = re.compile(r"#\s*pragma\s+pack\s*\(\s*(?:(push|pop)\s*,?\s*)?(\d*)\s*\)")
_DEFINE = re.compile(r"#\s*define\s+([A-Za-z_]\w*)\s+(.+)")
_ASSEMBLER_NAME = re.compile(r"\b(?:asm|__asm__|__asm)\s*(?:volatile\s*)?\((?:[^()]|\([^()]*\))*\)")


class HeaderKeywords(TypedDict, total=False):
    """How a header is preprocessed."""

    include: Sequence[str | os.PathLike[str]]  #: folders for #include, after the header's own
    defines: Mapping[str, object]  #: macros
    compiler: Sequence[str]  #: the command for preprocessing, instead of a compiler that is searched for


def header_types(
    source: str | os.PathLike[str], rules: CallingConvention, **options: Unpack[HeaderKeywords]
) -> Types:
    """The declarations of a header (a path, or C text). Raises CallError when a required compiler is missing or
    fails.
    """
    include, defines = options.get("include", ()), options.get("defines", {})
    text, folder = _text_of(source)
    if re.search(r"^\s*#", text, re.MULTILINE):
        folders = [folder, *include] if folder is not None else [*include]
        text = _preprocessed(text, rules, folders, defines, options.get("compiler"))
    elif defines:
        raise CallError("defines mean nothing to a header without preprocessor directives")
    scope = Scope()
    problems: list[str] = []
    _constants(text, scope)
    for declaration, pack in _declarations(text):
        try:
            _declare(declaration, pack, rules, scope)
        except CallError as error:
            problems.append(str(error))
        except Exception as error:  # pycparser raises arbitrary exceptions for unsupported text
            problems.append(f"{declaration.strip()[:80]}: {type(error).__name__}")
    name = "a header" if isinstance(source, str) and folder is None else os.path.basename(source)
    return Types(rules, scope, name, problems)


def _text_of(source: str | os.PathLike[str]) -> tuple[str, Path | None]:
    """The text, and the folder of its file."""
    if isinstance(source, str) and re.search(r"[;{\n]", source):
        return source, None
    path = Path(source)
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape"), path.absolute().parent
    except OSError as error:
        raise CallError(f"the header {source} cannot be read: {error.strerror}") from None


# ---------------------------------------------------------------- preprocessing


def compilers(arch: str) -> Iterator[list[str]]:
    """The installed commands for preprocessing for an architecture, the best first."""
    gnu, zig = ISAS[arch].triples
    if (path := shutil.which(f"{gnu}-gcc")) is not None:
        yield [path]
    if importlib.util.find_spec("ziglang") is not None:
        yield [sys.executable, "-m", "ziglang", "cc", "-target", zig]
    if (path := shutil.which("clang")) is not None:
        yield [path, f"--target={gnu}"]


def _preprocessed(
    text: str,
    rules: CallingConvention,
    folders: Sequence[str | os.PathLike[str]],
    defines: Mapping[str, object],
    compiler: Sequence[str] | None,
) -> str:
    arch = rules.arch.partition(":")[0]
    command = list(compiler) if compiler is not None else next(compilers(arch), None)
    if command is None:
        triple = ISAS[arch].triples[0]
        raise CallError(
            f"the header needs a preprocessor for {arch}: install {triple}-gcc, clang or the ziglang wheel, "
            "or give the words of a command as compiler="
        )
    options = [f"-I{os.fspath(folder)}" for folder in folders]
    options += [f"-D{name}={value}" for name, value in defines.items()]
    with tempfile.TemporaryDirectory(prefix="relink-header-") as place:
        file = Path(place) / "header.c"
        file.write_text(text, encoding="utf-8", errors="surrogateescape")
        words = [*command, "-E", "-dD", "-undef" if "-undef" in command else "-w", *options, str(file)]
        try:
            done = subprocess.run(
                words, capture_output=True, timeout=_TIMEOUT, check=False, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CallError(f"{command[0]} could not preprocess the header: {error}") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").replace(str(file), "header").strip().splitlines()
        raise CallError(f"{command[0]} could not preprocess the header: {said[0] if said else done.returncode}")
    if len(done.stdout) > _MOST:
        raise CallError(f"the preprocessed header has {len(done.stdout)} bytes (at most {_MOST})")
    return done.stdout.decode("utf-8", "surrogateescape")


# ---------------------------------------------------------------- declarations


def _constants(text: str, scope: Scope) -> None:
    """Macros that are integers, without the compiler's own, whose names begin with underscores."""
    for line in text.splitlines():
        if (match := _DEFINE.match(line)) is not None and not match[1].startswith("_"):
            value = integer_literal(match[2].strip().strip("()"))
            if value is not None:
                scope.constants[match[1]] = value


def _declarations(text: str) -> Iterator[tuple[str, int]]:
    """The top-level declarations of a text, without function bodies, with their #pragma pack value."""
    packs: list[int] = [0]
    lines: list[str] = []
    for line in _COMMENT.sub(lambda match: match[1] or " ", text).splitlines():
        if not line.lstrip().startswith("#"):
            lines.append(line)
            continue
        if (match := _PACK.match(line.lstrip())) is not None:
            yield from ((each, packs[-1]) for each in _split("\n".join(lines)))
            lines = []
            _change(packs, match)
    yield from ((each, packs[-1]) for each in _split("\n".join(lines)))


def _change(packs: list[int], match: re.Match[str]) -> None:
    """Apply a #pragma pack to the stack of packings."""
    if match[1] == "pop":
        if len(packs) > 1:
            packs.pop()
    elif match[1] == "push":
        packs.append(int(match[2]) if match[2] else packs[-1])
    else:
        packs[-1] = int(match[2] or 0)


def _split(text: str) -> Iterator[str]:
    """The declarations of a text, each with its semicolon."""
    parts: list[str] = []
    depth = 0
    body = False  # inside a function body
    for token in _TOKEN.findall(_ASSEMBLER_NAME.sub(" ", text)):
        if token in "({" and token:
            if token == "{" and depth == 0 and _ends_in_parameters(parts):
                body = True
            depth += 1
        elif token in ")}" and token:
            depth = max(depth - 1, 0)
            if token == "}" and depth == 0 and body:
                yield "".join(parts) + ";"
                parts, body = [], False
                continue
        if not body:
            parts.append(token)
        if token == ";" and depth == 0 and not body:
            yield "".join(parts)
            parts = []


def _ends_in_parameters(parts: list[str]) -> bool:
    """Whether the text before a brace is a function declarator, not a structure."""
    last = next((part for part in reversed(parts) if not part.isspace()), "")
    return last == ")" and not re.match(
        r"\s*(typedef\s+)?(struct|union|enum)\b[^()]*__attribute__", "".join(parts)
    )


def _declare(declaration: str, pack: int, rules: CallingConvention, scope: Scope) -> None:
    from pycparser import c_parser

    source = spelt(declaration)
    if re.match(r"\s*(;|_Static_assert\b|static_assert\b)", source):
        return
    where = " ".join(source.split())[:60]
    source, attributes = move_attributes(source)
    builder = Builder(rules.data, scope, where, attributes, pack=pack)
    known = {word for word in _WORD.findall(source) if word in TYPEDEFS | FORMAT_NAMES or word in scope.typedefs}
    redefined = re.search(r"(\w+?)(?:__attributes_\d+)?\s*;\s*$", source) if "typedef" in source else None
    used = sorted(known - ({redefined[1]} if redefined else set()))
    try:
        prelude = "".join(f"typedef int {name};" for name in used)
        declared: list[Any] = c_parser.CParser().parse(prelude + source).ext[len(used) :]
    except c_parser.ParseError as error:
        raise CallError(f"{where}: {error}") from None
    for node in declared:
        builder.declare(node)
