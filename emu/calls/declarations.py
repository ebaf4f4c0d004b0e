"""Conversion of pycparser's trees into types of a data model, and into declared names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from emu.calls.attributes import Attributes, unmarked
from emu.calls.basic import integer, vector, with_mode
from emu.calls.constants import Evaluator
from emu.calls.layout import Declared, lay_out, with_alignment
from emu.calls.scope import Scope
from emu.calls.types import (
    Array,
    CType,
    Enumeration,
    FunctionType,
    Integer,
    Parameter,
    Pointer,
    Prototype,
    Struct,
    Void,
)
from emu.errors import CallError
from emu.isa.convention import DataModel

if TYPE_CHECKING:
    from pycparser import c_ast

_REFERENCE = "_Atomic"  #: the qualifier that stands for C++'s `&`, see `emu.calls.prototypes`


class Builder:
    """Makes types of nodes. Errors begin with `where`; marks in names are indices in `attributes`."""

    def __init__(
        self,
        model: DataModel,
        scope: Scope,
        where: str,
        attributes: list[Attributes],
        *,
        references: bool = False,
        pack: int = 0,
    ) -> None:
        self.model = model
        self.scope = scope
        self._where = where
        self._attributes = attributes
        self._references = references
        self._pack = pack
        self._evaluate = Evaluator(scope.constants, self.ctype).value

    def error(self, problem: str) -> CallError:
        return CallError(f"{self._where}: {problem}")

    def declare(self, node: c_ast.Node) -> None:
        """Add the names that a top-level declaration declares."""
        tree: Any = node
        kind = type(node).__name__
        if kind == "FuncDef":
            tree = tree.decl
        elif kind not in ("Decl", "Typedef"):
            return
        name, _ = unmarked(tree.name)
        ctype = self.declared(tree)
        if not name:
            return
        if kind == "Typedef":
            if isinstance(ctype, Struct) and ctype.name in ("struct", "union"):
                ctype.name = f"{ctype.name} {name}"  # a type without a tag is known only by this name
            self.scope.typedefs[name] = ctype
        elif isinstance(ctype, FunctionType):
            found = ctype.prototype
            self.scope.functions[name] = Prototype(name, found.result, found.parameters, found.variadic)
        else:
            self.scope.variables[name] = ctype

    def declared(self, node: Any) -> CType:
        """The type of a Decl, Typedef or Typename, with the attributes of its name applied."""
        name = unmarked(getattr(node, "name", None) or _declared_name(node.type))
        ctype = self.ctype(node.type)
        attributes = self._of(name[1])
        if attributes is not None and attributes.vector_size is not None:
            size = self._number(attributes.vector_size)
            return self._with_scalar(ctype, lambda scalar: vector(self.model, scalar, size))
        if attributes is not None and attributes.mode is not None:
            mode = attributes.mode
            return self._with_scalar(ctype, lambda scalar: with_mode(self.model, scalar, mode))
        if attributes is not None and attributes.aligned is not None and type(node).__name__ == "Typedef":
            return with_alignment(ctype, self._number(attributes.aligned))
        return ctype

    def _with_scalar(self, ctype: CType, change: Callable[[CType], CType]) -> CType:
        """Replace the scalar in a declarator by what `change` makes of it."""
        try:
            if isinstance(ctype, Pointer):
                return Pointer(self._with_scalar(ctype.target, change), ctype.const, ctype.size)
            if isinstance(ctype, Array):
                return Array(self._with_scalar(ctype.target, change), ctype.count)
            if isinstance(ctype, FunctionType):
                found = ctype.prototype
                result = self._with_scalar(found.result, change)
                return FunctionType(Prototype(found.name, result, found.parameters, found.variadic))
            return change(ctype)
        except CallError as error:
            raise self.error(str(error)) from None

    def _of(self, number: int | None) -> Attributes | None:
        return None if number is None else self._attributes[number]

    def _number(self, text: str) -> int:
        from pycparser import c_parser

        tree: Any = c_parser.CParser().parse(f"int _ = {text};")
        return self._evaluate(tree.ext[0].init)

    # ------------------------------------------------------------ types

    def ctype(self, node: Any) -> CType:
        """The type of a node."""
        match type(node).__name__:
            case "Typename" | "Decl":
                return self.declared(node)
            case "TypeDecl":
                return self.ctype(node.type)
            case "IdentifierType":
                return self.named(node.names)
            case "PtrDecl":
                quals = getattr(node.type, "quals", None) or []
                reference = self._references and _REFERENCE in node.quals
                return Pointer(self.ctype(node.type), "const" in quals, self.model.pointer_size, reference)
            case "ArrayDecl":
                return Array(self.ctype(node.type), None if node.dim is None else self._bound(node.dim))
            case "Enum":
                return self._enumeration(node)
            case "Struct" | "Union":
                return self._structure(node)
            case "FuncDecl":
                return FunctionType(self.function(node))
        raise self.error(f"{type(node).__name__} is not supported")

    def _bound(self, node: Any) -> int | None:
        try:
            return self._evaluate(node)
        except CallError:
            return None

    def named(self, names: list[str]) -> CType:
        """The type for a list of specifier words."""
        try:
            return self.scope.named(self.model, names)
        except CallError as error:
            raise self.error(str(error)) from None

    def _enumeration(self, node: Any) -> Integer:
        tag = f"enum {node.name or ''}".strip()
        if node.values is None:
            known = self.scope.tags.get(tag)
            return known if isinstance(known, Enumeration) else Enumeration(4, False, tag)
        values: list[tuple[str, int]] = []
        following = 0
        for each in node.values.enumerators:
            number = following if each.value is None else self._evaluate(each.value)
            self.scope.constants[each.name] = number
            values.append((each.name, number))
            following = number + 1
        signed = any(number < 0 for _, number in values)
        size = 4 if all(-(1 << 31) <= number < 1 << 32 - signed for _, number in values) else 8
        alignment = integer(self.model, size, signed, tag).align
        made = Enumeration(size, signed, tag, alignment, tuple(values))
        if node.name:
            self.scope.tags[tag] = made
        return made

    def _structure(self, node: Any) -> Struct:
        keyword = type(node).__name__.lower()
        tag = f"{keyword} {node.name or ''}".strip()
        known = self.scope.tags.get(tag) if node.name else None
        struct = known if isinstance(known, Struct) else Struct(tag)
        if node.name:
            self.scope.tags[tag] = struct
        if node.decls is None:
            return struct
        if struct.members is not None:
            raise self.error(f"{tag} is declared twice")
        members: list[Declared] = []
        packed, align = False, 0
        for each in node.decls:
            name, number = unmarked(getattr(each, "name", ""))
            attributes = self._of(number)
            if attributes is not None and not name:  # attributes of the structure
                packed = packed or attributes.packed
                align = max(align, self._number(attributes.aligned) if attributes.aligned else 0)
            elif type(each).__name__ == "Decl":
                members.append(self._member(each, name, attributes))
        try:
            return lay_out(struct, members, self.model, packed=packed, pack=self._pack, align=align)
        except CallError as error:
            raise self.error(str(error)) from None

    def _member(self, node: Any, name: str, attributes: Attributes | None) -> Declared:
        ctype = self.declared(node)
        width = None if node.bitsize is None else self._evaluate(node.bitsize)
        asked = [self._evaluate(each.alignment) for each in node.align or ()]
        if attributes is not None and attributes.aligned is not None:
            asked.append(self._number(attributes.aligned))
        packed = attributes is not None and attributes.packed
        return Declared(name, ctype, width, max(asked, default=0), packed)

    # ------------------------------------------------------------ functions

    def function(self, node: Any) -> Prototype:
        """The prototype, without a name, of a function declarator."""
        parameters: list[Parameter] = []
        variadic = False
        declared: list[Any] = node.args.params if node.args else []
        for child in declared:
            kind = type(child).__name__
            if kind == "EllipsisParam":
                variadic = True
                continue
            if kind == "ID":
                raise self.error(f"unknown type name {child.name!r}")
            ctype = self._decayed(self.declared(child), child)
            if isinstance(ctype, Void):
                if len(declared) > 1 or child.name:
                    raise self.error("a parameter cannot have type void")
                continue
            parameters.append(Parameter(unmarked(child.name)[0], ctype))
        result = self.ctype(node.type)
        if isinstance(result, Array | FunctionType):
            raise self.error(f"a function cannot return {result}")
        return Prototype("", result, tuple(parameters), variadic)

    def _decayed(self, ctype: CType, declaration: Any) -> CType:
        """A parameter's type: arrays and functions become pointers (C11 6.7.6.3)."""
        if isinstance(ctype, Array):
            quals = getattr(declaration.type.type, "quals", None) or []
            return Pointer(ctype.target, "const" in quals, self.model.pointer_size)
        if isinstance(ctype, FunctionType):
            return Pointer(ctype, False, self.model.pointer_size)
        return ctype


def _declared_name(node: Any) -> str | None:
    """The name in a declarator, for nodes that have it only there."""
    while node is not None and type(node).__name__ in ("PtrDecl", "ArrayDecl", "FuncDecl"):
        node = node.type
    name: str | None = getattr(node, "declname", None)
    return name
