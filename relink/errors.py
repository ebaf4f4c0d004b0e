"""All exceptions, as one tree.

RelinkError
├── ElfError                       a problem of a file: gives the file and the offset
│   ├── NotElf                     no ELF magic
│   ├── Truncated                  something is past the end of the file
│   ├── UnsupportedElf             valid, but not supported: class, byte order, machine, type
│   │   └── FloatAbiMismatch       its floating-point calling convention is not the machine's
│   ├── MalformedElf               inconsistent headers, tables, hashes or strings
│   └── DebugInfoError             debug information that cannot be read or expressed in C
├── LinkError                      a problem of the link: gives the image
│   ├── LibraryNotFound            a library was not found; lists every place tried
│   ├── UnresolvedSymbol           a strong reference without a definition
│   ├── DuplicateSymbol            two objects of one image have strong definitions of a name
│   ├── VersionNotFound            a DT_VERNEED version that the library does not define
│   ├── RelocationError            one relocation entry: gives image, offset, symbol, type, formula
│   │   ├── UnknownRelocation      a type number that the psABI does not define
│   │   ├── UnsupportedRelocation  a type that is not supported, with the reason
│   │   ├── RelocationOverflow     the value does not fit the field
│   │   ├── RelocationOutOfImage   the place is in no segment
│   │   └── RelocationVetoed       a relocation handler refused it
│   ├── TlsError                   static TLS is exhausted, or a TLS symbol has no module
│   ├── LoadOrderError             a phase of a load out of order
│   ├── LoadRolledBack             a load that its caller rolled back
│   └── LinkErrors                 several of these at once (an ExceptionGroup)
├── AddressSpaceError              no free range, overlap, or access to unmapped memory
│   └── GuestAccessError           an access that is unmapped, or that the page permissions do not allow
├── UseAfterUnload                 a handle was used after its image was unloaded
├── MachineInUse                   used from two threads at once, or during a call
└── MachineError                   a problem of the running guest (declared in `emu.errors`)
    ├── GuestFault, UnresolvedCall, ConstructorFault, BudgetExceeded, GuestExit, GuestAbort
    ├── SnapshotError, FuzzError, HandleOutlived, ForeignObject, CallAbandoned
    ├── PatchError                 a function cannot be replaced
    │   ├── FunctionTooShort, AlreadyPatched, SwapRefused
    │   └── AssemblyError          text that cannot be assembled
    │       └── AssemblerMissing   keystone is not installed
    └── CallError                  a prototype or argument that cannot be passed
"""

from __future__ import annotations

from collections.abc import Sequence


class RelinkError(Exception):
    """Base class of all exceptions for bad input and failed links.

    They can be pickled with their attributes and causes, so that worker processes can return them.
    """

    def __str__(self) -> str:
        return printable_lines(super().__str__())

    def __reduce__(self) -> tuple[object, ...]:
        # The constructors take attributes; the default __reduce__ would pass them the message.
        return _unpickled, (type(self), self.args, self.__dict__, self.__cause__)


def _unpickled(
    kind: type[RelinkError], args: tuple[object, ...], facts: dict[str, object], cause: BaseException | None
) -> RelinkError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(facts)
    error.__cause__ = cause
    return error


#: Limits in characters for a message and a name in it: names come from files and may be long.
_LONGEST_MESSAGE, _LONGEST_NAME = 4096, 300
_MOST_PLACES, _MOST_ERRORS = 24, 100


def printable(text: str, longest: int = _LONGEST_NAME) -> str:
    """Text from a file, made safe for display: control and unencodable characters are escaped as in Python, long
    text is cut.
    """
    if len(text) > longest:
        text = f"{text[:longest]}... ({len(text)} characters)"
    return text if text.isascii() and text.isprintable() else "".join(map(_shown, text))


def reason(error: Exception) -> str:
    """Why an access to a file failed, without the number and the path that the text of an OSError has."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def printable_lines(text: str) -> str:
    """Text of several lines as it may be shown: like `printable`, but of any length."""
    return (
        text
        if text.isascii() and text.replace("\n", "").isprintable()
        else "\n".join("".join(map(_shown, line)) for line in text.split("\n"))
    )


def _shown(character: str) -> str:
    if character.isprintable():  # not printable: control characters, surrogates, and direction marks
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x1_0000 else f"\\U{code:08x}"


# ---------------------------------------------------------------- the bytes


class ElfError(RelinkError):
    """A file or image cannot be used as ELF.

    `source` is the file's name as the caller gave it; `offset` the file offset of the bad bytes (for an image in
    memory the guest address), if known.
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
    """A header, table or segment is past the end of the file."""


class UnsupportedElf(ElfError):
    """Valid ELF that is not supported: big-endian, an unknown machine, a core file…"""


class FloatAbiMismatch(UnsupportedElf):
    """An image makes `theirs` calls ("soft-float", ...), the machine `ours`.

    `supported`: a machine can be made with the image's convention.
    """

    def __init__(self, source: str, theirs: str, ours: str, *, supported: bool) -> None:
        self.theirs = theirs
        self.ours = ours
        self.supported = supported
        hint = f": give Machine(float_abi={theirs!r})" if supported else ""
        super().__init__(source, f"makes {theirs} calls, this machine makes {ours} calls{hint}")


class MalformedElf(ElfError):
    """The file is inconsistent or violates the gABI."""


class DebugInfoError(ElfError):
    """Debug information exists but cannot be used: it is damaged, in a file that was not found, or has a type that
    C cannot express or a call cannot pass.
    """


# ---------------------------------------------------------------- the link


class LinkError(RelinkError):
    """Linking `image` (its name) failed.

    `subject` is the subject of the message, if it is not the image. The wording is that of ld.so where it has a
    message.
    """

    def __init__(self, image: str, problem: str, *, subject: str | None = None) -> None:
        self.image = image
        self.problem = problem
        lines = problem.split("\n") if isinstance(self, LibraryNotFound) else [problem]
        text = "\n".join(printable(line, _LONGEST_MESSAGE) for line in lines)
        super().__init__(f"{printable(subject or image)}: {text}")


class LibraryNotFound(LinkError):
    """A library was not found.

    `tried` lists (place, why it was rejected) in search order. `needed_by` is the image that needs the library;
    None when the user named it.
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
    """No image, hook or host function defines a symbol to which `image` has a strong reference."""

    def __init__(self, image: str, symbol: str, version: str | None = None, *, detail: str = "") -> None:
        self.symbol = symbol
        self.version = version
        self.detail = detail
        wanted = f"{printable(symbol)}, version {printable(version)}" if version else printable(symbol)
        super().__init__(image, f"undefined symbol: {wanted}{f' ({detail})' if detail else ''}")


class DuplicateSymbol(LinkError):
    """Two relocatable objects of one image, `first` and `second`, have strong definitions of `symbol`."""

    def __init__(self, image: str, symbol: str, first: str, second: str) -> None:
        self.symbol = symbol
        self.first = first
        self.second = second
        super().__init__(image, f"{printable(symbol)} is defined in {printable(first)} and in {printable(second)}")


class VersionNotFound(LinkError):
    """The library does not define a symbol version that `image` requires. `found` is the name of the file found
    for `library`.
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
    """A type that is not supported; the message has the reason."""


class RelocationOverflow(RelocationError):
    """The computed value does not fit its field or is misaligned."""


class RelocationOutOfImage(RelocationError):
    """The relocated place is outside all segments of its image."""


class RelocationVetoed(RelocationError):
    """A relocation handler refused the entry; the message has its reason."""


class TlsError(LinkError):
    """Thread-local storage cannot be laid out or addressed."""


class LoadOrderError(LinkError):
    """A phase of a load was called out of order; nothing has been changed."""

    def __init__(self, image: str, phase: str, problem: str) -> None:
        self.phase = phase
        super().__init__(image, f"{phase}: {problem}")


class LoadRolledBack(LinkError):
    """A load was rolled back by its caller (see `Load.rollback`)."""


class LinkErrors(LinkError, ExceptionGroup[LinkError]):
    """All errors of one load together, in `exceptions`."""

    # ExceptionGroup initialises itself in __new__, so __init__ is free.
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
    """Raise a single error as it is, several as LinkErrors; return if there is none."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise LinkErrors(image, errors)


# ---------------------------------------------------------------- memory and lifetime


class AddressSpaceError(RelinkError):
    """Guest memory cannot be reserved, or an access is to unmapped memory. `address` and `size` (bytes) are the
    requested range.
    """

    def __init__(self, problem: str, *, address: int | None = None, size: int | None = None) -> None:
        self.address = address
        self.size = size
        place = "" if address is None else f" at {address:#x}"
        extent = "" if size is None else f" ({size:#x} bytes)"
        super().__init__(f"{problem}{place}{extent}")


class GuestAccessError(AddressSpaceError):
    """An access to guest memory that is unmapped or not permitted.

    `address` is the first inaccessible byte and `size` the number of bytes of the access from there; `write` is
    true for writes; `mapped` when the page exists but its permissions forbid the access.
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
    """A machine was used from a second thread, or by a signal handler or finaliser during a call.

    A machine allows one thread at a time; during a guest call only host functions may call the guest again.
    """


class MachineError(RelinkError):
    """The running guest caused an error that stops it."""
