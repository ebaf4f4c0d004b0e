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

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from packages import Manifest, PackageError, pack, unpack
from updater import SOURCE, compiled, load

from emu import Machine, NorFlash
from emu.boards import PowerCuts
from emu.build.targets import targets_of

MODULE = Path(__file__).with_name("module.c")
SECTOR, SECTORS, PAGE = 8192, 6, 512
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))  # an example's: everybody knows it


def module(arch: str, version: int, kind: str) -> bytes:
    """The module, built for an architecture; `kind` is "so" or "o"."""
    return compiled(MODULE, arch, "-g0", "-O2", kind=kind, VERSION=version).read_bytes()


class Device:
    """A device with version 1 of a module, in one of the updater's two slots."""

    def __init__(self, arch: str, kind: str) -> None:
        (target,) = targets_of(arch)
        self.arch, self.kind = target.arch, kind
        self.flash = flash = NorFlash([(SECTORS, SECTOR)], write_size=16)
        self.machine = Machine(target.arch, max_instructions=100_000_000)
        file = compiled(SOURCE, arch, "-O2", SECTOR_SIZE=SECTOR, PAGE_SIZE=PAGE)
        self.updater = load(self.machine, file, flash)
        self.update(self.package(1))
        self.start, self.on = flash.state(), self.machine.snapshot()

    def package(self, version: int) -> bytes:
        """A signed package of a version."""
        return pack(Manifest("scale", version, self.arch), module(self.arch, version, self.kind), KEY)

    def update(self, package: bytes) -> None:
        """Install a package. Raises PackageError before anything is written."""
        manifest, _ = unpack(package, KEY.public_key(), arch=self.arch, above=self.updater.boot())
        image = len(package).to_bytes(4, "little") + package
        image += bytes(-len(image) % PAGE)
        if len(image) > 2 * SECTOR - PAGE:
            raise PackageError(f"the package has {len(package)} bytes, more than a slot")
        self.updater.install_image(manifest.version, len(image), image)

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
        package = self.package(2)

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


def bad_packages(device: Device) -> dict[str, bytes]:
    """Packages that a device must refuse, by what is wrong with them."""
    good, other = device.package(2), "aarch64" if device.arch != "aarch64" else "riscv64"
    strange = pack(Manifest("scale", 2, device.arch), module(other, 2, device.kind), KEY)
    thief = Ed25519PrivateKey.from_private_bytes(bytes(32))
    old = pack(Manifest("scale", 1, device.arch), module(device.arch, 2, device.kind), KEY)
    return {
        "nothing": b"",
        "no package": b"\x7fELF" + good,
        "cut short": good[: len(good) // 2],
        "cut in the manifest": good[:40],
        "a byte of the module changed": good[:-1] + bytes((good[-1] ^ 1,)),
        "a byte of the manifest changed": good.replace(b'"version": 2', b'"version": 3'),
        "bytes after the module": good + b"\0",
        "a manifest of 4 GiB": good[:8] + b"\xff" * 4 + good[12:],
        "signed by another key": pack(Manifest("scale", 2, device.arch), good[-64:], thief),
        "the version that is installed": old,
        "for another architecture": pack(Manifest("scale", 2, other), module(other, 2, device.kind), KEY),
        "a module for another architecture": strange,
        "a module that is no ELF file": pack(Manifest("scale", 2, device.arch), b"no module", KEY),
        "a name that leads elsewhere": pack(Manifest("../scale", 2, device.arch), b"", KEY),
        "more than a slot": pack(
            Manifest("scale", 2, device.arch), module(device.arch, 2, device.kind) + bytes(2 * SECTOR), KEY
        ),
    }


def refused(device: Device) -> int:
    """The number of bad packages, each refused with nothing written. Raises AssertionError for another end."""
    device.flash.restore(device.start)
    packages = bad_packages(device)
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
