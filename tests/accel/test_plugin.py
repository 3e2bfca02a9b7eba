"""Coprocessors from Python files and entry points: what loads, and one message for each that does not."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import msgspec
import pytest

from accel import InstructionCoprocessor, plugin, registry
from rvsim.cli.main import main
from rvsim.errors import CoprocessorError, RvsimError, UsageError

FUNCTION = """from accel import instruction
@instruction(funct3=0, funct7=0)
def twice(rs1):
    return 2 * rs1
"""
CLASS = """import msgspec
from accel import InstructionCoprocessor, instruction

class Built(msgspec.Struct, frozen=True):
    factor: int = 2
    taps: tuple[int, ...] = (1,)
    name: str = ""

class Times(InstructionCoprocessor):
    parameter_type = Built

    @instruction(funct3=0, funct7=0)
    def times(self, rs1):
        return self.parameters.factor * rs1
"""


def load(folder: Path, text: str, suffix: str = "", **overrides: str) -> InstructionCoprocessor:
    (folder / "mine.py").write_text(text)
    made = registry.load(f"{folder}/mine.py{suffix}", overrides)
    assert isinstance(made, InstructionCoprocessor)
    return made


def answer(made: InstructionCoprocessor, rs1: int) -> int:
    return made.issue(0, rs1, 0, None, 0, 0).value  # type: ignore[arg-type]


def test_a_file_of_functions(tmp_path: Path) -> None:
    made = load(tmp_path, FUNCTION)
    assert (made.name, answer(made, 21), made.capability) == ("mine", 42, 128 << 24)
    assert [i.mnemonic for i in made.isa().instructions] == ["twice"]


def test_a_class_and_its_parameters(tmp_path: Path) -> None:
    for suffix in ("", ":Times"):
        assert answer(load(tmp_path, CLASS, suffix), 21) == 42
    made = load(tmp_path, CLASS, factor="3", taps="1,-2", name="a,b")
    assert answer(made, 14) == 42 and made.parameters.taps == (1, -2) and made.parameters.name == "a,b"


def test_a_toml_file_names_the_python_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CLASS)
    (tmp_path / "five.toml").write_text('kind = "mine.py"\nfactor = 5\n')
    made = registry.load(str(tmp_path / "five.toml"))
    assert isinstance(made, InstructionCoprocessor) and (made.name, answer(made, 2)) == ("five", 10)
    made = registry.load(str(tmp_path / "five.toml"), {"factor": "6"})
    assert isinstance(made, InstructionCoprocessor) and answer(made, 2) == 12


def test_a_file_imports_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "beside_mine.py").write_text("FACTOR = 4\n")
    text = FUNCTION.replace("2 * rs1", "FACTOR * rs1").replace("@", "from beside_mine import FACTOR\n@", 1)
    assert answer(load(tmp_path, text), 2) == 8


def test_two_files_of_one_name(tmp_path: Path) -> None:
    """Each has the types that its own annotations name."""
    units = []
    for folder, kind in (("a", "int"), ("b", "str")):
        text = "from __future__ import annotations\n" + CLASS.replace("class Built", f"Wide = {kind}\n\nclass Built")
        (tmp_path / folder).mkdir()
        units.append(load(tmp_path / folder, text.replace("name: str", "name: Wide").replace('= ""', "= 0")))
    for unit, kind in zip(units, (int, str), strict=True):
        fields = {field.name: field.type for field in msgspec.structs.fields(type(unit.parameters))}
        assert fields["name"] is kind


def test_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_package.py").write_text(CLASS)
    (tmp_path / "broken_package.py").write_text("1 / 0\n")
    info = tmp_path / "own-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[rvsim.accelerators]\nown-class = own_package:Times\nown-module = own_package\n"
        "own-record = own_package:Built\nown-broken = broken_package\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    for name in ("own-class", "own-module"):
        made = registry.load(name, {"factor": "3"})
        assert isinstance(made, InstructionCoprocessor) and (made.name, answer(made, 2)) == (name, 6)
    with pytest.raises(CoprocessorError, match=r"own-record .*: expected a subclass of accel.Coprocessor or a module"):
        registry.load("own-record")
    with pytest.raises(CoprocessorError, match=r"it does not load: ZeroDivisionError: .* \(broken_package.py:1\)"):
        registry.load("own-broken")
    with pytest.raises(UsageError, match=r"own-class.* found 'own-clas'; did you mean 'own-class'"):
        registry.load("own-clas")


WITH_BASE = "from accel import Coprocessor, InstructionCoprocessor, instruction\n"
BAD = {
    "empty": ("", 65, "expected a class with base accel.Coprocessor or functions with @accel.instruction, found none"),
    "syntax": ("def f(:\n", 65, "mine.py:1: expected a coprocessor in Python, found: invalid syntax"),
    "no text": ("x = '\0'", 65, "mine.py:1: expected a coprocessor in Python, found: source code"),
    "deep": (f"x = {'(' * 5000}", 65, "mine.py:1: expected a coprocessor in Python, found: "),
    "a broken file beside": ("import broken_beside\n", 65, "it does not load: ModuleNotFoundError: "),
    "import": ("\nimport no_such_module_at_all\n", 65,
               "it does not load: ModuleNotFoundError: No module named 'no_such_module_at_all' (mine.py:2)"),
    "exit": ("raise SystemExit(3)\n", 65, "it does not load: SystemExit: 3 (mine.py:1)"),
    "bad encoding": (FUNCTION.replace("funct3=0", "funct3=9"), 65,
                     "it does not load: ValueError: funct3: expected 0 to 7, found 9 (mine.py:2)"),
    "one encoding twice": (FUNCTION + FUNCTION.replace("twice", "again"), 65, "mine.py:6: twice and again"),
    "two classes": (CLASS + "class Other(InstructionCoprocessor): pass\n", 2,
                    "expected one coprocessor, found Times, Other; name a class, {file}:Times, or give a base an"),
    "both": (CLASS + FUNCTION, 2, "expected one coprocessor, found Times, twice"),
    "abstract": (WITH_BASE + "from abc import ABC, abstractmethod\nclass A(Coprocessor, ABC):\n"
                 "    @abstractmethod\n    def f(self): ...\n", 65, "expected a class with base accel.Coprocessor"),
    "no instructions": (WITH_BASE + "class A(Coprocessor): pass\n", 65,
                        "class A: expected instructions: methods with @accel.instruction, or description, the"),
    "text for a path": (WITH_BASE + "class A(Coprocessor): description = 'a.core_desc'\n", 65,
                        "of a CoreDSL file, found 'a.core_desc'"),
    "no such description": (WITH_BASE + "from pathlib import Path\nclass A(Coprocessor):\n"
                            "    description = Path('/nowhere/a.core_desc')\n", 65,
                            "class A: description: expected a CoreDSL file, found no file /nowhere/a.core_desc"),
    "capability of ours": (CLASS + "    capability = 1 << 24\n", 65,
                           "capability: expected a word whose bits 31:24, the family, are 128 to 255, which are left "
                           "to coprocessors outside rvsim; found '0x1000000'"),
    "capability": (CLASS + "    capability = 'x'\n", 65, "found 'x'"),
    "opcode": (CLASS + "    major_opcode = 3.5\n", 65, "major_opcode: expected 7 bits"),
    "init fails": (CLASS + "    def __init__(self, name, parameters):\n        1 / 0\n", 65,
                   "class Times cannot be made: ZeroDivisionError: division by zero (mine.py:16)"),
    "init without arguments": (CLASS + "    def __init__(self):\n        pass\n", 65,
                               "class Times cannot be made: TypeError"),
    "init without base": (CLASS + "    def __init__(self, name, parameters):\n        pass\n", 65, "class Times"),
    "not frozen": (CLASS.replace(", frozen=True", ""), 65, "parameter_type: expected a frozen msgspec.Struct, found"),
    "parameter required": (CLASS.replace("factor: int = 2", "factor: int"), 2, "missing required field `factor`"),
    "parameter type": (CLASS.replace("factor: int", "factor: nothing"), 65,
                       "NameError: name 'nothing' is not defined (mine.py:"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_none(tmp_path: Path, name: str) -> None:
    text, status, message = BAD[name]
    with pytest.raises(RvsimError) as caught:
        load(tmp_path, text)
    assert caught.value.exit_status == status
    assert message.replace("{file}", f"{tmp_path}/mine.py") in str(caught.value)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "suffix", "overrides", "message"),
    [
        (CLASS, ":Time", {}, "expected a class Time with base accel.Coprocessor; its coprocessors are Times"),
        ("", ":Times", {}, "expected a class Times with base accel.Coprocessor; it has none"),
        (CLASS, "", {"facto": "3"}, "--set accel.facto: expected a parameter of Built, found the unknown key 'facto'; "
         "did you mean 'factor'?"),
        (CLASS, "", {"factor": "x"}, "--set accel.factor: key 'factor': expected `int`, got `str`"),
        (FUNCTION, "", {"factor": "3"}, "expected no parameters, since functions have none, found 'factor'"),
        (CLASS.replace("parameter_type", "other"), "", {"a": "3"}, "expected no parameters, since it has no"),
    ],
)  # fmt: skip
def test_a_class_or_parameter_that_is_none(
    tmp_path: Path, text: str, suffix: str, overrides: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, text, suffix, **overrides)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["no.py", "no.py:A", "no/such/folder/x.py", ".py"])
def test_a_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="expected a coprocessor in Python, found no readable file: No such file"):
        registry.load(f"{tmp_path}/{name}")


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("a.py", ("a.py", "")), ("a.py:B", ("a.py", "B")), ("x/a.b.py:B1", ("x/a.b.py", "B1")), ("a.py:", ("a.py", "")),
        ("a", None), ("a.toml", None), ("a.py:b-c", None), ("a.pyx", None),
    ],
)  # fmt: skip
def test_split(text: str, split: tuple[str, str] | None) -> None:
    assert plugin.split(text) == split


def test_assembler_and_disassembler_know_its_instructions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(FUNCTION)
    (tmp_path / "a.s").write_text("_start: twice a0, a1\n .insn r CUSTOM_0, 0, 0, a2, a3, x0\n")
    elf, unit = str(tmp_path / "a.elf"), str(tmp_path / "mine.py")
    assert main(["asm", str(tmp_path / "a.s"), "-o", elf, "--accel", unit]) == 0
    assert main(["disasm", elf, "--accel", unit]) == 0
    assert re.findall(r"twice\t\w+,\w+", capsys.readouterr().out) == ["twice\ta0,a1", "twice\ta2,a3"]
    assert main(["isa", "show", "twice", "--accel", unit]) == 0
    shown = capsys.readouterr().out
    assert "encoding   0000000 00000 rs1[4:0] 000 rd[4:0] 0001011" in shown.replace("000000000000", "0000000 00000")
    assert main(["isa", "list", "--accel", unit]) == 0 and "conv.start" not in capsys.readouterr().out
    assert main(["asm", str(tmp_path / "a.s"), "-o", elf]) == 65
    assert "twice" in capsys.readouterr().err


def test_the_traceback_is_there_for_who_wants_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text("1 / 0\n")
    for debug in ("", "1"):
        monkeypatch.setenv("RVSIM_DEBUG", debug)
        assert main(["run", "hello", "--accel", str(tmp_path / "mine.py")]) == 65
        errors = capsys.readouterr().err
        assert errors.endswith("it does not load: ZeroDivisionError: division by zero (mine.py:1)\n")
        assert ("Traceback" in errors) == bool(debug) and (errors.count("\n") == 1) == (not debug)
