"""Everything that can go wrong, as one tree.

RelinkError
├── ElfError                   the bytes are at fault: names the file and the place in it
│   ├── NotElf                   no ELF magic
│   ├── Truncated                something lies past the end of the file
│   ├── UnsupportedElf           well-formed, but not for us: class, byte order, machine, type
│   │   └── FloatAbiMismatch       its calls pass floating-point values otherwise than the machine's
│   ├── MalformedElf             headers, tables, hashes or strings that contradict themselves
│   └── DebugInfoError           debug information that cannot be read, or says what C cannot
├── LinkError                  the link is at fault: names the image
│   ├── LibraryNotFound          a DT_NEEDED nobody could find, with every place tried
│   ├── UnresolvedSymbol         a strong reference without a definition
│   ├── DuplicateSymbol            two objects of one image define the same name strongly
│   ├── VersionNotFound          a DT_VERNEED version its library does not define
│   ├── RelocationError          one relocation entry: names image, offset, symbol, type, formula
│   │   ├── UnknownRelocation      a type number the psABI does not define
│   │   ├── UnsupportedRelocation  a type refused on purpose, with the reason
│   │   ├── RelocationOverflow     the value does not fit the field
│   │   ├── RelocationOutOfImage   the place lies in no segment
│   │   └── RelocationVetoed       a relocation handler refused it
│   ├── TlsError                 static TLS is spent, or a TLS symbol is missing its module
│   └── LinkErrors               several of these at once (an ExceptionGroup)
├── AddressSpaceError          no room, overlap, or an access to memory that is not mapped
│   └── GuestAccessError         an access that the guest's pages do not allow
├── UseAfterUnload             a handle outlived its image
├── MachineInUse               used from two threads at once, or in the middle of a call
└── MachineError               the running guest is at fault (declared in `emu.errors`)
    ├── GuestFault, UnresolvedCall, ConstructorFault, BudgetExceeded, GuestExit, GuestAbort
    ├── PatchError               a function cannot be replaced
    │   ├── FunctionTooShort, AlreadyPatched
    │   └── AssemblyError          text that is no code
    │       └── AssemblerMissing     keystone is not installed
    └── CallError                a prototype or an argument that cannot be passed
"""

from __future__ import annotations

from collections.abc import Sequence


class RelinkError(Exception):
    """The root: whatever this project raises for bad input or a bad link is one of these.

    All of them can be pickled, with their facts and what caused them: so they cross from a worker process.
    """

    def __reduce__(self) -> tuple[object, ...]:
        # The constructors take facts, not the message; the default would give them the message.
        return _unpickled, (type(self), self.args, self.__dict__, self.__cause__)


def _unpickled(
    kind: type[RelinkError], args: tuple[object, ...], facts: dict[str, object], cause: BaseException | None
) -> RelinkError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(facts)
    error.__cause__ = cause
    return error


#: Characters of a message, and of a name in it: names come from files, and may have any length.
_LONGEST_MESSAGE, _LONGEST_NAME = 4096, 300
_MOST_PLACES, _MOST_ERRORS = 24, 100


def printable(text: str, longest: int = _LONGEST_NAME) -> str:
    """A text that came from a file as it may be shown: no control character, nothing that cannot be encoded, and
    not too long. Escapes are Python's."""
    if len(text) > longest:
        text = f"{text[:longest]}... ({len(text)} characters)"
    return text if text.isascii() and text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable():  # of which no control, surrogate, or mark that changes the direction is one
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x1_0000 else f"\\U{code:08x}"


# ---------------------------------------------------------------- the bytes


class ElfError(RelinkError):
    """A file (or image) cannot be used as ELF.

    `source` is the file's name as the caller gave it; `offset` the file offset (or, for an image in
    memory, the guest address) of the offending bytes, where one can be named.
    """

    def __init__(self, source: str, problem: str, offset: int | None = None) -> None:
        self.source = source
        self.problem = problem
        self.offset = offset
        where = f" (at offset {offset:#x})" if offset is not None else ""
        super().__init__(f"{printable(source)}: {printable(problem, _LONGEST_MESSAGE)}{where}")


class NotElf(ElfError):
    """The magic bytes are missing."""


class Truncated(ElfError):
    """A header, table or segment lies past the end of the file."""


class UnsupportedElf(ElfError):
    """Valid ELF this project does not link: big-endian, an unknown machine, a core file…"""


class FloatAbiMismatch(UnsupportedElf):
    """An image makes `theirs` calls ("soft-float", ...), the machine `ours`; `supported`: a machine could make
    theirs."""

    def __init__(self, source: str, theirs: str, ours: str, *, supported: bool) -> None:
        self.theirs = theirs
        self.ours = ours
        self.supported = supported
        hint = f": give Machine(float_abi={theirs!r})" if supported else ""
        super().__init__(source, f"makes {theirs} calls, this machine {ours} ones{hint}")


class MalformedElf(ElfError):
    """The file contradicts itself or the gABI."""


class DebugInfoError(ElfError):
    """Debug information is there and does not give what was asked of it: damaged, in a file that is not there, or
    a type that C, or a call, has no way to say."""


# ---------------------------------------------------------------- the link


class LinkError(RelinkError):
    """Linking `image` (its name) failed. `subject` is what the message is about, if not the image.

    Where ld.so has words for it, the message has them.
    """

    def __init__(self, image: str, problem: str, *, subject: str | None = None) -> None:
        self.image = image
        self.problem = problem
        lines = problem.split("\n") if isinstance(self, LibraryNotFound) else [problem]
        text = "\n".join(printable(line, _LONGEST_MESSAGE) for line in lines)
        super().__init__(f"{printable(subject or image)}: {text}")


class LibraryNotFound(LinkError):
    """A library was found nowhere. `tried` lists (place, why it was passed over), in search order.

    `needed_by` is the image that needs it; None for the one the user asked for.
    """

    def __init__(self, name: str, needed_by: str | None, tried: Sequence[tuple[str, str]] = ()) -> None:
        self.name = name
        self.needed_by = needed_by
        self.tried = tuple(tried)
        shown = [(printable(place), printable(why)) for place, why in self.tried[:_MOST_PLACES]]
        places = "".join(f"\n  {number}. {place}: {why}" for number, (place, why) in enumerate(shown, 1))
        if len(self.tried) > len(shown):
            places += f"\n  and {len(self.tried) - len(shown)} more"
        needed = f" (needed by {printable(needed_by)})" if needed_by is not None else ""
        problem = f"cannot open shared object file: No such file or directory{needed}{places}"
        super().__init__(needed_by or name, problem, subject=name)


class UnresolvedSymbol(LinkError):
    """No image, hook or host function defines a symbol that `image` refers to strongly."""

    def __init__(self, image: str, symbol: str, version: str | None = None, *, detail: str = "") -> None:
        self.symbol = symbol
        self.version = version
        self.detail = detail
        wanted = f"{printable(symbol)}, version {printable(version)}" if version else printable(symbol)
        super().__init__(image, f"undefined symbol: {wanted}{f' ({detail})' if detail else ''}")


class DuplicateSymbol(LinkError):
    """Two relocatable objects of one image, `first` and `second`, define `symbol` strongly."""

    def __init__(self, image: str, symbol: str, first: str, second: str) -> None:
        self.symbol = symbol
        self.first = first
        self.second = second
        super().__init__(image, f"{printable(symbol)} is defined in {printable(first)} and in {printable(second)}")


class VersionNotFound(LinkError):
    """A version that `image` was linked against is not defined by the library that should have it.

    `found` is the name of the file that was taken for `library`.
    """

    def __init__(self, image: str, library: str, version: str, found: str | None = None) -> None:
        self.library = library
        self.version = version
        problem = f"version `{version}' not found (required by {image})"
        super().__init__(image, problem, subject=found or library)


class RelocationError(LinkError):
    """One relocation entry cannot be applied."""

    def __init__(
        self,
        image: str,
        problem: str,
        *,
        section: str,
        offset: int,
        type_name: str,
        symbol: str | None = None,
        formula: str | None = None,
    ) -> None:
        self.section = section
        self.offset = offset
        self.type_name = type_name
        self.symbol = symbol
        self.formula = formula
        against = f" against {printable(symbol)}" if symbol else ""
        computing = f" [{formula}]" if formula else ""
        super().__init__(image, f"{printable(section)}+{offset:#x}: {type_name}{against}{computing}: {problem}")


class UnknownRelocation(RelocationError):
    """The psABI defines no such type."""


class UnsupportedRelocation(RelocationError):
    """A type this linker refuses on purpose; the message says why."""


class RelocationOverflow(RelocationError):
    """The computed value does not fit its field, or is misaligned for it."""


class RelocationOutOfImage(RelocationError):
    """The relocated place lies outside every segment of its image."""


class RelocationVetoed(RelocationError):
    """A relocation handler refused the entry; the message gives its reason."""


class TlsError(LinkError):
    """Thread-local storage cannot be laid out or addressed."""


class LoadOrderError(LinkError):
    """A phase of a load was called out of its turn; nothing has been changed."""

    def __init__(self, image: str, phase: str, problem: str) -> None:
        self.phase = phase
        super().__init__(image, f"{phase}: {problem}")


class LoadRolledBack(LinkError):
    """A load was rolled back because its caller asked for it (see `Load.rollback`)."""


class LinkErrors(LinkError, ExceptionGroup[LinkError]):
    """All that is wrong with one load, reported together. `exceptions` holds each."""

    # ExceptionGroup is built by __new__ and leaves __init__ to us.
    def __new__(cls, image: str, exceptions: Sequence[LinkError]) -> LinkErrors:
        return super().__new__(cls, f"{image}: {len(exceptions)} link errors", list(exceptions))

    def __init__(self, image: str, exceptions: Sequence[LinkError]) -> None:
        self.image = image
        self.problem = f"{len(exceptions)} link errors"

    def __reduce__(self) -> tuple[object, ...]:
        return LinkErrors, (self.image, list(self.exceptions))

    def __str__(self) -> str:
        shown = [f"  {error}" for error in self.exceptions[:_MOST_ERRORS]]
        if len(self.exceptions) > len(shown):
            shown.append(f"  and {len(self.exceptions) - len(shown)} more")
        return "\n".join([f"{printable(self.image)}: {self.problem}:", *shown])

    def derive(self, excs: Sequence[LinkError]) -> LinkErrors:  # type: ignore[override]
        return LinkErrors(self.image, excs)


def raise_all(image: str, errors: Sequence[LinkError]) -> None:
    """Raise one error as itself, several as a LinkErrors, none not at all."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise LinkErrors(image, errors)


# ---------------------------------------------------------------- memory and lifetime


class AddressSpaceError(RelinkError):
    """Guest memory cannot be had, or an access touches memory that is not mapped.

    `address` and `size` (bytes) tell the range asked for.
    """

    def __init__(self, problem: str, *, address: int | None = None, size: int | None = None) -> None:
        self.address = address
        self.size = size
        place = "" if address is None else f" at {address:#x}"
        extent = "" if size is None else f" ({size:#x} bytes)"
        super().__init__(f"{problem}{place}{extent}")


class GuestAccessError(AddressSpaceError):
    """An access to guest memory that its pages do not allow.

    `address` is the first byte that cannot be had, `size` how many bytes of the access are left there; `write`
    tells a write from a read; `mapped`, that the page is there and its permissions refuse.
    """

    def __init__(self, address: int, size: int, *, write: bool, mapped: bool = False) -> None:
        self.write = write
        self.mapped = mapped
        access = "write to" if write else "read of"
        memory = "unmapped" if not mapped else "read-only" if write else "unreadable"
        super().__init__(f"{access} {memory} memory", address=address, size=size)


class UseAfterUnload(RelinkError):
    """A symbol, function or image handle was used after its image was closed."""

    def __init__(self, image: str, symbol: str | None = None) -> None:
        self.image = image
        self.symbol = symbol
        what = f"{printable(symbol)} of {printable(image)}" if symbol else printable(image)
        super().__init__(f"{what}: the image has been unloaded")


class MachineInUse(RelinkError):
    """A machine in use was used from another thread, or by a signal handler or finaliser in the middle of a call.

    One thread at a time; and while the guest is called, only host functions call it in turn.
    """


class MachineError(RelinkError):
    """The running guest did something that stops it."""
