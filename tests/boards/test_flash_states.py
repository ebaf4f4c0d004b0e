"""Flash models: numbered operations, cuts and torn operations, states and their hashes."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from functools import partial

import pytest

from emu.boards.flash import Eeprom, Flash, FlashEvent, FlashGeometryError, FlashStatus, NandFlash, NorFlash
from tests.boards.test_flash import BASE, nor, refused


class PowerCut(Exception):
    pass


# ---------------------------------------------------------------- events


def test_operations_are_numbered_and_named_the_same_in_every_run() -> None:
    heard: list[tuple[str, bytes]] = []
    flash = nor()
    flash.before.append(lambda event: heard.append((event.id, flash.read(BASE, 2))))
    flash.after.append(lambda event: heard.append((str(event), flash.read(BASE, 2))))
    flash.program(BASE, b"ab")
    flash.erase_sector(0)
    assert heard == [
        ("nor#1:program@0x8000000+2", b"\xff\xff"),
        ("nor#1:program@0x8000000+2", b"ab"),
        ("nor#2:erase@0x8000000+64", b"ab"),
        ("nor#2:erase@0x8000000+64", b"\xff\xff"),
    ]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_listener_that_raises_cuts_the_power_there(when: str) -> None:
    def cut(event: FlashEvent) -> None:
        raise PowerCut

    flash = nor()
    getattr(flash, when).append(cut)
    with pytest.raises(PowerCut):
        flash.program(BASE, b"ab")
    assert flash.read(BASE, 2) == (b"\xff\xff" if when == "before" else b"ab")
    assert flash.operations == 1


def torn(flash: Flash, operation: Callable[[], object], seed: int, **how: object) -> int:
    """Cut the power in the middle of an operation; the bytes that were carried out whole."""
    done = []

    def cut(event: FlashEvent) -> None:
        done.append(flash.tear(event, seed, **how))  # type: ignore[arg-type]
        raise PowerCut

    flash.before.append(cut)
    with pytest.raises(PowerCut):
        operation()
    flash.before.remove(cut)
    return done[0]


def test_a_torn_program_leaves_whole_units_and_one_with_some_bits() -> None:
    places = set()
    for seed in range(60):
        flash, again = nor(write_size=4), nor(write_size=4)
        whole = torn(flash, partial(flash.program, BASE + 8, bytes(16)), seed)
        assert torn(again, partial(again.program, BASE + 8, bytes(16)), seed) == whole
        assert flash.digest() == again.digest()
        assert whole % 4 == 0
        content = flash.read(BASE + 8, 16)
        assert content[:whole] == bytes(whole)
        assert content[whole + 4 :] == b"\xff" * len(content[whole + 4 :])
        places.add((whole, content[whole : whole + 4] not in (bytes(4), b"\xff" * 4, b"")))
    assert {whole for whole, _ in places} == {0, 4, 8, 12, 16}
    assert any(loose for _, loose in places)


def test_a_torn_erase_leaves_bits_that_are_neither_old_nor_all_erased() -> None:
    flash = nor()
    flash.program(BASE, bytes(192))
    whole = torn(flash, lambda: flash.erase(BASE, 192), 7, at=64)
    content = flash.read(BASE, 192)
    assert whole == 64
    assert content[:64] == b"\xff" * 64
    assert set(content[64:128]) - {0, 0xFF}
    assert content[128:] == bytes(64)
    assert flash.wear.tolist() == [1, 1, 0, 0, 0, 0]


def test_a_cut_without_loose_bits_is_at_a_byte() -> None:
    flash = nor()
    assert torn(flash, lambda: flash.program(BASE, bytes(10)), 0, at=5, bits=False) == 5
    assert flash.read(BASE, 10) == bytes(5) + b"\xff" * 5
    assert torn(flash, lambda: flash.erase_sector(0), 0, at=3, bits=False) == 3
    assert flash.read(BASE, 10) == b"\xff" * 3 + bytes(2) + b"\xff" * 5
    before = flash.state()
    assert torn(flash, lambda: flash.erase_sector(0), 0, at=0, bits=False) == 0
    assert flash.state().sectors == before.sectors


def test_an_operation_of_another_device_cannot_be_torn_here() -> None:
    flash, other = nor(), NorFlash([(4, 64)], name="other", base=BASE)
    flash.before.append(other.tear)
    with pytest.raises(FlashGeometryError, match="nor#1:erase@0x8000000\\+64 is no operation of this device"):
        flash.erase_sector(0)


def test_units_of_a_torn_operation_have_to_be_erased() -> None:
    flash = nor(write_size=4, program_once=True)
    torn(flash, lambda: flash.program(BASE, bytes(8)), 3, at=4)
    assert refused(lambda: flash.program(BASE + 4, bytes(4))).reason is FlashStatus.PROGRAMMED
    flash.program(BASE + 8, bytes(4))
    torn(flash, lambda: flash.erase(BASE, 128), 3, at=64)
    flash.program(BASE, bytes(4))
    assert refused(lambda: flash.program(BASE + 64, bytes(4))).reason is FlashStatus.PROGRAMMED


# ---------------------------------------------------------------- states


@pytest.mark.parametrize(
    "make",
    [
        lambda: nor(write_size=4, program_once=True),
        lambda: nor(),
        lambda: NandFlash(blocks=6, pages_per_block=4, page_size=16, spare_size=4),
        lambda: Eeprom(192, page_size=16),
    ],
    ids=["program-once", "nor", "nand", "eeprom"],
)
def test_every_state_of_a_history_comes_back_by_its_hash(make: Callable[[], Flash]) -> None:
    flash, rng = make(), random.Random(5)
    history = [(flash.state(), flash.digest(), flash.contents.copy())]
    flash.strict = False
    for _ in range(200):
        number = rng.randrange(len(flash.sectors))
        start, end = flash.sectors.bounds(number)
        if rng.random() < 0.4:
            flash.erase_sector(number)
        else:
            unit = flash.write_size
            at = rng.randrange(start, end, unit)
            flash.program(flash.base + at, rng.randbytes(unit))
        history.append((flash.state(), flash.digest(), flash.contents.copy()))
    for state, digest, contents in rng.sample(history, 50):
        flash.restore(pickle.loads(pickle.dumps(state)) if rng.random() < 0.2 else state)
        assert flash.digest() == digest
        assert (flash.contents == contents).all()
        assert flash.state() == state
    by_hash = {digest: (state.sectors, state.bad) for state, digest, _ in history}
    assert all(by_hash[digest] == (state.sectors, state.bad) for state, digest, _ in history)


def test_a_state_shares_the_sectors_that_did_not_change() -> None:
    flash = nor()
    one = flash.state()
    flash.program(BASE + 64, b"x")
    two = flash.state()
    assert [a is b for a, b in zip(one.sectors, two.sectors, strict=True)] == [True, False, True, True, True, True]
    flash.wear[0] += 1
    assert flash.digest() == nor_with(b"x").digest()


def nor_with(data: bytes) -> NorFlash:
    flash = nor()
    flash.preset(BASE + 64, data)
    return flash


def test_a_state_of_other_sectors_is_refused() -> None:
    flash = nor()
    with pytest.raises(FlashGeometryError, match="state of other, which has other sectors"):
        flash.restore(NorFlash([(8, 64)], name="other").state())


def test_a_flipped_bit_is_a_change() -> None:
    flash = nor()
    before = flash.digest()
    flash.flip(BASE + 5, 3)
    assert flash.read(BASE + 5, 1) == b"\xf7"
    assert flash.digest() != before
    flash.flip(BASE + 5, 3)
    assert flash.digest() == before


def test_a_torn_write_of_an_eeprom_is_some_old_and_some_new_bits() -> None:
    eeprom = Eeprom(64, page_size=16)
    eeprom.program(0, b"\x0f" * 16)
    whole = torn(eeprom, lambda: eeprom.program(0, b"\xf0" * 16), 4, at=6)
    content = eeprom.read(0, 16)
    assert whole == 6
    assert content[:6] == b"\xf0" * 6
    assert content[7:] == b"\x0f" * 9
    assert eeprom.wear.tolist() == [2, 0, 0, 0]
