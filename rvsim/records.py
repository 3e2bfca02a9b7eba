"""Frozen records that cost nothing to import: what a run is made of is described without dataclasses or msgspec.

Start-up is part of the product: importing `typing`, `dataclasses` or `msgspec` takes longer than many a guest runs.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from functools import cached_property
    from typing import Any

    from typing_extensions import Self, dataclass_transform

    lazy = cached_property
else:

    class lazy:
        """`functools.cached_property`, which costs the import of functools."""

        def __init__(self, compute):
            self.compute, self.__doc__ = compute, compute.__doc__

        def __set_name__(self, owner, name):
            self.name = name

        def __get__(self, instance, owner=None):
            if instance is None:
                return self
            value = instance.__dict__[self.name] = self.compute(instance)
            return value

    def dataclass_transform(**_):
        """What type checkers are told, and nobody else."""
        return lambda cls: cls


_PLAIN_TABLES = {"dict[str, int]": (int,), "dict[str, int | str]": (int, str)}


class _DataclassFields:
    """`__dataclass_fields__`, made when somebody asks: msgspec, `dataclasses.replace` or `dataclasses.asdict`."""

    def __get__(self, instance: object, owner: type[Record]) -> dict[str, Any]:
        import dataclasses
        import typing

        # Types that only a type checker imports are those of typing.
        annotations = typing.get_type_hints(owner, localns=dict(vars(typing)))
        namespace: dict[str, Any] = {}
        for name in owner.record_fields:
            if name in owner.record_defaults:
                default = owner.record_defaults[name]
                mutable = isinstance(default, (dict, list))
                namespace[name] = dataclasses.field(default_factory=default.copy) if mutable else default
        owner.__annotations__ = {name: annotations[name] for name in owner.record_fields}
        twin = type(owner.__name__, (), {"__annotations__": owner.__annotations__, **namespace})
        fields: dict[str, Any] = dataclasses.dataclass(twin).__dataclass_fields__  # type: ignore[attr-defined]
        type.__setattr__(owner, "__dataclass_fields__", fields)
        return fields


@dataclass_transform(frozen_default=True)
class Record:
    """A frozen record: the annotations of its class, behind those of the one it is derived from, are its fields.

    It is a dataclass to whoever asks: `dataclasses.replace` changes a copy, msgspec writes and reads it. A class's
    `__post_init__` checks the values; msgspec reports the `ValueError` it raises.
    """

    if TYPE_CHECKING:  # at run time, annotations are fields
        record_fields: dict[str, str]  # by name, the annotation
        record_defaults: dict[str, Any]
    __dataclass_fields__ = _DataclassFields()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = dict(cls.__annotations__)
        cls.record_fields = {**getattr(cls, "record_fields", {}), **own}
        defaults = {name: cls.__dict__[name] for name in own if name in cls.__dict__}
        cls.record_defaults = {**getattr(cls, "record_defaults", {}), **defaults}
        cls.__dataclass_fields__ = _DataclassFields()

    def __init__(self, *first: Any, **values: Any) -> None:
        if len(first) > len(self.record_fields):
            raise TypeError(f"{type(self).__name__} has {len(self.record_fields)} fields, not {len(first)}")
        if first:
            values = {**dict(zip(self.record_fields, first, strict=False)), **values}
        if values.keys() != self.record_fields.keys():
            values = self._with_defaults(values)
        self.__dict__.update(values)
        self.__post_init__()

    def _with_defaults(self, values: dict[str, Any]) -> dict[str, Any]:
        if unknown := values.keys() - self.record_fields.keys():
            raise TypeError(f"{type(self).__name__} has no field {', '.join(sorted(unknown))}")
        if missing := self.record_fields.keys() - values.keys() - self.record_defaults.keys():
            raise TypeError(f"{type(self).__name__}: no value for {', '.join(sorted(missing))}")
        for name in self.record_defaults.keys() - values.keys():
            default = self.record_defaults[name]
            values[name] = default.copy() if isinstance(default, (dict, list)) else default
        return values

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> Self | None:
        """An instance where each value has its field's type; None where that takes msgspec to decide.

        Raises
        ------
        ValueError
            Of `__post_init__`.
        """
        if not cls.record_fields.keys() - cls.record_defaults.keys() <= values.keys() <= cls.record_fields.keys():
            return None
        for name, value in values.items():
            stated = cls.record_fields[name]
            if stated in _PLAIN_TABLES:
                if type(value) is not dict or any(type(each) not in _PLAIN_TABLES[stated] for each in value.values()):
                    return None
            elif not (value is None and stated.endswith(" | None")):
                stated = stated.removesuffix(" | None")
                if stated not in ("str", "int", "float", "bool") or type(value).__name__ != stated:
                    return None
        return cls(**values)

    def __post_init__(self) -> None:
        """Check the values; nothing by default."""

    def values(self) -> tuple[Any, ...]:
        """The values in the order of the fields."""
        return tuple(getattr(self, name) for name in self.record_fields)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values())

    def replace(self, **values: Any) -> Self:
        """A copy with other values."""
        return type(self)(**{**{name: getattr(self, name) for name in self.record_fields}, **values})

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: make another one with replace({name}=...)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.values() == other.values()

    def __hash__(self) -> int:
        return hash(self.values())

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.record_fields)
        return f"{type(self).__name__}({values})"
