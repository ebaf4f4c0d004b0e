"""`relink.records.tuples.NamedTuple` is `typing.NamedTuple`, but for when its constructor is made."""

from __future__ import annotations

import copy
import inspect
import pickle
import typing

import pytest

from relink.records import tuples


class Ours(tuples.NamedTuple):
    """Two numbers."""

    x: int
    y: int = 2
    names: list[str] | None = None

    def total(self) -> int:
        """Their sum."""
        return self.x + self.y

    def __repr__(self) -> str:
        return super().__repr__().replace("Ours", "Point").replace("Standard", "Point")


class Standard(typing.NamedTuple):
    """Two numbers."""

    x: int
    y: int = 2
    names: list[str] | None = None

    def total(self) -> int:
        """Their sum."""
        return self.x + self.y

    def __repr__(self) -> str:
        return f"Point(x={self.x!r}, y={self.y!r}, names={self.names!r})"


class Derived(Ours):
    """With a dictionary, as of standard ones."""


class Empty(tuples.NamedTuple):
    pass


BOTH = pytest.mark.parametrize("kind", [Ours, Standard])


@pytest.fixture(params=[0, 1, 20], ids="after {} others".format)
def used(request: pytest.FixtureRequest) -> type[Ours]:
    """A new class, before and after its constructor is compiled."""

    class Used(tuples.NamedTuple):
        x: int
        y: int = 2
        names: list[str] | None = None

    for _ in range(request.param):
        Used(1, 2, None)
    return typing.cast(type[Ours], Used)


def test_positions_keywords_and_defaults(used: type[Ours]) -> None:
    assert used(1, 3, ["a"]) == (1, 3, ["a"])
    assert used(1) == (1, 2, None)
    assert used(1, names=[]) == used(x=1, y=2, names=[]) == (1, 2, [])
    assert used(4)[1:] == (2, None)
    assert used(4).__new__(used, 5) == (5, 2, None)


def test_signatures_are_those_of_standard_ones(used: type[Ours]) -> None:
    expected = "(x, y=2, names=None)"
    assert str(inspect.signature(used)) == expected
    assert str(inspect.signature(type("More", (used,), {}))) == expected
    standard = inspect.signature(Standard).parameters.values()
    assert [each.replace(annotation=each.empty) for each in standard] == [
        *inspect.signature(used).parameters.values()
    ]
    assert str(inspect.signature(Empty)) == "()"


@pytest.mark.parametrize(("values", "given"), [((), {}), ((1, 2, 3, 4), {}), ((1,), {"x": 2}), ((1,), {"z": 2})])
def test_wrong_arguments_are_refused_as_of_a_function(
    used: type[Ours], values: tuple[int, ...], given: dict[str, int]
) -> None:
    with pytest.raises(TypeError) as ours:
        used(*values, **given)  # type: ignore[arg-type]
    with pytest.raises(TypeError) as standard:
        Standard(*values, **given)  # type: ignore[arg-type]
    assert str(ours.value).replace("Used", "Standard").rpartition(".")[2] == str(standard.value).rpartition(".")[2]


@BOTH
def test_values_are_tuples_with_names(kind: type[Ours]) -> None:
    value = kind(1, 3)
    x, *others = value
    assert (x, others, value.total(), repr(value)) == (1, [3, None], 4, "Point(x=1, y=3, names=None)")
    assert (isinstance(value, tuple), hash(value), value) == (True, hash((1, 3, None)), (1, 3, None))
    assert (kind._fields, kind._field_defaults) == (("x", "y", "names"), {"y": 2, "names": None})
    assert (value._asdict(), value._replace(x=5)) == ({"x": 1, "y": 3, "names": None}, (5, 3, None))
    assert (type(kind._make([1, 2, 3])), kind.__doc__, kind.__module__) == (kind, "Two numbers.", __name__)
    match value:
        case kind(1, y):
            assert y == 3
    for wrong in ({"z": 1}, {"x": 1, "z": 1}):
        with pytest.raises((TypeError, ValueError), match=r"unexpected field names: \['z'\]"):
            value._replace(**wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Expected 3 arguments, got 2"):
        kind._make([1, 2])
    with pytest.raises(AttributeError):
        value.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        value.other = 2  # type: ignore[attr-defined]


@BOTH
def test_values_are_copied_and_pickled(kind: type[Ours]) -> None:
    value = kind(1, names=["a"])
    for made in (
        copy.copy(value),
        copy.deepcopy(value),
        *(pickle.loads(pickle.dumps(value, n)) for n in range(6)),
    ):
        assert (made, type(made)) == (value, kind)


@BOTH
def test_annotations_are_found(kind: type[Ours]) -> None:
    assert typing.get_type_hints(kind) == {"x": int, "y": int, "names": list[str] | None}


def test_derived_classes_and_empty_ones() -> None:
    assert (Derived(1), type(Derived(1)), type(Ours(1))) == ((1, 2, None), Derived, Ours)
    assert (Derived(1)._replace(y=1), Empty(), repr(Empty())) == ((1, 1, None), (), "Empty()")
    with pytest.raises(TypeError, match="takes 1 positional argument but 2 were given"):
        Empty(1)  # type: ignore[call-arg]


def test_fields_without_defaults_come_first() -> None:
    with pytest.raises(TypeError, match="a field without a default follows one with a default"):

        class Wrong(tuples.NamedTuple):
            x: int = 1
            y: int  # type: ignore[misc]


def test_a_maker_makes_what_the_class_does_also_of_an_iterator() -> None:
    make = tuples.maker(Ours)
    made = [make((number, 3, None)) for number in range(20)]
    assert made == [Ours(number, 3, None) for number in range(20)]
    assert {type(one) for one in (*made, make(iter((1, 2, ["x"]))))} == {Ours}
    assert make(iter((1, 2, ["x"]))).names == ["x"]
