"""Update a module of a running device: check it, swap it in, and roll back when the device is not well.

The device is a Thumb machine. Its application calls a driver, libversions.so, of which newer ages are offered. A
device must never be left half updated: a driver that does not load leaves no trace, and one that loads but gives
wrong answers is taken out again.

    python examples/firmware_update.py
"""

from pathlib import Path

from emu import Library, Machine
from relink import LinkErrors

BUILT = Path(__file__).resolve().parent.parent / "arch_fixtures" / "built" / "thumb-clang"


class Device:
    """An application and the driver it calls; `update` replaces the driver while the device runs."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.application = machine.load(BUILT / "versions" / "client_v1.so")
        self.work = self.application.function("client_versioned", "int(void)")

    def update(self, driver: Path, *, expected: int) -> bool:
        """Install `driver`; False, and everything as before, where it cannot be loaded or answers wrongly."""
        try:
            candidate: Library = self.machine.load(driver)
        except LinkErrors as refusal:  # all that is wrong with it, together
            for error in refusal.exceptions:
                print("  refused:", str(error).partition(" (needed by ")[0])
            return False
        swap = self.application.redirect("versioned", candidate.function("versioned", "int(void)"))
        if (answer := self.work()) == expected:
            return True
        print(f"  rolled back: the application got {answer}, not {expected}")
        swap.undo()
        candidate.close()
        return False


def main() -> None:
    with Machine("arm", library_path=[BUILT / "versions" / "v1"], timeout=10.0) as machine:
        device = Device(machine)
        regions = machine.memory.regions
        print("running:", device.work())

        print("an update that needs what the device has not:")
        device.update(BUILT / "deps" / "needs_missing.so", expected=2)
        print("  running:", device.work(), "- memory as before:", machine.memory.regions == regions)

        print("an update that misbehaves:")
        device.update(BUILT / "versions" / "none" / "libversions.so", expected=2)
        print("  running:", device.work(), "- memory as before:", machine.memory.regions == regions)

        print("a good update:")
        device.update(BUILT / "versions" / "v2" / "libversions.so", expected=2)
        print("  running:", device.work())


if __name__ == "__main__":
    main()

# Prints:
#   running: 1
#   an update that needs what the device has not:
#     refused: libnowhere.so.3: cannot open shared object file: No such file or directory
#     refused: libalso_nowhere.so: cannot open shared object file: No such file or directory
#     running: 1 - memory as before: True
#   an update that misbehaves:
#     rolled back: the application got 100, not 2
#     running: 1 - memory as before: True
#   a good update:
#     running: 2
