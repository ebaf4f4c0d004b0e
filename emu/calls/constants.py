"""Constant expressions of C: bounds of arrays, widths of bit-fields, enumerators."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from emu.calls.types import CType, Integer, sized
from emu.errors import CallError

_BINARY: dict[str, Callable[[int, int], int]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "<<": operator.lshift, ">>": operator.rshift,
    "&": operator.and_, "|": operator.or_, "^": operator.xor,
    "/": lambda a, b: abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1),
    "%": lambda a, b: abs(a) % abs(b) * (-1 if a < 0 else 1),
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "&&": lambda a, b: int(bool(a and b)), "||": lambda a, b: int(bool(a or b)),
}  # fmt: skip
_UNARY: dict[str, Callable[[int], int]] = {
    "-": operator.neg, "+": operator.pos, "~": operator.invert, "!": operator.not_,
}  # fmt: skip
_MOST_BITS = 128
_INTEGER = re.compile(r"(-?)\s*(0[xX][0-9a-fA-F]+|0[bB][01]+|0[0-7]*|[1-9]\d*)[uUlL]*")


class Evaluator:
    """Evaluates trees with the constants declared so far; `ctype` makes types of nodes."""

    def __init__(self, constants: Mapping[str, int], ctype: Callable[[Any], CType]) -> None:
        self._constants = constants
        self._ctype = ctype

    def value(self, node: Any) -> int:
        """The value of an integer constant expression. Raises CallError for other expressions."""
        try:
            found = int(self._value(node))
        except (ZeroDivisionError, ValueError, OverflowError) as error:
            raise CallError(f"a constant expression cannot be evaluated: {error}") from None
        if found.bit_length() > _MOST_BITS:
            raise CallError("a constant expression is too large")
        return found

    def _value(self, node: Any) -> int:
        match type(node).__name__:
            case "Constant":
                return _literal(node)
            case "ID" if node.name in self._constants:
                return self._constants[node.name]
            case "BinaryOp" if node.op in _BINARY:
                right = self.value(node.right)
                if node.op in ("<<", ">>") and not 0 <= right <= _MOST_BITS:
                    raise ValueError(f"a shift by {right}")
                return _BINARY[node.op](self.value(node.left), right)
            case "UnaryOp" if node.op in ("sizeof", "_Alignof"):
                ctype = sized(self._ctype(node.expr))
                return ctype.size if node.op == "sizeof" else ctype.alignment
            case "UnaryOp" if node.op in _UNARY:
                return _UNARY[node.op](self.value(node.expr))
            case "TernaryOp":
                return self.value(node.iftrue if self.value(node.cond) else node.iffalse)
            case "Cast":
                return self._cast(self._ctype(node.to_type), self.value(node.expr))
        raise CallError(f"{type(node).__name__} {getattr(node, 'name', '')}".rstrip() + " is no integer constant")

    @staticmethod
    def _cast(ctype: CType, value: int) -> int:
        if not isinstance(ctype, Integer):
            raise CallError(f"a cast to {ctype} is no integer constant")
        value &= (1 << 8 * ctype.size) - 1
        return value - (1 << 8 * ctype.size) if ctype.signed and value >> 8 * ctype.size - 1 else value


def integer_literal(text: str) -> int | None:
    """The value of an integer constant with an optional sign; None for other text."""
    match = _INTEGER.fullmatch(text)
    if match is None:
        return None
    digits = match[2]
    value = int(digits, 8) if len(digits) > 1 and digits[0] == "0" and digits[1].isdigit() else int(digits, 0)
    return -value if match[1] else value


def _literal(node: Any) -> int:
    text: str = node.value
    if "char" in node.type:
        import ast

        return ord(ast.literal_eval(text.lstrip("LuU8")))
    value = integer_literal(text)
    if value is None:
        raise ValueError(f"{text} is no integer")
    return value
