"""Thread-local storage larger than the static area, in objects."""

from __future__ import annotations

import re

import pytest

from emu import Machine
from relink.errors import LinkErrors, TlsError
from relink.tls import DEFAULT_STATIC_SIZE, MAX_DYNAMIC_SIZE
from tests.fixtures import arch_of
from tests.objects.build import TARGETS, compiled

SOURCE = """
__thread char first = 3;
__thread char big[SIZE] INIT;
__thread int last = 7;
int sum(void) { big[SIZE - 1] += 2; return first * 100 + last * 10 + big[SIZE - 1] + big[0]; }
"""
#: A model -> how code of it is compiled.
MODELS = {"global-dynamic": "-fPIC", "local-dynamic": "-fPIC", "initial-exec": "-fPIE", "local-exec": "-fPIE"}
MEBIBYTE = 1 << 20


def of_size(target: str, model: str, size: int, init: str = "") -> str:
    text = SOURCE.replace("SIZE", str(size)).replace("INIT", init)
    return str(compiled(target, text, MODELS[model], f"-ftls-model={model}"))


@pytest.mark.sample(1)
@pytest.mark.parametrize("target", TARGETS)
def test_any_size_runs_as_a_dynamic_module_or_where_the_static_area_has_room(target: str) -> None:
    for model in MODELS:
        dynamic = model.endswith("dynamic")
        for size, init in ((MEBIBYTE, ""), (MEBIBYTE + 1, "= {1}"), (5 * MEBIBYTE, "")):
            path = of_size(target, model, size, init)
            with Machine(arch_of(target), tls_size=DEFAULT_STATIC_SIZE if dynamic else size + 0x1000) as machine:
                run = machine.load(path).function("sum", "int(void)")
                first = 372 + (1 if init else 0)
                assert (run(), run()) == (first, first + 2), (model, size)


@pytest.mark.parametrize("target", TARGETS)
def test_what_the_static_area_has_no_room_for_says_which_size_would_do(target: str) -> None:
    for model in ("initial-exec", "local-exec"):
        path = of_size(target, model, MEBIBYTE)
        with Machine(arch_of(target)) as machine, pytest.raises(LinkErrors) as caught:
            machine.load(path)
        text = str(caught.value)
        assert "cannot allocate memory in static TLS block" in text
        needed = re.search(r"needs (\d+) bytes; \d+ of 65536 .*\(tls_size, --tls-size: (\d+) is enough\)", text)
        assert needed is not None, text
        assert int(needed[1]) >= MEBIBYTE
        with Machine(arch_of(target), tls_size=int(needed[2])) as machine:
            assert machine.load(path).function("sum", "int(void)")() == 372


@pytest.mark.sample(1)
@pytest.mark.parametrize("target", TARGETS)
def test_what_is_too_big_for_any_thread_s_heap_is_refused_by_its_size(target: str) -> None:
    path = of_size(target, "global-dynamic", MAX_DYNAMIC_SIZE + 1)
    with Machine(arch_of(target)) as machine:
        with pytest.raises(
            TlsError, match=rf"a TLS segment of 26\d+ bytes .* at most {MAX_DYNAMIC_SIZE} .*--tls-size"
        ):
            machine.load(path)
        assert machine.linker.images == []
