"""A whole device on a board: UART, watchdog, flash controller and a verifier of packages around the updater.

A package comes in through the UART, is verified, and installed on trial; the new module has to pass its self-test
before the watchdog bites, or the old one comes back (device.c). `Device.cuts` cuts the power of that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from modules import KEY, NAME, module
from packages import Manifest, PackageError, pack, unpack
from updater import HERE, SOURCE, areas, compiled

from emu import NorFlash
from emu.boards import Board, Ended, FlashMemory, PowerCuts, Ram, Register
from emu.boards import Device as Peripheral
from emu.boards.peripherals import Uart, Watchdog, WatchdogReset
from emu.build.targets import targets_of
from emu.errors import BudgetExceeded
from relink.errors import RelinkError

#: What each CPU's code is compiled for: a target, and flags.
CPUS: dict[str, tuple[str, tuple[str, ...]]] = {
    "cortex-m3": ("thumb", ("-mcpu=cortex-m3", "-mfloat-abi=soft")),
    "cortex-a7": ("arm", ()),
    "cortex-a53": ("aarch64", ()),
    "rv32imac": ("riscv32", ("-march=rv32imac", "-mabi=ilp32")),
    "rv64imac": ("riscv64", ("-march=rv64imac", "-mabi=lp64")),
}
#: What is tried: a mistake of the device, and of the new module's self-test.
CASES = (
    ("SOUND", "NONE"), ("SOUND", "FAILS"), ("SOUND", "HANGS"),
    ("STARVES_WATCHDOG", "NONE"), ("CONFIRMS_FIRST", "FAILS"), ("TRIES_AGAIN", "HANGS"),
)  # fmt: skip
SECTOR, SECTORS, PAGE = 2048, 6, 512
FLASH = 0x6000_0000
LONGEST = 20_000_000  #: instructions until the device has to be ready


class FlashController(Peripheral):
    """Registers: address 0, data 4 (a word of the page after the others), command 8, status 12 (bit 0: busy).
    A command is carried out when its time is over; a reset before that keeps it from happening.
    """

    size = 16
    address, data, command, status = Register(0), Register(4), Register(8), Register(12, writable=0)
    TIMES = {1: 2_000, 2: 400_000}  # noqa: RUF012 (instructions of a program, and of an erase)

    def __init__(self, flash: NorFlash) -> None:
        super().__init__(name="flash controller")
        self.flash, self.page = flash, b""

    @data.on_write
    def _data(self, value: int) -> None:
        self.page += value.to_bytes(4, "little")

    @command.on_write
    def _command(self, command: int) -> None:
        self.status = 1
        self.after(self.TIMES[command], partial(self._finish, command))

    def _finish(self, command: int) -> None:
        page, self.page, self.status = self.page, b"", 0
        if command == 1:
            self.flash.program(FLASH + self.address, page)
        else:
            self.flash.erase_sector(self.address // SECTOR)

    def reset(self) -> None:
        super().reset()
        self.page = b""


class Verifier(Peripheral):
    """A secure element, which has the public key. Registers: address 0, length 4, above 8, version 12: of the
    package at that address, if its signature is right and the version is above `above`; otherwise 0.
    """

    size = 16
    address, length, above, version = Register(0), Register(4), Register(8), Register(12, writable=0)

    def __init__(self, arch: str) -> None:
        super().__init__(name="verifier")
        self.arch = arch
        self.refused = ""  #: why the last package was

    @version.on_read
    def _version(self) -> int:
        package = self.bus.read(self.address, self.length).to_bytes(self.length, "little")
        try:
            return unpack(package, KEY.public_key(), arch=self.arch, above=self.above)[0].version
        except PackageError as error:
            self.refused = str(error)
            return 0


class Host:
    """The other end of the line: sends a package when the device is ready for one, 16 bytes for each full stop."""

    def __init__(self) -> None:
        self.uart = Uart(on_byte=self._hear)
        self.lines: list[str] = []
        self._line, self._package, self._left = "", b"", b""
        self.done: Callable[[], None] = lambda: None  #: called when the device is ready, and gets no package

    def connect(self, package: bytes, size: int) -> None:
        """The device is switched on; it is sent the package once, after its size."""
        self.lines, self._line, self._left = [], "", b""
        self._package = size.to_bytes(4, "little") + package

    def _hear(self, byte: int) -> None:
        if byte == ord("."):
            self.uart.receive(self._left[:16])
            self._left = self._left[16:]
        elif byte != ord("\n"):
            self._line += chr(byte)
        else:
            line, self._line = self._line, ""
            self.lines.append(line)
            if not line.startswith("ready"):
                return
            if self._package and line != "ready 2":
                self._left, self._package = self._package, b""
            else:
                self.done()


class Device:
    """A device that runs version 1 of the module. `mistake` is what the self-test of version 2 comes to."""

    areas = areas(SECTOR, FLASH)

    def __init__(self, cpu: str, fault: str = "SOUND", mistake: str = "NONE") -> None:
        self.target, self.flags = CPUS[cpu]
        self.arch = targets_of(self.target)[0].arch
        self.flash = NorFlash([(SECTORS, SECTOR)], base=FLASH, write_size=16)
        self.host, self.watchdog, self.verifier = Host(), Watchdog(), Verifier(self.arch)
        parts = (self.host.uart, self.watchdog, FlashController(self.flash), self.verifier)
        self.board = Board(
            cpu,
            memory=[FlashMemory(self.flash), Ram(0x2000_0000, 64 << 10)],
            devices={0x4000_0000 + 0x1000 * number: part for number, part in enumerate(parts)},
            window=(0xC000_0000, 0x100_0000) if cpu.startswith("rv") else None,
        )
        self.machine, self.host.done = self.board.machine, self.board.stop
        files = compiled(
            self.target, HERE / "device.c", SOURCE, flags=("-O2", "-fno-builtin", *self.flags), FAULT=fault,
            SECTOR_SIZE=SECTOR, PAGE_SIZE=PAGE,
        )  # fmt: skip
        hooks = {"flash_memory": FLASH, "self_test": (self._self_test, "int(uint32_t)")}
        self.firmware = self.machine.load(files, symbols=hooks)
        self.package = self.packed(2, self.module(2, MISTAKE=mistake))
        self.wanted = 2 if mistake == "NONE" else 1
        self.off = self.machine.snapshot()
        self.run(self.packed(1, self.module(1)))
        self.installed = self.flash.state()

    def module(self, version: int, **defines: object) -> bytes:
        """A version of the module for this device."""
        return module(self.target, version, "o", *self.flags, **defines)

    def packed(self, version: int, content: bytes) -> bytes:
        """A signed package of a module."""
        return pack(Manifest(NAME, version, self.arch), content, KEY)

    def _self_test(self, image: int) -> int:
        """The device's dynamic linker: the module in flash is linked, and tested. 0 where one of both fails."""
        size = int.from_bytes(self.flash.read(FLASH + image, 4), "little")
        _, content = unpack(self.flash.read(FLASH + image + 4, size), KEY.public_key(), arch=self.arch)
        try:
            library = self.machine.load(content)
            try:
                return int(library.function("self_test", "int(void)")())
            finally:
                library.close()
        except (WatchdogReset, BudgetExceeded):
            raise
        except RelinkError:
            return 0

    def run(self, package: bytes, size: int | None = None) -> None:
        """Switch the device on, until it is ready after it got the package. Its size may be a lie. Raises
        AssertionError if it is never ready; `host.lines` tells resets by the watchdog too.
        """
        self.host.connect(package, len(package) if size is None else size)
        while self.host.lines.count("watchdog") < 5:
            self.board.reset(entry=self.firmware.symbols["start"].address)
            try:
                ended = self.board.run(max_instructions=LONGEST)
            except WatchdogReset:
                self.host.lines.append("watchdog")
            else:
                assert ended is Ended.STOPPED, "the device is never ready"
                return
        raise AssertionError("the watchdog resets the device for ever")

    def check(self) -> str | None:
        """What is wrong with the device when it is ready."""
        lines = self.host.lines
        return None if lines[-1] == f"ready {self.wanted}" else f"it says: {', '.join(lines)}"

    def start(self) -> None:
        """Off, with version 1 installed."""
        self.machine.restore(self.off)
        self.flash.restore(self.installed)

    def cuts(self, **options: object) -> PowerCuts:
        """All power cuts of the update to version 2."""
        self.start()
        return PowerCuts(
            [self.flash],
            update=lambda: self.run(self.package),
            restart=lambda: self.machine.restore(self.off),
            recover=lambda: self.run(self.package),
            check=self.check,
            **options,  # type: ignore[arg-type]
        )
