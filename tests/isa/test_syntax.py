"""Errors of a description say where: file:line:column, the line, and a caret under the character that is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvsim.isa import model, syntax
from rvsim.isa.elaborate import DESCRIPTIONS
from rvsim.isa.syntax import CoreDslError
from tests.isa.coredsl_rules import description
from tests.isa.snippets import load, refusal

# (text of the description, the whole message). The caret stands where the message's column says.
MESSAGES: list[tuple[str, str]] = [
    (
        "InstructionSet A {\n  instruction {}\n}",
        """\
t.core_desc:2:3: expected 'always', 'architectural_state', 'functions', 'instructions', '}'; found 'instruction'
      instruction {}
      ^""",
    ),
    (
        "InstructionSet A {",
        """\
t.core_desc:1:19: expected 'always', 'architectural_state', 'functions', 'instructions', '}'; found the end of the file
    InstructionSet A {
                      ^""",
    ),
    (
        "InstructionSet A extends {}",
        """\
t.core_desc:1:26: expected a name; found '{'
    InstructionSet A extends {}
                             ^""",
    ),
    (
        "InstructionSet A {} $",
        """\
t.core_desc:1:21: no CoreDSL token starts with '$' here
    InstructionSet A {} $
                        ^""",
    ),
    (
        "InstructionSet A {}\nInstructionSet A {}",
        """\
t.core_desc:2:16: A is declared twice
    InstructionSet A {}
                   ^""",
    ),
    (
        "InstructionSet A extends B {}",
        """\
t.core_desc:1:26: instruction set B is not declared (known: A)
    InstructionSet A extends B {}
                             ^""",
    ),
    (
        "InstructionSet A extends B {}\nInstructionSet B extends A {}",
        """\
t.core_desc:1:16: A extends B extends A: a cycle
    InstructionSet A extends B {}
                   ^""",
    ),
    (
        "InstructionSet A {\n\tarchitectural_state {\n\t\tregister unsigned<0> R;\n\t}\n}",
        """\
t.core_desc:3:12: expected a width of 1 to 4096 bits, found 0
      register unsigned<0> R;
               ^""",
    ),
    (
        "InstructionSet A { instructions { I { encoding: 12'd0 :: 5'd0; behavior: {} } } }",
        """\
t.core_desc:1:39: expected an encoding of 16 or 32 bits, found 17
    InstructionSet A { instructions { I { encoding: 12'd0 :: 5'd0; behavior: {} } } }
                                          ^""",
    ),
    (
        "InstructionSet A { instructions { I { encoding: 30'd0 :: 2'd4; behavior: {} } } }",
        """\
t.core_desc:1:58: 2'd4: the value does not fit into 2 bits
    InstructionSet A { instructions { I { encoding: 30'd0 :: 2'd4; behavior: {} } } }
                                                             ^""",
    ),
    (
        "InstructionSet A { instructions { I { encoding: a[3:0] :: a[2:1] :: 26'd0; behavior: {} } } }",
        """\
t.core_desc:1:59: field a: bits 2:1 stand in the encoding twice
    InstructionSet A { instructions { I { encoding: a[3:0] :: a[2:1] :: 26'd0; behavior: {} } } }
                                                              ^""",
    ),
    (
        "InstructionSet A { instructions { I { encoding: a[0:3] :: 28'd0; behavior: {} } } }",
        """\
t.core_desc:1:49: a[0:3]: expected [high:low] with high >= low and below 64
    InstructionSet A { instructions { I { encoding: a[0:3] :: 28'd0; behavior: {} } } }
                                                    ^""",
    ),
    (
        "InstructionSet A { instructions { I { encoding: 32'd3; behavior: {\n  unsigned<8> count;\n"
        "  cuont = 1; } } } }",
        """\
t.core_desc:3:3: cuont is not declared; did you mean count?
      cuont = 1; } } } }
      ^""",
    ),
    (
        "InstructionSet A { instructions { I { encoding: 32'd3; behavior: {\n  unsigned<8> a = 1;\n"
        "  unsigned<4> b = a + 1; } } } }",
        """\
t.core_desc:3:19: initialiser of b: expected unsigned<4>, found unsigned<9>, whose values it cannot all hold; """
        """write (unsigned<4>)(...) to convert
      unsigned<4> b = a + 1; } } } }
                      ^""",
    ),
    (
        "InstructionSet A { instructions { I { encoding: 32'd3; behavior: {}\n} "
        "I2 { encoding: 32'd3; behavior: {} } } }",
        """\
t.core_desc:2:3: I2 has the encoding of I (t.core_desc:1)
    } I2 { encoding: 32'd3; behavior: {} } } }
      ^""",
    ),
    (
        "InstructionSet A { functions { extern void stop(); } always { tick { stop(); } } }",
        """\
t.core_desc:1:63: expected an always block PC = PC + 4, or of a hardware loop with registers of 32 bits, \
if (COUNT != 0 && PC + 4 == END) { if (COUNT != 1) PC = START; COUNT -= 1; }; found something else
    InstructionSet A { functions { extern void stop(); } always { tick { stop(); } } }
                                                                  ^""",
    ),
]


@pytest.mark.parametrize(("text", "message"), MESSAGES, ids=lambda value: value.split(": ")[-1][:40])
def test_the_whole_message(text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert str(refusal(Path(), text)) == message


@pytest.mark.parametrize("literal", ["9" * 5000, "0x" + "f" * 1025, "0b" + "1" * 4097, "5000'd1", "12345678901'd1"])
def test_a_literal_that_is_too_wide_is_shown_shortened(literal: str, tmp_path: Path) -> None:
    reason = refusal(tmp_path, description(f"X[rd] = {literal};")).reason
    assert re.fullmatch(r"expected a literal of (1 to|at most) 4096 bits, found .{1,43}", reason)
    assert literal[:10] in reason


@given(before=st.integers(0, 400), after=st.integers(0, 400))
def test_the_caret_stands_under_the_character_in_lines_of_any_length(before: int, after: int) -> None:
    with pytest.raises(CoreDslError) as caught:
        syntax.Source("t", " " * before + "$" + " " * after)
    line, caret = str(caught.value).splitlines()[1:]
    assert line[len(caret) - 1] == "$"
    assert caught.value.column == before + 1
    assert len(caret) <= 85


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff", "expected UTF-8 text, found the byte 0xff at 0"),
        (b"/" * (syntax.MAX_BYTES + 1), f"expected a description of at most {syntax.MAX_BYTES} bytes, found more"),
        (b"", "expected at least one InstructionSet"),
        (b"// nothing", "expected at least one InstructionSet"),
    ],
    ids=["latin-1", "too long", "empty", "comment"],
)
def test_a_file_that_is_no_description(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "t.core_desc"
    path.write_bytes(content)
    with pytest.raises(CoreDslError) as caught:
        model.load_extension(path)
    assert str(caught.value) == f"{path}: {message}"


def test_a_missing_file_and_an_endless_one(tmp_path: Path) -> None:
    with pytest.raises(CoreDslError, match="cannot read the description: No such file"):
        model.load_extension(tmp_path / "absent.core_desc")
    if Path("/dev/zero").exists():
        with pytest.raises(CoreDslError, match="found more"):
            model.load_extension(Path("/dev/zero"))


def test_marks_and_line_ends_of_other_systems_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "t.core_desc"
    path.write_bytes(b"\xef\xbb\xbf" + description("X[rd] = 1;").replace("\n", "\r\n").encode())
    assert len(model.load_extension(path).instructions) == 1


# ------------------------------------------------------------ hostile descriptions
def chain(declaration: str, count: int, first: str = "") -> str:
    """`declaration` for N = 1 to count, with M = N - 1."""
    return first + "".join(declaration.replace("N", str(n)).replace("M", str(n - 1)) for n in range(1, count + 1))


DOUBLING = chain("unsigned<8> fN() { return (unsigned<8>)(fM() + fM()); }", 30, "unsigned<8> f0() { return 1; }")
HOSTILE = {
    "parentheses": description(f"X[rd] = {'(' * 3000}1{')' * 3000};"),
    "blocks": description("{" * 3000 + "}" * 3000),
    "a long sum": description(f"X[rd] = (unsigned<32>)({'+'.join(['imm'] * 5000)});"),
    "a long constant sum": description(state=f"unsigned int A = {'+'.join(['1'] * 5000)};"),
    "a long else-if": description(" else ".join(f"if (imm == {n}) X[rd] = {n};" for n in range(2000))),
    "a huge width": description("X[rd] = (unsigned<0xFFFFFFFFFFFFFFFF>)1;"),
    "a huge shift": description(state="unsigned int A = 1 << 1000000;"),
    "huge products": description(state=f"unsigned int A = {'*'.join(['(1 << 4000)'] * 100)};"),
    "huge products of parameters": description(
        state=chain("unsigned<4096> AN = AM * AM;", 40, "const long A0 = 1 << 60;")
    ),
    "wide products": description(f"X[rd] = (unsigned<32>)({'*'.join(['(unsigned<4096>)X[rs1]'] * 200)});"),
    "a wide concatenation": description(f"X[rd] = ({'::'.join(['X[rs1]'] * 2000)})[31:0];"),
    "a decimal of 200 000 digits": description(f"X[rd] = {'9' * 200_000};"),
    "a hexadecimal of 200 000 digits": description(f"X[rd] = 0x{'f' * 200_000};"),
    "a sized literal": description("X[rd] = 99999999999'd1;"),
    "a sized literal in an encoding": description().replace("3'b000", "99999999999'd0"),
    "a field of many bits": description().replace("imm[11:0]", "imm[99999999999:0]"),
    "many registers": description(state="register unsigned<8> A[1 << 40];"),
    "parameters that name one another": description(state="unsigned int A = B; unsigned int B = A;"),
    "a chain of parameters": description(state=chain("unsigned int PM = PN;", 3000) + "unsigned int P3000 = 1;"),
    "functions that double": description("X[rd] = f30();", DOUBLING),
    "functions that double and do nothing": description(
        "f30();", chain("void fN() { fM(); fM(); }", 30, "void f0() {}")
    ),
    "functions that double, checked alone": description(functions=DOUBLING),
    "a chain of functions": description("f2000();", chain("void fN() { fM(); }", 2000, "void f0() {}")),
    "cases that fall through": description("switch (imm) {" + chain("case N: X[rd] = N;", 2000) + "}"),
    "switches in switches": description("switch (imm) { case 0: case 1: case 2: case 3:" * 20 + ";" + "}" * 20),
    "a value of a value of a value": description(
        "{ unsigned<32> a0 = X[rs1] & 0xFE;"
        + chain("unsigned<32> aN = (unsigned<32>)(aM + aM);", 60)
        + "X[rd] = a60 % 2; }"
    ),
    "a condition of conditions": description(
        "{ bool c = X[rs1] != 0; bool a0 = imm != 0;"
        + chain("bool aN = (aM ^ c) & (aM & c);", 60)
        + "if (a60) X[rd] = 1; }"
    ),
    "sets of sets": chain("InstructionSet AM extends AN {}\n", 3000) + "InstructionSet A3000 {}",
    "a set of many": chain("InstructionSet AN {}\n", 3000)
    + f"InstructionSet Z combines {', '.join(f'A{n}' for n in range(1, 3001))};",
    "many instructions": "InstructionSet A { instructions {"
    + "".join(f"I{n} {{ encoding: 32'd{4 * n + 3}; behavior: {{}} }}" for n in range(2000))
    + "} }",
    "a long import": f'import "{"a" * 5000}"\nInstructionSet A {{}}',
    "an import of a folder, a device and nothing": 'import "." import "/dev/zero" import ""\nInstructionSet A {}',
    "an import of itself": 'import "t.core_desc"\nInstructionSet A {}',
    "a zero byte": 'import "\0"\nInstructionSet A {}',
    "escapes": description(r"X[rd] = '\x';"),
    "an attribute without its value": description().replace("CASE {", "CASE [[enable]] {"),
    "a parameter of type void": description(state="void A = 1;"),
    "raise without arguments": "InstructionSet A { functions { extern void raise(); } "
    "instructions { I { encoding: 32'd3; behavior: raise(); } } }",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_description_ends_in_an_error_or_a_result(text: str, tmp_path: Path) -> None:
    path = tmp_path / "t.core_desc"
    path.write_text(text)
    for load_it in (model.load_extension, model.check_file):
        try:
            load_it(path)
        except CoreDslError as error:
            assert len(str(error)) < 3000


REASONS = {
    "parentheses": "nested too deeply",
    "a long constant sum": "nested too deeply",
    "a chain of parameters": "nested too deeply",
    "a huge width": "expected a width of 1 to 4096 bits, found 18446744073709551615",
    "a huge shift": "expected a shift by 0 to 4096, found 1000000",
    "huge products": "expected a constant of at most 4096 bits",
    "wide products": "expected a result of at most 4096 bits, found unsigned<8192>",
    "a sized literal in an encoding": "expected a literal of 1 to 4096 bits",
    "many registers": "expected 1 to 1048576 registers",
    "parameters that name one another": "parameter A depends on itself (A -> B -> A)",
    "functions that double": "more than 20000 operations",
    "functions that double and do nothing": "more than 20000 operations",
    "a chain of functions": "calls are nested more than 32 deep",
    "escapes": "expected one character between the quotes",
    "an attribute without its value": "expected [[enable=CONDITION]]",
    "raise without arguments": "expected extern void raise(unsigned<1> irq, unsigned<5> cause)",
}


@pytest.mark.parametrize(("name", "reason"), REASONS.items())
def test_a_hostile_description_is_told_why(name: str, reason: str, tmp_path: Path) -> None:
    assert reason in refusal(tmp_path, HOSTILE[name]).reason


def test_hostile_descriptions_need_little_time_and_memory(tmp_path: Path) -> None:
    """All of them in one process that may use 1 GB of address space and a minute of processor time."""
    import subprocess
    import sys

    resource = pytest.importorskip("resource")
    for number, text in enumerate(HOSTILE.values()):
        (tmp_path / f"{number}.core_desc").write_text(text)
    program = (
        "import sys; from pathlib import Path; from rvsim.isa import model; from rvsim.isa.syntax import CoreDslError\n"
        "for path in Path(sys.argv[1]).iterdir():\n"
        "    try: model.load_extension(path)\n"
        "    except CoreDslError: pass\n"
    )

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))

    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, preexec_fn=limit
    )
    assert (result.returncode, result.stderr) == (0, "")


OURS = sorted(DESCRIPTIONS.glob("*.core_desc"))
TEXTS = [p.read_text() for p in OURS] + [
    description("{ unsigned<6> i = 0; while (i < 3) { i++; if (i == 2) continue; X[rd][7:0] = MEM[X[rs1]]; } }"),
    description("{ switch (rs1) { case 0: raise(0, 2); default: X[rd] = imm ? low_byte(X[rs1]) : -1 :: imm; } }"),
]
PIECES = [*"(){}[];:,=+-?01\"'~é\0", "::", "<<", ">>", "&&", "/*", "4096", "unsigned<8>", "signed", "X", "rd", "PC",
          "MEM", "if", "else", "switch", "case", "while", "return", "import", "extends", "encoding", "[[enable=0]]",
          "XLEN", "32'd3", "extern", "raise(0, 2)", "register", "void", "const", "low_byte"]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """One of our descriptions with some of its tokens taken out, doubled, replaced or swapped, perhaps cut short."""
    text = draw(st.sampled_from(TEXTS))
    tokens = re.findall(r"\w+|\s+|[^\w\s]", text)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(tokens) - 1))
        match draw(st.sampled_from(["drop", "double", "replace", "insert", "swap", "cut"])):
            case "drop":
                del tokens[at]
            case "double":
                tokens[at:at] = tokens[at : at + draw(st.integers(1, 30))]
            case "replace":
                tokens[at] = draw(st.sampled_from(PIECES))
            case "insert":
                tokens.insert(at, draw(st.sampled_from(PIECES)))
            case "swap":
                other = draw(st.integers(0, len(tokens) - 1))
                tokens[at], tokens[other] = tokens[other], tokens[at]
            case "cut":
                del tokens[at:]
        if not tokens:
            break
    return "".join(tokens)


@settings(max_examples=250)
@given(text=mutated(), lenient=st.booleans())
def test_a_mutated_description_ends_in_an_error_or_a_result(
    text: str, lenient: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.core_desc"
    path.write_text(text, "utf-8")
    for load_it in (model.load_extension, model.check_file):
        try:
            load_it(path, lenient=lenient)
        except CoreDslError as error:
            place = str(error).split(": ")[0]
            assert place.startswith((str(path), "rvsim/isa/descriptions"))


def test_every_description_of_ours_passes_the_check_without_a_warning() -> None:
    reserved = {"FENCE: field fm", "FENCE: field rs1", "FENCE: field rd", "FENCE_I: field imm", "FENCE_I: field rs1",
                "FENCE_I: field rd", "C_NOP: field imm"}  # fmt: skip
    # Fields that the manual has ignored are named where their own file is checked, and nowhere else.
    for path in OURS:
        found = {
            w.split(": ", 1)[1].split(" is used neither")[0] for isa in model.check_file(path) for w in isa.warnings
        }
        assert found <= reserved, path.name
    assert model.load_core(DESCRIPTIONS / "rv32.core_desc", "RV32").warnings == []


def test_a_description_is_loaded_as_it_is_written(tmp_path: Path) -> None:
    """The tests above would pass if nothing ever loaded."""
    assert load(tmp_path, TEXTS[-1]).instructions[0].name == "CASE"
