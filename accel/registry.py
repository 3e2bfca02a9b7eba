"""Coprocessors by name: what `--accel` accepts.

A kind of coprocessor is a folder beside this file. A TOML file with ``kind = "conv"`` is handed to the function `load`
of `accel.conv`, as its decoded values; the folder's presets are the files ``conv/presets/*.toml``.
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
    """List every name `load` accepts: "off", "on" and the presets."""
    return ["off", "on", *_presets()]


def load(name_or_path: str, overrides: Mapping[str, str] | None = None) -> Coprocessor | None:
    """Make the coprocessor that a name or a TOML file describes.

    Parameters
    ----------
    name_or_path : str
        "off" for none, "on" for conv-8x8, a preset's name, or a path that ends in .toml.
    overrides : mapping of str to str
        Parameters that take precedence, as given by `--set accel.KEY=VALUE`; without effect on "off".

    Raises
    ------
    rvsim.errors.UsageError
        The name is unknown, the file cannot be read or is not TOML, or a key in it is wrong.
    """
    if name_or_path == "off":
        return None
    presets = _presets()
    path = presets.get(DEFAULT if name_or_path == "on" else name_or_path)
    if path is None:
        if not name_or_path.endswith(".toml"):
            import difflib  # 5 ms that only an error is worth

            nearest = difflib.get_close_matches(name_or_path, names(), 1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise UsageError(
                f"expected an accelerator, one of {', '.join(names())} or FILE.toml, found {name_or_path!r}{hint}"
            )
        path = Path(name_or_path)
    try:
        values = msgspec.toml.decode(path.read_bytes(), type=dict[str, object])
    except OSError as error:
        raise UsageError(
            f"{path}: expected an accelerator's parameters, found no readable file: {error.strerror}"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: expected TOML, found something else: {error}") from None
    kind = values.get("kind", "none")
    if kind not in kinds():
        raise UsageError(f"{path}: key 'kind': expected {' or '.join(map(repr, kinds()))}, found {kind!r}")
    made: Coprocessor = import_module(f"accel.{kind}").load(path.stem, values, str(path), overrides or {})
    return made
