"""Records: frozen, compared by value, and dataclasses to whoever asks."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import msgspec
import pytest

from rvsim.records import Record


class Point(Record):
    x: int
    y: int = 2
    tags: dict[str, int] = {}  # noqa: RUF012


class Even(Record):
    n: int

    def __post_init__(self) -> None:
        if self.n % 2:
            raise ValueError(f"n: expected an even number, found {self.n}")


def test_values_by_position_by_name_and_by_default() -> None:
    assert Point(1) == Point(x=1) == Point(1, 2, {}) == Point(y=2, x=1)
    assert tuple(Point(1, 5)) == (1, 5, {})
    assert repr(Point(1)) == "Point(x=1, y=2, tags={})"
    assert Point(1) != Even(n=2) and Point(1) != Point(2)
    assert hash(Even(2)) == hash(Even(2))
    assert Point(1).tags is not Point(1).tags


@pytest.mark.parametrize(
    ("values", "message"), [({}, "no value for x"), ({"x": 1, "z": 1}, "no field z"), ({"y": 1}, "no value for x")]
)
def test_values_that_do_not_fit(values: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Point(**values)


def test_records_do_not_change() -> None:
    point = Point(1)
    with pytest.raises(AttributeError, match="frozen"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError, match="frozen"):
        del point.x
    assert point.replace(x=3) == dataclasses.replace(point, x=3) == Point(3)
    assert pickle.loads(pickle.dumps(point)) == point


def test_msgspec_takes_them_for_dataclasses() -> None:
    text = msgspec.json.encode(Point(1, tags={"a": 1}))
    assert text == b'{"x":1,"y":2,"tags":{"a":1}}'
    assert msgspec.json.decode(text, type=Point) == Point(1, tags={"a": 1})
    assert dataclasses.asdict(Point(1)) == {"x": 1, "y": 2, "tags": {}}
    with pytest.raises(msgspec.ValidationError, match="Expected `int`"):
        msgspec.convert({"x": "1"}, Point)
    with pytest.raises(msgspec.ValidationError, match="expected an even number, found 1"):
        msgspec.convert({"n": 1}, Even)


def test_plain_values_need_no_msgspec() -> None:
    assert Point.from_plain({"x": 1}) == Point(1)
    assert Point.from_plain({"x": 1, "tags": {"a": 1}}) == Point(1, tags={"a": 1})
    for values in ({}, {"x": "1"}, {"x": True}, {"x": 1, "z": 1}, {"x": 1, "tags": {"a": "b"}}, {"x": 1, "tags": []}):
        assert Point.from_plain(values) is None
    with pytest.raises(ValueError, match="even"):
        Even.from_plain({"n": 1})
