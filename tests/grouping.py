"""`@each(names, members)`: one test of many members that say the same, where `parametrize` would make many tests.

    @each(("name", "value"), [("PC32", 4), ("PLT32", 8)])
    def test_the_field_holds_it(name: str, value: int) -> None: ...

All members run, whatever becomes of those before them, and each that fails is named in the message, with its
traceback. It stacks with itself and goes below `pytest.mark.parametrize`, whose ids it leaves as they are. Members
share what fixtures give; a test that writes to `tmp_path` or changes its fixture is not for grouping.

`--arch` and `--compiler` choose among members as they do among tests. A member may skip; where all do, the test is
skipped, with their reasons, and where some do the end of the run says so. `--member TEXT` runs only members whose
name contains it.
"""

from __future__ import annotations

import functools
import inspect
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import pytest

from tests.sampling import everything, spread
from tests.subject import chosen

_Test = TypeVar("_Test", bound=Callable[..., None])
Ids = Callable[[Any], str] | Sequence[str]
_PARAM = type(pytest.param())
#: The user property of a test that tells (members skipped, members, reason).
SKIPPED = "relink-skipped-members"
_Rows = list[tuple[str, dict[str, object]]]


def each(
    names: str | tuple[str, ...],
    members: Iterable[object] | Callable[..., Iterable[object]],
    *,
    ids: Ids | None = None,
    sample: int | None = None,
) -> Callable[[_Test], _Test]:
    """Run the test for every member within one test; see above. With `sample` for so many of them, unless all are
    asked for (tests/sampling.py).

    A member is a value, or with several names a tuple of values, as for `parametrize`; `pytest.param` is one too.
    A function as `members` makes them of the test's other parameters. A member's name in messages is its
    `pytest.param` id, what `ids` says (as for `parametrize`), or its values in words.
    """
    names = tuple(names.replace(",", " ").split()) if isinstance(names, str) else names
    table = None if callable(members) else _rows(names, members, ids)

    def decorate(test: _Test) -> _Test:
        signature = inspect.signature(test)
        left = [parameter for name, parameter in signature.parameters.items() if name not in names]
        assert set(names) <= set(signature.parameters), f"{test.__name__} does not take all of {names}"
        asks = "request" in signature.parameters

        @functools.wraps(test)
        def together(*, request: pytest.FixtureRequest, **others: object) -> None:
            given = {**others, "request": request} if asks else others
            rows = _rows(names, _made(members, others), ids) if table is None else table
            if sample is not None and not everything(request.config):
                rows = spread(rows, sample, request.node.name)  # not by a fixture's value, which may be a new path
            _run(test, request, [(name, {**values, **given}) for name, values in rows])

        together.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[_keyword(parameter.name) for parameter in left if parameter.name != "request"]
            + [_keyword("request")]
        )
        together.grouped = True  # type: ignore[attr-defined]
        del together.__wrapped__  # pytest would take the parameters from there
        return together  # type: ignore[return-value]

    return decorate


def by(
    names: str | tuple[str, ...],
    cases: Iterable[object],
    *,
    ids: Ids | None = None,
    sample: int | None = None,
) -> Callable[[_Test], _Test]:
    """One test for each value of the first name, with all the cases that begin with it as members."""
    names = tuple(names.replace(",", " ").split()) if isinstance(names, str) else names
    groups: dict[str, _Rows] = {}
    firsts: dict[str, object] = {}
    for name, values in _rows(names, cases, ids):
        first = values.pop(names[0])
        firsts.setdefault(_word(first), first)
        groups.setdefault(_word(first), []).append((name.removeprefix(f"{_word(first)}-"), values))

    def members(**given: object) -> list[object]:
        rows = groups[_word(given[names[0]])]
        return [pytest.param(*values.values(), id=name) for name, values in rows]

    def decorate(test: _Test) -> _Test:
        parametrised: _Test = pytest.mark.parametrize(names[0], list(firsts.values()), ids=list(firsts))(test)
        return each(names[1:], members, sample=sample)(parametrised)

    return decorate


def _made(members: object, others: dict[str, object]) -> Iterable[object]:
    assert callable(members)
    wanted = inspect.signature(members).parameters
    free = any(parameter.kind is parameter.VAR_KEYWORD for parameter in wanted.values())
    made: Iterable[object] = members(**{name: value for name, value in others.items() if free or name in wanted})
    return made


def _keyword(name: str) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY)


class MembersFailed(AssertionError):
    """Some members of a grouped test failed: each is named, with its traceback."""

    def __init__(self, failures: Mapping[str, BaseException], total: int) -> None:
        self.failures = dict(failures)
        heads = "\n".join(f"  {name}: {_head(error)}" for name, error in failures.items())
        details = "\n".join(f"---- {name}\n{_details(error)}" for name, error in failures.items())
        super().__init__(f"{len(failures)} of {total} members failed:\n{heads}\n\n{details}")


def _run(test: Callable[..., None], request: pytest.FixtureRequest, rows: _Rows) -> None:
    failures: dict[str, BaseException] = {}
    skips: Counter[str] = Counter()
    wanted = [row for row in rows if chosen(request.config, row[0], [*row[0].split("-"), *row[1].values()])]
    for name, values in wanted:
        try:
            test(**values)
        except pytest.skip.Exception as skip:
            skips[str(skip)] += 1
        except MembersFailed as failed:
            failures.update({f"{name}, {inner}": error for inner, error in failed.failures.items()})
        except (Exception, pytest.fail.Exception) as error:
            failures[name] = error
    if failures:
        raise MembersFailed(failures, len(wanted))
    if sum(skips.values()) == len(wanted):
        pytest.skip("; ".join(skips) or "no member is about what was asked for")
    for reason, count in skips.items():
        request.node.user_properties.append((SKIPPED, (count, len(wanted), reason)))


def _rows(names: tuple[str, ...], members: Iterable[object], ids: Ids | None) -> _Rows:
    rows = []
    for number, member in enumerate(members):
        values: tuple[object, ...] = member if len(names) > 1 else (member,)  # type: ignore[assignment]
        name = ids[number] if ids is not None and not callable(ids) else None
        if isinstance(member, _PARAM):
            assert not member.marks, f"{member.id}: marks are for tests, not for members"
            values, name = tuple(member.values), str(member.id or name or "") or None
        assert len(values) == len(names), f"{values} are not values for {names}"
        words = (ids(value) if callable(ids) else None for value in values)
        name = name or "-".join(word or _word(value) for word, value in zip(words, values, strict=True))
        rows.append((name, dict(zip(names, values, strict=True))))
    return rows


def _word(value: object) -> str:
    name = getattr(value, "__name__", None)
    return str(name) if name else str(value) if isinstance(value, (str, int, float)) else repr(value)[:60]


def _head(error: BaseException) -> str:
    return traceback.format_exception_only(error)[0].strip()


def _details(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).rstrip()
