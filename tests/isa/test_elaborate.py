"""Files, sets, cores, parameters and encodings put together; dialects of others tolerated or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from rvsim.isa import model
from rvsim.isa.disassemble import disassemble
from rvsim.isa.evaluate import execute
from rvsim.isa.ir import Isa
from rvsim.isa.syntax import CoreDslError
from tests.isa.coredsl_rules import description
from tests.isa.snippets import Recorder, load, refusal

STATE = "register unsigned<XLEN> X[32] [[is_main_reg]]; register unsigned<XLEN> PC [[is_pc]];"


def one(name: str, encoding: str = "32'd3", behaviour: str = "{}", attributes: str = "") -> str:
    return f"{name} {attributes} {{ encoding: {encoding}; behavior: {behaviour} }}"


def isa_set(name: str, head: str = "", state: str = "", instructions: str = "") -> str:
    return f"InstructionSet {name} {head} {{ architectural_state {{ {state} }} instructions {{ {instructions} }} }}\n"


def core(folder: Path, text: str, name: str = "C") -> Isa:
    path = folder / "t.core_desc"
    path.write_text(text)
    return model.load_core(path, name)


def names(isa: Isa) -> list[str]:
    return [i.name for i in isa.instructions]


# ------------------------------------------------------------ imports
@pytest.mark.parametrize("folder", ["beside", "below", "search path", "search path by file name", "working directory"])
def test_where_an_import_is_looked_up(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = {"beside": "main", "below": "main/sub"}.get(folder, "elsewhere")
    target = {"below": "sub/base.core_desc", "search path by file name": "../rv_base/base.core_desc"}.get(
        folder, "base.core_desc"
    )
    for directory in ("main/sub", "elsewhere"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / place / "base.core_desc").write_text(isa_set("Base", state="const unsigned int WIDTH = 9;"))
    (tmp_path / "main" / "t.core_desc").write_text(
        f'import "{target}"\n' + isa_set("A", "extends Base", "register unsigned<WIDTH> R;")
    )
    if folder == "working directory":
        monkeypatch.chdir(tmp_path / "elsewhere")
    search = [tmp_path / "elsewhere"] if folder.startswith("search path") else []
    isa = model.load_extension(tmp_path / "main" / "t.core_desc", search)
    assert (isa.sets, isa.register_file("R").width, isa.warnings) == (["Base", "A"], 9, [])


def test_the_folder_of_the_importing_file_comes_before_the_search_path(tmp_path: Path) -> None:
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "base.core_desc").write_text(isa_set("Base", state="register unsigned<1> R;"))
    (tmp_path / "base.core_desc").write_text(isa_set("Base", state="register unsigned<2> R;"))
    isa = load(tmp_path, 'import "base.core_desc"\n' + isa_set("A", "extends Base"), search=[tmp_path / "search"])
    assert isa.register_file("R").width == 2


def test_imports_may_be_repeated_and_circular(tmp_path: Path) -> None:
    (tmp_path / "a.core_desc").write_text('import "t.core_desc"\nimport "b.core_desc"\n' + isa_set("A"))
    (tmp_path / "b.core_desc").write_text('import "a.core_desc";\n' + isa_set("B"))
    isa = load(tmp_path, 'import "a.core_desc"\nimport "b.core_desc"\n' + isa_set("T", "extends A") + isa_set("U"))
    assert isa.sets == ["A", "T", "U"]


def test_a_missing_import_is_reported_and_matters_only_when_it_is_needed(tmp_path: Path) -> None:
    isa = load(tmp_path, '\n import "lost.core_desc"\n' + isa_set("A"))
    assert isa.warnings == [f"{tmp_path / 't.core_desc'}:2:2: import 'lost.core_desc' not found; going on without it"]
    error = refusal(tmp_path, 'import "lost.core_desc"\n' + isa_set("A", "extends Lost"))
    assert error.reason == "instruction set Lost is not declared (known: A); imports not found: lost.core_desc"


@pytest.mark.parametrize("name", ["RV32I", "RVI", "RV32M", "RV32IM", "RVM", "RV32IC", "RV32C", "RVC", "RVPrivBase"])
def test_old_and_foreign_names_of_the_bundled_sets(name: str, tmp_path: Path) -> None:
    """Imported under a folder nobody has, as the extensions of TU Munich do, or counted on without an import."""
    for head in (f'import "CoreDSL-Instruction-Set-Description/{name}.core_desc"\n', ""):
        text = head + isa_set("A", f"extends {name}", instructions=one("I", behaviour="X[1] = 1;"))
        assert names(load(tmp_path, text)) == ["I"]


# ------------------------------------------------------------ sets and cores
BASES = isa_set("A", state="unsigned int N = 1;", instructions=one("IA", "32'd3"))
BASES += isa_set("B", state="unsigned int M = 2;", instructions=one("IB", "32'd7"))


def test_a_core_provides_the_instructions_of_its_sets_and_their_bases(tmp_path: Path) -> None:
    text = BASES + isa_set("D", "extends A", instructions=one("ID", "32'd11")) + "Core C provides D, B {}"
    isa = core(tmp_path, text)
    assert (isa.name, isa.sets, names(isa)) == ("C", ["A", "D", "B", "C"], ["IA", "ID", "IB"])


def test_combines_makes_one_set_of_several(tmp_path: Path) -> None:
    text = BASES + "InstructionSet AB combines A, B;\nCore C provides AB {}"
    assert names(core(tmp_path, text)) == ["IA", "IB"]
    assert names(load(tmp_path, text)) == ["IA", "IB"]


def test_extends_several_merges_from_left_to_right(tmp_path: Path) -> None:
    isa = core(tmp_path, BASES + "InstructionSet AB extends B, A {}\nCore C provides AB {}")
    assert isa.sets == ["B", "A", "AB", "C"]


def test_a_set_reached_twice_counts_once(tmp_path: Path) -> None:
    isa = core(
        tmp_path, BASES + "InstructionSet L extends A {} InstructionSet R extends A {} Core C provides L, R, A {}"
    )
    assert names(isa) == ["IA"]


def test_a_set_and_a_core_may_share_a_name(tmp_path: Path) -> None:
    isa = core(tmp_path, isa_set("C", instructions=one("I")) + "Core C provides C {}")
    assert names(isa) == ["I"]


def test_an_extension_leaves_out_the_instructions_it_imports(tmp_path: Path) -> None:
    (tmp_path / "base.core_desc").write_text(BASES)
    text = 'import "base.core_desc"\n' + isa_set("D", "extends A, B", instructions=one("ID", "32'd11"))
    assert names(load(tmp_path, text)) == ["ID"]


def test_an_unknown_core_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(CoreDslError, match="expected a Core Z; found C"):
        core(tmp_path, BASES + "Core C provides A {}", "Z")


# ------------------------------------------------------------ parameters and state
def width(folder: Path, text: str) -> int:
    return core(folder, text + "\n").register_file("R").width


def test_the_last_assignment_of_a_parameter_wins(tmp_path: Path) -> None:
    base = isa_set("A", state="unsigned int W = 1; register unsigned<W> R;")
    derived = isa_set("D", "extends A", state="W = 2;")
    sibling = isa_set("S", "extends A", state="W = 3;")
    assert width(tmp_path, base + "Core C provides A {}") == 1
    assert width(tmp_path, base + derived + "Core C provides D {}") == 2
    assert width(tmp_path, base + derived + sibling + "Core C provides D, S {}") == 3
    assert width(tmp_path, base + derived + sibling + "Core C provides S, D {}") == 2
    assert width(tmp_path, base + derived + "Core C provides D { architectural_state { W = 4; } }") == 4


def test_parameters_see_what_is_given_later(tmp_path: Path) -> None:
    text = isa_set(
        "A", state="unsigned int XLEN; unsigned int W = 2 * XLEN + K; const unsigned int K = 1; register unsigned<W> R;"
    )
    assert width(tmp_path, text + "Core C provides A { architectural_state { XLEN = 32; } }") == 65
    with pytest.raises(CoreDslError, match=r"parameter XLEN has no value; .* such as XLEN = 32;"):
        core(tmp_path, text + "Core C provides A {}")


def test_constant_expressions_are_not_typed_and_parameters_are(tmp_path: Path) -> None:
    text = (
        "unsigned int XLEN = 32; unsigned<8> W = 200 + 100; register unsigned<W> R; extern unsigned<8> MEM[1 << XLEN];"
    )
    isa = core(tmp_path, isa_set("A", state=text) + "Core C provides A {}")
    assert (isa.register_file("R").width, isa.spaces[0].size) == (44, 1 << 32)
    assert [w.split(": ", 1)[1] for w in isa.warnings] == [
        "the value 300 of W does not fit into unsigned<8> and is wrapped"
    ]


def test_an_assignment_to_nothing_is_reported(tmp_path: Path) -> None:
    isa = core(tmp_path, BASES + "Core C provides A { architectural_state { NN = 4; } }")
    assert [w.split(": ", 1)[1] for w in isa.warnings] == ["NN is no parameter; the assignment has no effect"]


def test_reset_values_and_roles(tmp_path: Path) -> None:
    isa = load(
        tmp_path,
        isa_set("A", state="const int XLEN = 32; register signed<8> S[3] = {1, -2}; register bool B = 1;" + STATE),
    )
    assert [(r.name, r.count, r.width, r.signed, r.reset, r.role) for r in isa.registers] == [
        ("S", 3, 8, True, [1, -2], ""),
        ("B", 0, 1, False, [1], ""),
        ("X", 32, 32, False, [], "main"),
        ("PC", 0, 32, False, [], "pc"),
    ]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("register unsigned<8> R[2] = {1, 2, 3};", "R has 2 registers, found 3 values"),
        ("register unsigned<8> R = 256;", "the reset value 256 of R does not fit into unsigned<8>"),
        ("register unsigned<8> R[2][2];", "arrays have one dimension"),
        ("register unsigned<8> R[2] [[is_pc]];", "[[is_pc]] marks one register"),
        ("register unsigned<8> R [[is_main_reg]];", "[[is_main_reg]] marks several registers"),
        ("extern unsigned<8> M;", "needs a size"),
        ("extern unsigned<9> M[4];", "whole bytes"),
        ("const unsigned<8> T[4] = {1, 2, 3, 4};", "arrays are not supported"),
        ("void V = 1;", "expected an integer type"),
        ("enum E { A, B }", "enum types are not supported"),
        ("unsigned<8> A = 1 / 0; register unsigned<A> R;", "division by zero"),
        ("unsigned<8> A = 1 << -1; register unsigned<A> R;", "shift by 0 to"),
        ("register unsigned<8> R; unsigned<8>& A = R[0];", "R"),
        ("unsigned<8>& A;", "must name a register"),
        ("f(1);", "expected NAME = VALUE;"),
    ],
)
def test_state_that_is_refused(state: str, message: str, tmp_path: Path) -> None:
    assert message in refusal(tmp_path, isa_set("A", state=state)).reason


def run(folder: Path, state: str, behaviour: str, context: Recorder, fields: int = 0) -> Recorder:
    instruction = load(folder, description(behaviour, state=state)).instructions[0]
    execute(instruction, instruction.match | fields, 0x100, context)
    return context


def test_an_alias_is_its_register_or_element(tmp_path: Path) -> None:
    state = "unsigned<32>& SP = X[2]; unsigned<32>& SEED = CSR[0x15]; signed<40>& B = ACC;"
    context = Recorder({2: 7}, lambda space, address, size: address)
    run(tmp_path, state, "{ SP = (unsigned<32>)(SP + 1); ACC = 5; B = (signed<40>)(B + 1); SEED = SEED; }", context)
    assert context.effects == [
        ("put", "X", 2, 8),
        ("put", "ACC", None, 5),
        ("put", "ACC", None, 6),
        ("load", "CSR", 0x15, 4),
        ("store", "CSR", 0x15, 0x15, 4, False),
    ]


def test_an_index_beyond_a_register_file_stays_within_it(tmp_path: Path) -> None:
    for count in (16, 20):
        context = run(tmp_path, f"register unsigned<8> R[{count}];", "R[rd] = 1;", Recorder(), 31 << 7)
        assert context.effects == [("put", "R", 31 % count, 1)]


def test_locals_and_fields_hide_parameters_in_ranges(tmp_path: Path) -> None:
    error = refusal(tmp_path, description("{ unsigned<5> SEVEN = (unsigned<5>)rs1; X[rd] = X[rs1][SEVEN:0]; }"))
    assert "the size of a range must be constant" in error.reason
    error = refusal(tmp_path, description("X[rd] = X[rs1][rd:0];", state="unsigned int rd = 1;"))
    assert "the size of a range must be constant" in error.reason


@pytest.mark.parametrize("target", ["X[i++] += 1", "MEM[low_byte(imm)]--", "X[i = 2][3:0] = 1"])
def test_what_is_read_and_written_is_evaluated_once(target: str, tmp_path: Path) -> None:
    error = refusal(tmp_path, description(f"{{ unsigned<5> i = 1; {target}; }}"))
    assert "expected no assignment or call within what is read and written" in error.reason


def test_a_switch_that_always_returns_ends_a_function(tmp_path: Path) -> None:
    always = "unsigned<8> f(unsigned<5> x) { switch (x) { case 1: return 7; default: return 9; } }"
    for rd, value in ((1, 7), (2, 9)):
        assert value_of_f(tmp_path, always, rd) == value
    broken = always.replace("return 7;", "break;")
    assert "every path" in refusal(tmp_path, description("X[1] = f(rd);", broken)).reason
    assert "default stands twice" in refusal(tmp_path, description("switch (rd) { default: ; default: ; }")).reason


def value_of_f(folder: Path, functions: str, rd: int) -> int:
    instruction = load(folder, description("X[1] = f(rd);", functions)).instructions[0]
    context = Recorder()
    execute(instruction, instruction.match | rd << 7, 0, context)
    return context.registers["X", 1]


@pytest.mark.parametrize("parameter", ["unsigned<8>& a", "unsigned<8> a[4]", "extern unsigned<8> a", "register bool a"])
def test_functions_take_integers_by_value(parameter: str, tmp_path: Path) -> None:
    error = refusal(tmp_path, description(functions=f"void f({parameter}) {{}}"))
    assert error.reason == "parameters of functions are integers, passed by value: TYPE NAME"


# ------------------------------------------------------------ instructions and encodings
@pytest.mark.parametrize(
    ("condition", "kept"), [("XLEN == 32", True), ("XLEN == 64", False), ("0", False), ("(1)", True)]
)
def test_enable_keeps_or_removes_an_instruction(condition: str, kept: bool, tmp_path: Path) -> None:
    for attribute in (
        f"[[enable={condition}]]",
        f"[[enable({condition})]]",
        f"[[no_cont]] [[enable={condition}]] [[flush]]",
    ):
        text = isa_set("A", state="const int XLEN = 32;", instructions=one("I", attributes=attribute))
        assert names(load(tmp_path, text)) == ["I"] * kept
    block = isa_set("A", state="const int XLEN = 32;", instructions=one("I"))
    block = block.replace("instructions {", f"instructions [[enable={condition}]] {{")
    assert names(load(tmp_path, block)) == ["I"] * kept


def test_a_disabled_instruction_may_hold_anything_that_parses(tmp_path: Path) -> None:
    text = isa_set("A", instructions=one("I", "15'd3", "NOTHING = 1;", "[[enable=0]]"))
    assert names(load(tmp_path, text)) == []


@pytest.mark.parametrize("bits", [0, 8, 15, 17, 31, 33, 48, 64])
def test_an_encoding_has_16_or_32_bits(bits: int, tmp_path: Path) -> None:
    encoding = f"{bits}'d0" if bits else "1'd0"
    error = refusal(tmp_path, isa_set("A", instructions=one("I", encoding)))
    assert error.reason == f"expected an encoding of 16 or 32 bits, found {bits or 1}"


def test_fields_take_their_bits_from_where_the_encoding_has_them(tmp_path: Path) -> None:
    encoding = "imm[12:12] :: a[015:0x8] :: imm[4:1] :: b[0:0] :: 20'd3"
    (instruction,) = load(tmp_path, isa_set("A", instructions=one("I", encoding))).instructions
    assert (instruction.mask, instruction.match, instruction.size) == (0xFFFFF, 3, 4)
    imm, a, b = instruction.fields
    # (position in the word, position in the field, bits)
    assert (imm.width, imm.slices, imm.encodable) == (13, [(31, 12, 1), (21, 1, 4)], 0x101E)
    assert (a.width, a.slices, a.encodable) == (14, [(25, 8, 6)], 0x3F00)
    assert (b.width, b.slices, b.encodable) == (1, [(20, 0, 1)], 1)
    assert imm.extract(0xFFFF_FFFF) == 0x101E
    assert imm.insert(0x1FFF) == 0x81E0_0000
    assert a.extract(1 << 25) == 0x100


def test_bits_that_the_encoding_lacks_are_noted(tmp_path: Path) -> None:
    text = isa_set("A", instructions=one("I", "imm[6:5] :: imm[2:1] :: 28'd3", "{ bool b = imm[3]; }"))
    assert load(tmp_path, text).instructions[0].notes == [
        "field imm: bits 3, 4 stand nowhere in the encoding and are 0",
        "field imm is used neither by the behaviour nor by the assembly text",
    ]


def test_low_bits_that_do_not_fit_the_size_are_noted(tmp_path: Path) -> None:
    for encoding, bits in (("32'd2", "11"), ("16'd3", "00, 01 or 10"), ("a[31:0]", "11")):
        isa = load(tmp_path, isa_set("A", instructions=one("I", encoding)))
        assert any(f"are {bits} in RISC-V" in note for note in isa.instructions[0].notes)


def test_an_equal_encoding_of_a_later_set_replaces_and_is_reported(tmp_path: Path) -> None:
    text = isa_set("A", instructions=one("OLD")) + isa_set("B", instructions="\n" + one("NEW"))
    isa = core(tmp_path, text + "Core C provides A, B {}")
    place = tmp_path / "t.core_desc"
    assert names(isa) == ["NEW"]
    assert isa.warnings == [f"{place}:3: NEW of B replaces OLD of A: equal encodings"]
    assert names(core(tmp_path, text + "Core C provides B, A {}")) == ["OLD"]


def test_of_nested_encodings_the_one_with_more_fixed_bits_is_meant(tmp_path: Path) -> None:
    text = isa_set("A", instructions=one("WIDE", "a[1:0] :: 30'd3", "bool b = a[0];") + one("SPECIAL", "2'd1 :: 30'd3"))
    isa = load(tmp_path, text)
    assert names(isa) == ["SPECIAL", "WIDE"]
    assert not any("both match" in w for w in isa.warnings)
    assert [disassemble(isa, n << 30 | 3) for n in range(3)] == ["wide", "special", "wide"]


def test_encodings_that_cross_are_warned_of(tmp_path: Path) -> None:
    text = isa_set("A", instructions=one("P", "1'd1 :: a[0:0] :: 30'd3") + one("Q", "a[0:0] :: 1'd1 :: 30'd3"))
    assert any(w.endswith("both match 0xc0000003; P wins") for w in load(tmp_path, text).warnings)


GUARDED = [
    "if (rd != 0) X[rd] = 1;",
    "if (rd) X[rd] = 1;",
    "if (rd == 0) {} else X[rd] = 1;",
    "if (imm && rd != 0) X[rd] = 1;",
    "{ if (rd == 0) raise(0, 2); X[rd] = 1; }",
    "X[1] = 1;",
    "X[rd[2:0] + 8] = 1;",
]


def test_a_write_of_x0_is_dropped_and_noted(tmp_path: Path) -> None:
    def notes(behaviour: str) -> list[str]:
        found = load(tmp_path, description(behaviour)).instructions[0].notes
        return [n for n in found if "x0" in n]

    note = ["writes of x0 are dropped: the behaviour has no if (rd != 0)"]
    assert notes("X[rd] = rs1 + imm;") == note
    for guarded in GUARDED:
        assert notes(guarded) == [], guarded
        context = run(tmp_path, "", guarded, Recorder(), 5 << 7 | 1 << 20)
        assert [e[3] for e in context.effects if e[0] == "put"] == [1], guarded
    assert run(tmp_path, "", "X[rd] = 1;", Recorder()).effects == []
    assert run(tmp_path, "", "X[rd] = 1;", Recorder(), 5 << 7).effects == [("put", "X", 5, 1)]


# ------------------------------------------------------------ dialects of others
TOLERATED = {
    "an integer as a condition": description("if (imm) PC = X[rs1];"),
    "an instruction without assembly": description(),
    "assembly with one string": description().replace("behavior", 'assembly: "{name(rd)}, {imm}"; behavior'),
    "assembly with two strings": description().replace("behavior", 'assembly: {"c.ase", "{name(rd)}"}; behavior'),
    "characters": description("X[rd] = 'U';"),
    "suffixes": description("X[rd] = 5u + 6UL + 7l;"),
    "empty sections": "InstructionSet A { architectural_state {} functions {} instructions {} }",
    "sections in any order, repeated": "InstructionSet A { instructions {} functions {} instructions {} }",
    "import with a semicolon": 'import "RVM.core_desc";\nInstructionSet A extends RVM {}',
    "a trailing comma": "InstructionSet A { architectural_state { register bool R[2] = {1, 0,}; } }",
    "always as a PC increment": description().replace("functions {", "always { a { PC = PC + 4; } } functions {"),
    "always in bytes of the encoding": description().replace(
        "functions {", "always { a { PC += __encoding_size / 8; } } functions {"
    ),
}  # fmt: skip
REFUSED = {
    "a width taken from a cast": (description("MEM[X[rs1]] = (signed<32>)X[rd];"), "unsigned<8>"),
    "narrowing without a cast": (description("{ unsigned<8> a = X[rs1]; }"), "write (unsigned<8>)(...) to convert"),
    "an encoding of 21 bits": (description().replace("imm[11:0] :: rs1[4:0]", "imm[5:0]"), "found 21"),
    "spawn": (description("spawn X[1] = 1;"), "spawn is not supported"),
    "always with logic": (
        description().replace("instructions {", "always { step { X[1] = 1; } } instructions {"),
        "expected an always block PC = PC + 4",
    ),
    "structs": ("InstructionSet A { architectural_state { struct S { int a; } } }", "struct types are not supported"),
    "arrays in behaviours": (description("{ unsigned<8> a[4]; }"), "arrays in behaviours are not supported"),
    "reversed bit ranges": (description("X[rd] = X[rs1][0:31];"), "reversed"),
    "aliases in behaviours": (description("{ unsigned<32>& a = X[1]; }"), "aliases belong into architectural_state"),
}  # fmt: skip


@pytest.mark.parametrize("text", TOLERATED.values(), ids=TOLERATED.keys())
def test_a_dialect_that_is_tolerated(text: str, tmp_path: Path) -> None:
    load(tmp_path, text)


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_dialect_that_is_refused(text: str, message: str, tmp_path: Path) -> None:
    assert message in refusal(tmp_path, text).reason


def test_lenient_truncates_and_warns_instead(tmp_path: Path) -> None:
    text = description("{ unsigned<8> a = X[rs1]; signed<8> b = a; X[rd] = b; }")
    isa = load(tmp_path, text, lenient=True)
    assert sum("whose values it cannot all hold" in w for w in isa.warnings) == 3
    (instruction,) = isa.instructions
    context = Recorder({3: 0x1234_56F8})
    execute(instruction, instruction.match | 3 << 15 | 1 << 7, 0, context)
    assert context.registers["X", 1] == 0xFFFF_FFF8


@pytest.mark.parametrize(
    ("shift", "warned"), [("1 << 31", True), ("(unsigned<32>)1 << 31", False), ("X[rs1] >> 32", True)]
)
def test_a_shift_beyond_the_width_is_warned_of(shift: str, warned: bool, tmp_path: Path) -> None:
    warnings = load(tmp_path, description(f"X[rd] = {shift};")).warnings
    assert any("shifts every bit out" in w for w in warnings) == warned


def test_an_unknown_attribute_is_named_once_where_it_stands(tmp_path: Path) -> None:
    text = description().replace("CASE {", "CASE [[etiss_static]] [[no_cont]] [[type(1)]] {")
    path = tmp_path / "t.core_desc"
    attributes = [w for w in load(tmp_path, text).warnings if "[[" in w]
    assert attributes == [f"{path}:19: attribute [[etiss_static]] is not known here and has no effect"]
