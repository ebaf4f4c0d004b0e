"""Modules as signed packages: bad ones are refused with nothing written, good ones survive every power cut."""

from __future__ import annotations

import pytest

from tests.boards.examples import example
from tests.objects.build import TARGETS

pytest.importorskip("ziglang", reason="the updater is compiled with the ziglang wheel")
pytest.importorskip("cryptography", reason="packages are signed with cryptography (the extra `packages`)")


EXAMPLE = example("own_updater/modules.py")


@pytest.mark.sample(2)
@pytest.mark.parametrize(("target", "kind"), [(target, ("so", "o")[n % 2]) for n, target in enumerate(TARGETS)])
def test_a_module_survives_every_cut_and_bad_packages_write_nothing(target: str, kind: str) -> None:
    device = EXAMPLE.Device(target, kind)
    try:
        assert EXAMPLE.refused(device) >= 30
        sweep = device.cuts().sweep()
        assert sweep.bad == []
        assert sweep.modes["torn"] == sweep.modes["before"] >= 5
    finally:
        device.machine.close()


def test_a_package_that_is_damaged_anywhere_is_refused() -> None:
    key, public = EXAMPLE.KEY, EXAMPLE.KEY.public_key()
    module = EXAMPLE.module("x86_64", 2, "o")
    good = EXAMPLE.pack(EXAMPLE.Manifest("scale", 2, "x86_64"), module, key)
    assert EXAMPLE.unpack(good, public, arch="x86_64")[1] == module
    for at in [*range(260), len(good) // 2, len(good) - 1]:
        damaged = good[:at] + bytes((good[at] ^ 0x10,)) + good[at + 1 :]
        for package in (damaged, good[:at]):
            with pytest.raises(EXAMPLE.PackageError):
                EXAMPLE.unpack(package, public, arch="x86_64")


@pytest.mark.parametrize(
    "fields",
    [{"version": True}, {"version": 0}, {"version": 1 << 32}, {"name": "a b"}, {"name": 5}, {"arch": None}],
)
def test_a_signed_manifest_with_odd_fields_is_refused(fields: dict[str, object]) -> None:
    manifest = EXAMPLE.Manifest(**{"name": "scale", "version": 2, "arch": "x86_64", **fields})
    package = EXAMPLE.pack(manifest, EXAMPLE.module("x86_64", 2, "o"), EXAMPLE.KEY)
    with pytest.raises(EXAMPLE.PackageError):
        EXAMPLE.unpack(package, EXAMPLE.KEY.public_key(), arch="x86_64")
