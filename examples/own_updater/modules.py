"""Update a module of a device by signed packages, and cut the power at every operation of its flash.

    python examples/own_updater/modules.py                    # on all architectures, as .so and as .o
    python examples/own_updater/modules.py --arch riscv32

A package that is not right is refused before anything is written. After each cut of the power the device boots,
and tries the update again if it is not complete; then the module is loaded from flash, and has to be the new one.
Needs `cryptography` (the extra `packages`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from packages import Manifest, PackageError, pack, unpack
from updater import SOURCE, compiled, load

from emu import Machine, NorFlash
from emu.boards import PowerCuts
from emu.build.targets import targets_of
from relink.errors import RelinkError

MODULE = Path(__file__).with_name("module.c")
SECTOR, SECTORS, PAGE = 8192, 6, 512
NAME = "scale"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))  # an example's: everybody knows it


def module(arch: str, version: int, kind: str, *flags: str, **defines: object) -> bytes:
    """The module, built for an architecture; `kind` is "so" or "o"."""
    (file,) = compiled(arch, MODULE, flags=("-g0", "-O2", *flags), kind=kind, VERSION=version, **defines)
    return file.read_bytes()


class Device:
    """A device with version 1 of a module, in one of the updater's two slots."""

    def __init__(self, arch: str, kind: str) -> None:
        (target,) = targets_of(arch)
        self.target, self.arch, self.kind = arch, target.arch, kind
        self.flash = flash = NorFlash([(SECTORS, SECTOR)], write_size=16)
        self.machine = Machine(target.arch, max_instructions=100_000_000)
        files = compiled(arch, SOURCE, flags=("-O2",), SECTOR_SIZE=SECTOR, PAGE_SIZE=PAGE)
        self.updater = load(self.machine, files, flash)
        self.update(self.packed(1, self.module(1)))
        self.start, self.on = flash.state(), self.machine.snapshot()

    def module(self, version: int, **defines: object) -> bytes:
        """A version of the module for this device."""
        return module(self.target, version, self.kind, **defines)

    def packed(self, version: int, content: bytes) -> bytes:
        """A signed package of a module."""
        return pack(Manifest(NAME, version, self.arch), content, KEY)

    def update(self, package: bytes) -> None:
        """Install a package. Raises PackageError before anything is written."""
        manifest, content = unpack(package, KEY.public_key(), arch=self.arch, above=self.updater.boot())
        image = len(package).to_bytes(4, "little") + package
        image += bytes(-len(image) % PAGE)
        if len(image) > 2 * SECTOR - PAGE:
            raise PackageError(f"the package has {len(package)} bytes, more than a slot")
        try:
            self.machine.load(content).close()
        except RelinkError as error:
            raise PackageError(f"the module cannot be linked: {error}") from error
        self.updater.install_image(manifest.version, len(image), image, 0)

    def installed(self) -> bytes:
        """The package in the active slot. Raises AssertionError when there is none."""
        at = self.updater.image_address()
        assert at, "nothing boots"
        size = int.from_bytes(self.flash.read(at, 4), "little")
        return self.flash.read(at + 4, size)

    def check(self) -> str | None:
        """Load the module from flash; what is wrong with it."""
        manifest, content = unpack(self.installed(), KEY.public_key(), arch=self.arch)
        library = self.machine.load(content)
        try:
            found = library.function("version", "int(void)")(), library.function("scaled", "int(int)")(21)
        finally:
            library.close()
        return None if found == (2, 42) else f"version {manifest.version} of the module answers {found}"

    def cuts(self, **options: object) -> PowerCuts:
        """All power cuts of an update to version 2."""
        package = self.packed(2, self.module(2))

        def recover() -> None:
            if self.updater.boot() != 2:
                self.update(package)

        self.flash.restore(self.start)
        return PowerCuts(
            [self.flash],
            update=lambda: self.update(package),
            restart=lambda: self.machine.restore(self.on),
            recover=recover,
            check=self.check,
            machine=self.machine,
            **options,  # type: ignore[arg-type]
        )


def bad_packages(device: Any) -> dict[str, bytes]:
    """Packages that a device must refuse, by what is wrong with them."""
    arch, content = device.arch, device.module(2)
    good, other = device.packed(2, content), "aarch64" if arch != "aarch64" else "riscv64"
    foreign = module(other, 2, "o")
    text = good[12 : 12 + good[8]]

    def signed(manifest: bytes, module: bytes = content, key: Ed25519PrivateKey = KEY) -> bytes:
        """A package with any manifest, rightly signed."""
        return good[:8] + len(manifest).to_bytes(4, "little") + manifest + key.sign(manifest) + module

    return {
        "nothing": b"",
        "no package": b"\x7fELF" + good,
        "a ZIP archive": b"PK\x03\x04" + good,
        "cut short": good[: len(good) // 2],
        "cut in the manifest": good[:40],
        "cut in the signature": good[: 12 + len(text) + 63],
        "without the module": good[: 12 + len(text) + 64],
        "a byte of the module changed": good[:-1] + bytes((good[-1] ^ 1,)),
        "a byte of the manifest changed": good.replace(b'"version": 2', b'"version": 3'),
        "a byte of the signature changed": good[: 20 + len(text)] + bytes(8) + good[28 + len(text) :],
        "bytes after the module": good + b"\0",
        "two packages": good + good,
        "a manifest of 4 GiB": good[:8] + b"\xff" * 4 + good[12:],
        "a manifest of no bytes": good[:8] + bytes(4) + good[12:],
        "signed by another key": signed(text, key=Ed25519PrivateKey.from_private_bytes(bytes(32))),
        "signed for another module": signed(text, device.module(1)),
        "the version that is installed": device.packed(1, content),
        "version 0": device.packed(0, content),
        "for another architecture": pack(Manifest(NAME, 2, other), foreign, KEY),
        "a module for another architecture": device.packed(2, foreign),
        "a module that is no ELF file": device.packed(2, b"no module"),
        "a module that ends in its header": device.packed(2, content[:40]),
        "another module": pack(Manifest("scalf", 2, arch), content, KEY),
        "a name that leads elsewhere": pack(Manifest("../scale", 2, arch), content, KEY),
        "more than a slot": device.packed(2, content + bytes(2 * SECTOR)),
        "a module of 4 GiB by the manifest": signed(text.replace(b'"size": ', b'"size": 4294967296')),
        "a version twice": signed(text.replace(b'"version": 2', b'"version": 1, "version": 2')),
        "a field too many": signed(text.replace(b'"version": 2', b'"run": "sh", "version": 2')),
        "a manifest that is no JSON": signed(b"\xff" + text),
        "a manifest in UTF-16": signed(text.decode().encode("utf-16")),
        "a manifest that is a list": signed(b"[" * 100 + b"]" * 100),
    }


def refused(device: Device) -> int:
    """The number of bad packages, each refused with nothing written. Raises AssertionError for another end."""
    device.flash.restore(device.start)
    packages = bad_packages(device)
    packages["a module that needs what there is not"] = device.packed(2, device.module(2, NEEDS_MISSING=1))
    for name, package in packages.items():
        before = device.flash.operations, device.flash.digest()
        try:
            device.update(package)
        except PackageError:
            assert (device.flash.operations, device.flash.digest()) == before, f"{name}: flash was written"
        else:
            raise AssertionError(f"{name}: installed")
    return len(packages)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--arch", default="all")
    bad = 0
    for target in targets_of(options.parse_args().arch):
        for kind in ("so", "o"):
            device = Device(target.name, kind)
            sweep, count = device.cuts(seeds=range(4)).sweep(), refused(device)
            device.machine.close()
            bad += len(sweep.bad)
            print(f"{target.name:12} .{kind:3} {count} bad packages refused; {sweep}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
