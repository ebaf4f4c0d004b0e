"""Packages of modules: a manifest, the module, and a signature over both.

    package = pack(Manifest("scale", 2, "riscv32"), Path("scale.so").read_bytes(), key)      # where it is made
    manifest, module = unpack(package, key.public_key(), arch="riscv32", above=1)            # on the device

A package is: 8 bytes MAGIC, the manifest's size (4 bytes, little-endian), the manifest (JSON), the Ed25519
signature of the manifest (64 bytes), the module. The manifest has the module's size and SHA-256, so the signature
covers it too.
`unpack` looks at nothing but the signed bytes before the signature is verified, and writes nothing.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from relink.arch import architecture_of
from relink.errors import ElfError, RelinkError
from relink.objects.archive_members import header_of

MAGIC = b"MODULE\x01\n"
LARGEST = 1 << 20  #: bytes of a manifest or a module
_SIGNATURE = 64
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


class PackageError(RelinkError):
    """A package that is refused."""


@dataclass(frozen=True)
class Manifest:
    """What a package says of its module."""

    name: str
    version: int
    arch: str
    size: int = 0  #: bytes of the module
    sha256: str = ""


def pack(manifest: Manifest, module: bytes, key: Ed25519PrivateKey) -> bytes:
    """A package of a module."""
    whole = Manifest(manifest.name, manifest.version, manifest.arch, len(module), sha256(module).hexdigest())
    text = json.dumps(asdict(whole), sort_keys=True).encode()
    return MAGIC + len(text).to_bytes(4, "little") + text + key.sign(text) + module


def unpack(
    package: bytes, key: Ed25519PublicKey, *, arch: str, name: str = "scale", above: int = 0
) -> tuple[Manifest, bytes]:
    """The manifest and the module of a package: of module `name` for architecture `arch`, of a version above
    `above`. Raises PackageError.
    """
    text, signature, module = _parts(package)
    try:
        key.verify(signature, text)
    except InvalidSignature:
        raise PackageError("the package's signature is not of the device's key") from None
    manifest = _manifest(text)
    if manifest.name != name:
        raise PackageError(f"the module is {manifest.name}, and the device has {name}")
    if manifest.size != len(module):
        raise PackageError(f"the module has {len(module)} bytes, but {manifest.size} by the manifest")
    if manifest.sha256 != sha256(module).hexdigest():
        raise PackageError("the module is not the one of the manifest: its SHA-256 differs")
    if manifest.version <= above:
        raise PackageError(f"version {manifest.version} of {manifest.name} is not above version {above}")
    for found, by in ((manifest.arch, "by the manifest"), (_arch_of(module), "by its ELF header")):
        if found != arch:
            raise PackageError(f"the module is for {found} {by}, and the device is {arch}")
    return manifest, module


def _parts(package: bytes) -> tuple[bytes, bytes, bytes]:
    """The manifest, the signature and the module, as they are there."""
    if package[: len(MAGIC)] != MAGIC:
        raise PackageError("this is no package: it does not begin with the magic number")
    at = len(MAGIC) + 4
    size = int.from_bytes(package[len(MAGIC) : at], "little")
    if size > LARGEST or at + size + _SIGNATURE > len(package):
        raise PackageError(f"the package ends before its manifest of {size} bytes and the signature")
    end = at + size + _SIGNATURE
    if len(package) - end > LARGEST:
        raise PackageError(f"the module has {len(package) - end} bytes, and {LARGEST} is the most")
    return package[at : at + size], package[at + size : end], package[end:]


def _manifest(text: bytes) -> Manifest:
    """The manifest of its signed text, each field of the right type."""
    try:
        manifest = Manifest(**json.loads(text.decode(), object_pairs_hook=_once))
    except (ValueError, TypeError, RecursionError) as error:
        raise PackageError(f"the manifest cannot be read: {error}") from None
    types = {"name": str, "version": int, "arch": str, "size": int, "sha256": str}
    wrong = [name for name, kind in types.items() if type(getattr(manifest, name)) is not kind]
    if wrong or not _NAME.fullmatch(manifest.name) or not 0 < manifest.version < 1 << 32:
        raise PackageError(f"the manifest's {wrong[0] if wrong else 'name or version'} is not valid")
    return manifest


def _once(fields: list[tuple[str, object]]) -> dict[str, object]:
    """The fields of an object. Raises ValueError for a name that is there twice, of which readers differ."""
    if len(dict(fields)) != len(fields):
        raise ValueError("a field is there twice")
    return dict(fields)


def _arch_of(module: bytes) -> str:
    try:
        header = header_of(module)
    except ElfError as error:
        raise PackageError(f"the module is no ELF file: {error}") from None
    found = architecture_of(header.machine, header.bits)
    return found.name if found is not None else f"machine {header.machine}"
