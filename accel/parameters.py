"""A coprocessor's parameters: any frozen msgspec record, filled from TOML and `--set`, checked key by key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec

from rvsim.errors import UsageError

Record = TypeVar("Record", bound=msgspec.Struct)


def fill(type_: type[Record], values: Mapping[str, object], where: str, overrides: Mapping[str, str]) -> Record:
    """Make the record.

    Parameters
    ----------
    type_ : type
        A frozen msgspec record; what its fields' types allow is allowed.
    values : mapping of str to object
        A decoded TOML file, without `kind`.
    where : str
        The file, for messages.
    overrides : mapping of str to str
        Values that take precedence, as text; a list is separated by commas.

    Raises
    ------
    rvsim.errors.UsageError
        An unknown or missing key, or a value that its type does not allow.
    """
    known = type_.__struct_fields__
    sources = dict.fromkeys(values, where) | {key: f"--set accel.{key}" for key in overrides}
    for key, source in sources.items():
        if key not in known:
            import difflib  # 5 ms that only an error is worth

            nearest = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"known keys are {', '.join(known) or 'none'}"
            raise UsageError(
                f"{source}: expected a parameter of {type_.__name__}, found the unknown key {key!r}; {hint}"
            )
    lists = {field.name for field in msgspec.structs.fields(type_) if _is_list(field.type)}
    texts = {key: text.split(",") if key in lists else text for key, text in overrides.items()}
    try:
        return msgspec.convert({**values, **texts}, type_, strict=False)  # text of the command line becomes numbers
    except msgspec.ValidationError as error:
        place = re.search(r"at `\$\.(\w+)", str(error))
        key = place[1] if place else ""
        what = str(error).partition(" - at ")[0]
        raise UsageError(
            f"{sources.get(key, where)}: {f'key {key!r}: ' if key else ''}{what[:1].lower()}{what[1:]}"
        ) from None
    except Exception as error:  # of a __post_init__
        raise UsageError(f"{where}: {type(error).__name__}: {error}") from None


def _is_list(type_: Any) -> bool:
    return get_origin(get_args(type_)[0] if get_origin(type_) is Annotated else type_) in (list, tuple)
