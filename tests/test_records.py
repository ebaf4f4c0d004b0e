"""`relink.records.dataclass` is the standard `dataclass`, but for when its methods are made."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
import weakref
from typing import Any, ClassVar

import pytest

from relink import records
from relink.records import generated_constructors
from tools import constructors


@records.dataclass(frozen=True, slots=True)
class Point:
    """Two numbers."""

    x: int
    y: int = 2
    kind: ClassVar[str] = "point"


@records.dataclass(frozen=True)
class Named(Point):
    name: str = records.field(default="here", repr=False)
    seen: list[int] = records.field(default_factory=list, compare=False)
    length: int = records.field(init=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", len(self.name))


@records.dataclass(slots=True, weakref_slot=True)
class Counter:
    value: int = 0


@records.dataclass(eq=False, kw_only=True)
class Identity:
    value: int
    step: int = 1


class TestMeaning:
    """Each claim holds of the standard decorator too."""

    def test_positions_keywords_and_defaults(self) -> None:
        assert (Point(1).x, Point(1).y, Point(x=1, y=3).y, Point.kind) == (1, 2, 3, "point")
        with pytest.raises(TypeError, match=r"__init__\(\) missing 1 required positional argument: 'x'"):
            Point()  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            Identity(1)  # type: ignore[call-arg]

    def test_equality_hash_and_repr(self) -> None:
        assert Point(1) == Point(1, 2) != Point(2)
        assert Point(1).__eq__((1, 2)) is NotImplemented
        assert hash(Point(1)) == hash(Point(1, 2)) == hash((1, 2))
        assert repr(Named(1, seen=[3])) == "Named(x=1, y=2, seen=[3], length=4)"
        assert Counter() == Counter()
        assert Counter.__hash__ is None
        assert Identity(value=1) != Identity(value=1)
        assert len({Identity(value=1), Identity(value=1)}) == 2

    def test_a_field_left_out_of_comparison_changes_no_equality(self) -> None:
        assert Named(1, seen=[1]) == Named(1, seen=[2])

    def test_a_subclass_is_not_equal_to_its_base(self) -> None:
        assert Point(1) != Named(1)

    def test_default_factories_make_a_value_each(self) -> None:
        assert Named(1).seen is not Named(1).seen

    def test_frozen_classes_refuse_assignment(self) -> None:
        for point in (Point(1), Named(1)):
            with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'x'"):
                point.x = 2  # type: ignore[misc]
            with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'x'"):
                del point.x

    def test_slots_leave_no_dictionary(self) -> None:
        assert not hasattr(Point(1), "__dict__")
        counter = Counter()
        assert weakref.ref(counter)() is counter

    @pytest.mark.parametrize("record", [Point(1), Named(1, seen=[2]), Counter(3), Identity(value=4)], ids=repr)
    def test_pickles_and_copies_are_equal(self, record: Any) -> None:
        for made in (pickle.loads(pickle.dumps(record)), copy.deepcopy(record)):
            assert dataclasses.asdict(made) == dataclasses.asdict(record)

    def test_replace_runs_the_constructor_again(self) -> None:
        assert records.replace(Named(1), name="elsewhere").length == 9
        with pytest.raises(ValueError, match="length"):
            records.replace(Named(1), length=3)

    def test_patterns_match_positions(self) -> None:
        match Point(1):
            case Point(x, y):
                assert (x, y) == (1, 2)

    def test_a_record_that_contains_itself_has_a_repr(self) -> None:
        counter = Counter()
        counter.value = counter  # type: ignore[assignment]
        assert repr(counter) == "Counter(value=...)"

    def test_mutable_defaults_are_refused(self) -> None:
        with pytest.raises(ValueError, match="mutable default"):

            @records.dataclass
            class _Bad:
                items: list[int] = []  # noqa: RUF012


def test_first_instances_are_made_as_later_ones() -> None:
    """Before `__init__` is compiled, and after."""

    @records.dataclass(frozen=True)
    class Fresh(Named):
        more: dict[str, int] = records.field(default_factory=dict, kw_only=True)
        never: int = records.field(init=False, repr=False, compare=False)

    good: list[tuple[tuple[object, ...], dict[str, object]]]
    bad: list[tuple[tuple[object, ...], dict[str, object]]]
    good = [((1,), {}), ((1, 2, "n"), {"more": {"a": 1}}), ((), {"x": 1, "seen": [2]}), ((1, 2, "n", [3]), {})]
    bad = [((), {}), ((1,), {"x": 1}), ((1, 2, "n", [], {}), {}), ((1,), {"other": 1}), ((1,), {"length": 1})]
    seen: list[object] = []
    for _ in range(2 * records._FIRST):
        made = [Fresh(*positional, **named) for positional, named in good]  # type: ignore[arg-type]
        assert made[0].more is not made[2].more
        errors = []
        for positional, named in bad:
            with pytest.raises(TypeError) as raised:
                Fresh(*positional, **named)  # type: ignore[arg-type]
            errors.append(str(raised.value))
        seen.append((made, [made[1].length, made[1].more, hasattr(made[1], "never")], errors))
    assert seen.count(seen[0]) == len(seen)
    assert str(inspect.signature(Fresh)).startswith("(x, y=2, name='here'")


class TestStandardLibrary:
    """What `dataclasses` and `inspect` see, before the first instance too."""

    def test_fields_and_defaults(self) -> None:
        @records.dataclass
        class Fresh:
            a: int
            b: int = 3

        assert dataclasses.is_dataclass(Fresh)
        assert [(f.name, f.default) for f in dataclasses.fields(Fresh)][1] == ("b", 3)
        assert str(inspect.signature(Fresh)) == "(a, b=3)"
        assert [f.name for f in records.fields(Fresh)] == ["a", "b"]

    def test_standard_dataclasses_derive_from_records(self) -> None:
        @dataclasses.dataclass(frozen=True)
        class Derived(Point):
            z: int = 5

        assert Derived(1, 2, 3) == Derived(1, 2, 3)
        assert dataclasses.asdict(Derived(1)) == {"x": 1, "y": 2, "z": 5}
        assert dataclasses.replace(Point(1), y=4) == Point(1, 4)


class TestGenerated:
    """`relink.records.generated_constructors`."""

    def test_it_is_current(self) -> None:
        assert constructors.SOURCE.read_text(encoding="utf-8") == constructors.render(), (
            "run python -m tools.constructors"
        )

    def test_each_has_the_signature_and_the_effect_of_the_one_compiled_for_the_class(self) -> None:
        for name, cls in constructors.classes().items():
            generated, compiled = cls.__init__, records._init(cls)
            assert generated is generated_constructors.CONSTRUCTORS[name]
            assert inspect.signature(generated) == inspect.signature(compiled), name
            assert (generated.__qualname__, generated.__module__) == (
                f"{cls.__qualname__}.__init__",
                cls.__module__,
            )
            if not hasattr(cls, "__post_init__"):
                values = {field.name: object() for field in records.fields(cls) if field.init}
                made = cls(**values)
                assert all(getattr(made, field) is value for field, value in values.items()), name

    def test_a_class_with_other_fields_does_not_take_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def made(self: object, a: int, b: int) -> None:
            raise AssertionError

        for name in ("Same", "Other"):
            monkeypatch.setitem(generated_constructors.CONSTRUCTORS, f"{__name__}:{name}", made)
        same: Any = type("Same", (), {"__annotations__": {"a": "int", "b": "int"}, "__module__": __name__})
        other: Any = type("Other", (), {"__annotations__": {"a": "int", "c": "int"}, "__module__": __name__})
        with pytest.raises(AssertionError):
            records.dataclass(same)(1, 2)
        assert records.dataclass(other)(1, 2).c == 2


def test_no_method_is_compiled_by_an_import() -> None:
    """Start-up: what half of the dataclasses cost is paid by none."""
    code = """
import builtins
compiled = []
real = builtins.exec
def counting(source, *rest):
    if isinstance(source, str):
        compiled.append(source)
    return real(source, *rest)
builtins.exec = counting
import relink.linker, emu.library
import sys
print(len(compiled), sum(hasattr(c, "__record_fields__") for m in list(sys.modules.values())
      if (m.__name__ or "").startswith(("relink", "emu")) for c in vars(m).values() if isinstance(c, type)))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    compiled, classes = map(int, done.stdout.split())
    assert classes > 100
    assert compiled < classes / 10
