"""Coprocessors by name: what `--accel` accepts.

A kind of coprocessor is a folder beside this file. A TOML file with ``kind = "conv"`` is handed to the function `load`
of `accel.conv`, as its decoded values; the folder's presets are the files ``conv/presets/*.toml``. Coprocessors
outside the project (`accel.plugin`) are looked for only under names that are none of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import msgspec

from accel.protocol import Coprocessor
from rvsim.errors import UsageError

DEFAULT = "conv-8x8"
_HERE = Path(__file__).parent


def _presets() -> dict[str, Path]:
    return {path.stem: path for path in sorted(_HERE.glob("*/presets/*.toml"))}


def kinds() -> list[str]:
    """List the kinds of coprocessors that come with the project."""
    return sorted({path.parent.parent.name for path in _presets().values()})


def names() -> list[str]:
    """List every name of the project's own that `load` accepts: "off", "on" and the presets."""
    return ["off", "on", *_presets()]


def load(name_or_path: str, overrides: Mapping[str, str] | None = None) -> Coprocessor | None:
    """Make the coprocessor that a name or a file describes.

    Parameters
    ----------
    name_or_path : str
        "off" for none, "on" for conv-8x8, a preset's name, a path that ends in .toml, ``FILE.py`` or ``FILE.py:Class``,
        or the name of an entry point of the group ``rvsim.accelerators``.
    overrides : mapping of str to str
        Parameters that take precedence, as given by `--set accel.KEY=VALUE`; without effect on "off".

    Raises
    ------
    rvsim.errors.UsageError
        The name is unknown, the file cannot be read or is not TOML, or a key in it is wrong.
    rvsim.errors.CoprocessorError
        A coprocessor outside the project does not load.
    """
    if name_or_path == "off":
        return None
    overrides = overrides or {}
    presets = _presets()
    path = presets.get(DEFAULT if name_or_path == "on" else name_or_path)
    if path is None and name_or_path.endswith(".toml"):
        path = Path(name_or_path)
    if path is None:
        return _outside(name_or_path, {}, f"--accel {name_or_path}", overrides)
    try:
        values = msgspec.toml.decode(path.read_bytes(), type=dict[str, object])
    except OSError as error:
        raise UsageError(
            f"{path}: expected an accelerator's parameters, found no readable file: {error.strerror}"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: expected TOML, found something else: {error}") from None
    kind = values.get("kind", "none")
    made: Coprocessor
    if kind in kinds():
        made = import_module(f"accel.{kind}").load(path.stem, values, str(path), overrides)
        return made
    from accel import plugin

    if isinstance(kind, str) and (plugin.split(kind) or kind in plugin.entry_points()):
        values.pop("kind")
        made = _outside(str(path.parent / kind) if plugin.split(kind) else kind, values, str(path), overrides)
        made.name = path.stem
        return made
    choice = ", ".join(map(repr, [*kinds(), *plugin.entry_points()]))
    raise UsageError(f"{path}: key 'kind': expected {choice} or FILE.py, found {kind!r}")


def _outside(name: str, values: Mapping[str, object], where: str, overrides: Mapping[str, str]) -> Coprocessor:
    from accel import plugin

    if plugin.split(name):
        return plugin.from_file(name, plugin.Given(values, where, overrides))
    points = plugin.entry_points()
    if name in points:
        return plugin.from_entry_point(points[name], plugin.Given(values, where, overrides))
    import difflib  # 5 ms that only an error is worth

    known = [*names(), *points]
    nearest = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    raise UsageError(f"expected an accelerator, one of {', '.join(known)}, FILE.toml or FILE.py, found {name!r}{hint}")
