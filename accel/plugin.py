"""Coprocessors outside this project: Python files and entry points, as a class or as functions.

Whatever is wrong with them is the user's to mend: each failure becomes one message that names their file and line.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import msgspec

from accel import parameters
from accel.instructions import InstructionCoprocessor
from accel.protocol import ContractError, Coprocessor
from rvsim.errors import CoprocessorError, UsageError

GROUP = "rvsim.accelerators"
"""Entry points of installed packages: a name for `--accel`, a class or a module."""

_LIBRARY = sysconfig.get_paths()["stdlib"] + os.sep
_OURS = (str(Path(__file__).parent) + os.sep, os.path.dirname(inspect.getfile(UsageError)) + os.sep)


class Given(NamedTuple):
    """Parameters as for `accel.parameters.fill`: of a TOML file, its name, and of the command line."""

    values: Mapping[str, object]
    where: str
    overrides: Mapping[str, str]

    @property
    def keys(self) -> list[str]:
        """Their names."""
        return [*self.values, *self.overrides]


def split(text: str) -> tuple[str, str] | None:
    """``FILE.py`` or ``FILE.py:Class`` as file and class ("" for none); None for anything else."""
    found = re.fullmatch(r"(.*\.py)(?::(\w*))?", text, re.DOTALL)
    return (found[1], found[2] or "") if found else None


def entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    """What installed packages offer, by name."""
    return {each.name: each for each in importlib.metadata.entry_points(group=GROUP)}


def from_file(text: str, given: Given) -> Coprocessor:
    """Make the coprocessor that ``FILE.py`` or ``FILE.py:Class`` holds.

    Parameters
    ----------
    text : str
    given : Given

    Raises
    ------
    rvsim.errors.UsageError
        The file cannot be read, has no such class or several, or a parameter is wrong.
    rvsim.errors.CoprocessorError
        The file does not run, or what it holds does not keep the protocol.
    """
    path, wanted = split(text) or (text, "")
    name = os.path.basename(path).removesuffix(".py")
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path}: expected a coprocessor in Python, found no readable file: {error.strerror}"
        ) from None
    module = ModuleType(os.path.abspath(path))  # two files of one name are two modules
    module.__file__ = module.__name__
    # Like a script's, but behind everything else: a file types.py must not hide Python's own.
    if (folder := os.path.dirname(module.__file__)) not in sys.path:
        sys.path.append(folder)
    sys.modules[module.__name__] = module  # where msgspec looks for the types that annotations name
    try:
        code = compile(source, module.__file__, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line, what = getattr(error, "lineno", None) or 1, getattr(error, "msg", None) or error
        raise CoprocessorError(f"{path}:{line}: expected a coprocessor in Python, found: {what}") from error
    try:
        exec(code, vars(module))
    except (Exception, SystemExit) as error:
        raise CoprocessorError(f"{path}: it does not load: {blame(error, module.__file__)}") from error
    return _from_module(module, wanted, name, path, given)


def from_entry_point(point: importlib.metadata.EntryPoint, given: Given) -> Coprocessor:
    """Make the coprocessor that an installed package offers; see `from_file`."""
    place = f"entry point {point.name} of {GROUP} ({point.value})"
    try:
        found = point.load()
    except (Exception, SystemExit) as error:
        raise CoprocessorError(f"{place}: it does not load: {blame(error)}") from error
    if isinstance(found, ModuleType):
        return _from_module(found, "", point.name, place, given)
    if not inspect.isclass(found) or not issubclass(found, Coprocessor):
        raise CoprocessorError(f"{place}: expected a subclass of accel.Coprocessor or a module, found {found!r}")
    return _make(found, point.name, place, given)


def _from_module(
    module: ModuleType,
    wanted: str,
    name: str,
    place: str,
    given: Given,
) -> Coprocessor:
    own = [each for each in vars(module).values() if f"{_home(each)}.".startswith(f"{module.__name__}.")]
    classes = {each.__name__: each for each in own if inspect.isclass(each) and issubclass(each, Coprocessor)}
    functions = [each for each in own if inspect.isfunction(each) and hasattr(each, "encoding")]
    if wanted:
        if wanted not in classes:
            found = f"its coprocessors are {', '.join(classes)}" if classes else "it has none"
            raise UsageError(f"{place}: expected a class {wanted} with base accel.Coprocessor; {found}")
        return _make(classes[wanted], name, place, given)
    classes = {key: each for key, each in classes.items() if not key.startswith("_") and not inspect.isabstract(each)}
    if len(classes) > 1 or (classes and functions):
        both = [*classes, *(each.encoding.mnemonic for each in functions)]
        choice = f"name a class, {place}:{next(iter(classes))}, or give a base an underscore in front"
        raise UsageError(f"{place}: expected one coprocessor, found {', '.join(both)}; {choice}")
    for class_ in classes.values():
        return _make(class_, name, place, given)
    if not functions:
        raise CoprocessorError(
            f"{place}: expected a class with base accel.Coprocessor or functions with @accel.instruction, found none"
        )
    if given.keys:
        raise UsageError(
            f"{place}: expected no parameters, since functions have none, found {given.keys[0]!r}; write a class"
        )
    try:
        return InstructionCoprocessor(name, functions=functions)
    except ContractError as error:
        raise CoprocessorError(f"{error.where}: {error}") from None


def _home(thing: object) -> str:
    home = getattr(thing, "__module__", None)
    return home if isinstance(home, str) else ""


def _make(
    class_: type[Coprocessor],
    name: str,
    place: str,
    given: Given,
) -> Coprocessor:
    type_, of = class_.parameter_type, f"{place}: class {class_.__name__}"
    record: Any = None
    if type_ is not None:
        if not (inspect.isclass(type_) and issubclass(type_, msgspec.Struct) and type_.__struct_config__.frozen):
            raise CoprocessorError(f"{of}: parameter_type: expected a frozen msgspec.Struct, found {type_!r}")
        try:
            record = parameters.fill(type_, *given)
        except NameError as error:  # an annotation that means nothing
            raise CoprocessorError(f"{of}: parameter_type: {error}") from None
    elif given.keys:
        raise UsageError(f"{of}: expected no parameters, since it has no parameter_type, found {given.keys[0]!r}")
    try:
        made = class_(name, record)
        problem = _problem(made)
    except ContractError as error:
        raise CoprocessorError(f"{error.where or of}: {error}") from None
    except (Exception, SystemExit) as error:
        raise CoprocessorError(f"{of} cannot be made: {blame(error)}") from error
    if problem:
        raise CoprocessorError(f"{of}: {problem}")
    return made


def _problem(made: Coprocessor) -> str:
    """What a coprocessor states wrongly of itself; "" for nothing."""
    if not isinstance(getattr(made, "name", None), str) or not made.name:
        return "expected a name, found none; its __init__ must call super().__init__(name, parameters)"
    word = made.capability
    if type(word) is not int or not 128 << 24 <= word < 1 << 32:
        return (
            "capability: expected a word whose bits 31:24, the family, are 128 to 255, which are left to coprocessors "
            f"outside rvsim; found {word if type(word) is not int else hex(word)!r}"
        )
    if made.major_opcode is not None and made.major_opcode not in range(3, 128, 4):
        return f"major_opcode: expected 7 bits of which the lowest are 11, or None, found {made.major_opcode!r}"
    if isinstance(made, InstructionCoprocessor) and made.instructions:
        return ""
    description = getattr(made, "description", None)
    if not isinstance(description, Path):
        return (
            "expected instructions: methods with @accel.instruction, or description, the pathlib.Path of a CoreDSL "
            f"file, found {'neither' if description is None else repr(description)}"
        )
    return "" if description.is_file() else f"description: expected a CoreDSL file, found no file {description}"


def blame(error: BaseException, file: str | None = None) -> str:
    """An exception in one line: its type and text, and the line of the user's own code that it came from.

    Parameters
    ----------
    file : str, optional
        A file of the user's own; by default the first in the traceback that is neither of this project nor of Python's
        library. The deepest line in its folder is given, not one of a library that it uses.
    """
    text = " ".join(str(error).split())
    told = f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not _is_known(each.filename)]
    if not frames:
        return told
    folder = os.path.dirname(file or frames[0].filename) + os.sep
    own = [each for each in frames if each.filename.startswith(folder)] or frames[:1]
    return f"{told} ({os.path.basename(own[-1].filename)}:{own[-1].lineno})"


def _is_known(file: str) -> bool:
    """Whether a file is of this project or of Python's library."""
    library = file.startswith(_LIBRARY) and not re.search(r"[/\\](site|dist)-packages[/\\]", file)
    return file.startswith((*_OURS, "<frozen ")) or library
