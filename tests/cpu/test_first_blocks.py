"""The first block of a run is inspected before it runs, whatever asks the engine to stop at that time."""

from __future__ import annotations

import pytest

from emu import Machine
from emu.cpu.unicorn import api as unicorn_api
from emu.cpu.unicorn import cpu as unicorn
from emu.cpu.unicorn import stops as unicorn_stops
from emu.cpu.unicorn.cpu import UnicornCpu
from emu.errors import GuestFault
from tests.objects.build import compiled

#: A function whose first instruction is refused, and one that may run.
CODES = {
    "x86_64": (".byte 0x62, 0xf1, 0x7d, 0x48, 0xfe, 0xc1\n ret", "mov %edi, %eax\n ret"),
    "i386": (".byte 0xc5, 0xf1, 0xfe, 0xd0\n ret", "mov 4(%esp), %eax\n ret"),
    "riscv64": (".short 0x9d75\n ret", "ret"),
    "riscv32": (".short 0x9d75\n ret", "ret"),
}


@pytest.mark.parametrize("arch", CODES)
@pytest.mark.parametrize("limit", [0, 1000])
def test_a_request_to_stop_lets_no_first_block_run_without_inspection(
    arch: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from the watchdog's thread, at any time: before each run of the engine."""
    refused, runs = CODES[arch]
    code = f".globl bad, good\nbad: {refused}\ngood: {runs}\n"
    with Machine(arch) as machine:
        library = machine.load(compiled(arch, code, language="assembler"))
        bad, good = (library.function(name, f"int {name}(int)") for name in ("bad", "good"))
        cpu, requests, real = machine.cpu, list[object](), unicorn_api.emu_start
        cpu.read_register("pc")  # has the engine made
        assert isinstance(cpu, UnicornCpu)

        def requested(*arguments: object) -> int:
            requests.append(cpu._watch.request())
            return int(real(*arguments))

        for module in (unicorn_stops, unicorn):
            monkeypatch.setattr(module, "emu_start", requested)
        for _ in range(3):
            with pytest.raises(GuestFault, match="invalid instruction") as caught:
                bad(1, max_instructions=limit)
            assert caught.value.pc == bad.address
            assert good(7, max_instructions=limit) == 7
        assert len(requests) > 6
