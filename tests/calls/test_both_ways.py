"""A sample of the prototypes that `both_ways` makes by the thousand, called both ways against clang's code."""

from __future__ import annotations

import pytest

from tests.calls.both_ways import ABIS, Way, cases_of, mismatches


@pytest.mark.sample(2)
@pytest.mark.parametrize(("target", "abi"), ABIS)
def test_generated_prototypes_are_called_as_clang_has_them(target: str, abi: str) -> None:
    way = Way(target, abi, "clang")
    cases = cases_of(way, 40, "sample")
    assert any(case.prototype.variadic for case in cases)
    assert list(mismatches(way, cases, "-O1")) == []
