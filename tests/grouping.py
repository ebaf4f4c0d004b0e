"""`@each(names, members)`: one test of many members that say the same, where `parametrize` would make many tests.

    @each(("name", "value"), [("PC32", 4), ("PLT32", 8)])
    def test_the_field_holds_it(name: str, value: int) -> None: ...

All members run, whatever becomes of those before them, and each that fails is named in the message, with its
traceback. It stacks with itself and goes below `pytest.mark.parametrize`, whose ids it leaves as they are. Members
share what fixtures give; a test that writes to `tmp_path` or changes its fixture is not for grouping.

`--arch` and `--compiler` choose among members as they do among tests. A member may skip; where all do, the test is
skipped, with their reasons.
"""

from __future__ import annotations

import functools
import inspect
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import pytest

from tests.subject import chosen

_Test = TypeVar("_Test", bound=Callable[..., None])


def each(
    names: str | tuple[str, ...], members: Iterable[object], *, ids: Callable[[object], str] | None = None
) -> Callable[[_Test], _Test]:
    """Run the test for every member within one test; see above.

    A member is a value, or with several names a tuple of values, as for `parametrize`; `pytest.param` is one too.
    A member's name in messages is its `pytest.param` id, what `ids` makes of it, or its values in words.
    """
    names = tuple(names.replace(",", " ").split()) if isinstance(names, str) else names
    table = [_row(names, member, ids) for member in members]

    def decorate(test: _Test) -> _Test:
        signature = inspect.signature(test)
        left = [parameter for name, parameter in signature.parameters.items() if name not in names]
        assert set(names) <= set(signature.parameters), f"{test.__name__} does not take all of {names}"
        request = inspect.Parameter("request", inspect.Parameter.KEYWORD_ONLY)
        asks = "request" in signature.parameters

        @functools.wraps(test)
        def together(*, request: pytest.FixtureRequest, **others: object) -> None:
            given = {**others, "request": request} if asks else others
            _run(test, request.config, [(name, {**values, **given}) for name, values in table])

        together.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in left if p.name != "request"]
            + [request]
        )
        together.members = [name for name, _ in table]  # type: ignore[attr-defined]
        del together.__wrapped__  # pytest would take the parameters from there
        return together  # type: ignore[return-value]

    return decorate


class MembersFailed(AssertionError):
    """Some members of a grouped test failed: each is named, with its traceback."""

    def __init__(self, failures: Mapping[str, BaseException], total: int) -> None:
        self.members = tuple(failures)
        heads = "\n".join(f"  {name}: {_head(error)}" for name, error in failures.items())
        details = "\n".join(f"---- {name}\n{_details(error)}" for name, error in failures.items())
        super().__init__(f"{len(failures)} of {total} members failed:\n{heads}\n\n{details}")


def _run(test: Callable[..., None], config: pytest.Config, table: list[tuple[str, dict[str, object]]]) -> None:
    failures: dict[str, BaseException] = {}
    skips: Counter[str] = Counter()
    wanted = [row for row in table if chosen(config, [*row[0].split("-"), *row[1].values()])]
    for name, values in wanted:
        try:
            test(**values)
        except pytest.skip.Exception as skip:
            skips[str(skip)] += 1
        except MembersFailed as failed:
            failures.update({f"{name}, {inner}": failed for inner in failed.members})
        except (Exception, pytest.fail.Exception) as error:
            failures[name] = error
    if failures:
        raise MembersFailed(failures, len(wanted))
    if sum(skips.values()) == len(wanted):
        pytest.skip("; ".join(skips) or "no member is about what was asked for")


def _row(
    names: tuple[str, ...], member: object, ids: Callable[[object], str] | None
) -> tuple[str, dict[str, object]]:
    values: tuple[object, ...]
    given: object = None
    if hasattr(member, "values") and hasattr(member, "marks"):  # pytest.param
        values, given = member.values, member.id
    else:
        values = member if len(names) > 1 else (member,)  # type: ignore[assignment]
    assert len(values) == len(names), f"{values} are not values for {names}"
    name = given or (ids(member) if ids else "-".join(_word(value) for value in values))
    return str(name), dict(zip(names, values, strict=True))


def _word(value: object) -> str:
    name = getattr(value, "__name__", None)
    return str(name) if name else str(value) if isinstance(value, (str, int, float)) else repr(value)[:60]


def _head(error: BaseException) -> str:
    lines = traceback.format_exception_only(error)
    return lines[0].strip()


def _details(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).rstrip()
