"""What is wrong, where, and what to do: line, column, message, caret."""

from __future__ import annotations

import pytest

from rvsim.asm import AssemblyError, assemble
from rvsim.asm.errors import MAX_ERRORS

CASES = [
    # instructions
    ("addd a0, a1, a2", 1, 1, "expected an instruction, found addd, which there is not in rv32imc; did you mean add?"),
    ("  add a0, a1, b9x", 1, 15, "expected a symbol that is defined, found b9x"),
    ("lw a0, 4(q0)", 1, 10, "expected a register, found 'q0'"),
    ("add a0, a1, a2, a3", 1, 17, "expected 3 operands (rd, rs1, rs2), found 4"),
    ("beq a0, a1", 1, 11, "expected 3 operands (rs1, rs2, imm), found 2"),
    ("sub a0, a1, 5", 1, 13, "expected a register, found '5'"),
    ("addi a0, a1, a2", 1, 14, "expected an immediate, found register a2"),
    ("xor a0, a1, zeor", 1, 13, "expected a symbol that is defined, found zeor; did you mean zero?"),
    ("sub a0, a1, zeor", 1, 13, "expected a register, found 'zeor'; did you mean zero?"),
    ("c.lw t0, 4(a1)", 1, 6, "expected a register from s0 to a5 (x8 to x15), found 't0'"),
    ("c.lw s10, 4(a1)", 1, 6, "expected a register from s0 to a5 (x8 to x15), found 's10'"),
    ("nop a0", 1, 5, "expected no operands, found 1"),
    ("lw a0, 4[a1]", 1, 9, "expected an operator or the end of the expression, found '['"),
    (".option norvc\nc.addi a0, 1", 2, 1, "expected a 32-bit instruction, found c.addi under .option norvc"),
    ("amoadd.w a0, a1, (a2)", 1, 1, "expected an instruction of rv32imc, found amoadd.w, which is one of RVA"),
    ("c.mv a0, x0", 1, 6, "c.mv with these operands is the encoding of c.jr"),
    ("c.addi4spn a0, sp, 0", 1, 12, "c.addi4spn with these operands is a reserved encoding"),
    ("csrr a0, mstatuz", 1, 10, "expected a CSR, found 'mstatuz'; did you mean mstatus?"),
    ("fence rw, wr", 1, 11, "expected letters of iorw in this order, found 'wr'"),
    (".insn q 1, 2", 1, 7, "expected one of r, r4, i, s, b, u, j"),
    (".insn 3, 0x13", 1, 14, "expected an instruction of 4 bytes by its lowest bits, found 3"),
    # immediates
    ("addi a0, a0, 5000", 1, 14, "expected an immediate from -2048 to 2047, found 5000; use li and a register"),
    ("lui a0, 0x100000", 1, 9, "expected an upper immediate from 0 to 0xfffff, found 0x100000; use li"),
    ("c.lui a0, 32", 1, 11, "expected an upper immediate from 1 to 31 or 0xfffe0 to 0xfffff, found 0x20"),
    ("slli a0, a0, 32", 1, 14, "expected an immediate from 0 to 31, found 32"),
    ("c.lw a0, 5(a1)", 1, 10, "expected an immediate from 0 to 124, a multiple of 4, found 5"),
    ("li a0, 0x1ffffffff", 1, 8, "expected a number from -2^31 to 2^32 - 1, found 8589934591"),
    ("li a0, %hi(5)", 1, 9, "expected a number, found %hi; use lui and addi with it"),
    ("addi a0, a0, %hi(5)", 1, 15, "%hi cannot stand here: expected %lo, %pcrel_lo or a number here"),
    ("lui a0, %tprel_hi(x)", 1, 10, "%tprel_hi cannot stand here: there is no dynamic linker and no thread-local"),
    ("x: c.li a0, %lo(x)", 1, 14, "%lo cannot stand here: this operand takes no relocation"),
    ("x: lw a0, %pcrel_lo(x)(a0)", 1, 11, "expected %pcrel_lo of a label at an instruction with %pcrel_hi"),
    ("jal a0, 0x90000001", 1, 9, "expected a target between -1048576 and 1048574 bytes away, a multiple of 2, found"),
    # symbols and expressions
    ("nowhere: j nowher", 1, 12, "expected a symbol that is defined, found nowher; did you mean nowhere?"),
    ("here: nop\nhere: nop", 2, 1, "expected a new symbol, found here, which is defined at test.s:1"),
    ("a0: nop", 1, 1, "expected a symbol, found a0, which is a register; choose another name"),
    ("j 2f", 1, 3, "expected a label 2: behind this, found none"),
    ("j 2b", 1, 3, "expected a label 2: before this, found none"),
    (".equ a, b\n.equ b, a\n.word a", 3, 7, "expected a value, found b, which is defined by itself"),
    (".equiv a, 1\n.equiv a, 2", 2, 8, "expected a new symbol, found a, which is defined at test.s:1"),
    (".word 1 +", 1, 10, "expected an operand behind this, found the end of the expression"),
    (".word (1", 1, 9, "expected an operand behind this, found the end of the expression"),
    (".word 1 2", 1, 9, "expected an operator or the end of the expression, found '2'"),
    (".word 08", 1, 7, "expected an octal number, found 08"),
    (".word 1 / 0", 1, 1, "division by zero in an expression"),
    (".word %lo(5) + 1\n", 1, 7, "%lo stands for a whole operand, not for a part of an expression"),
    # directives
    (".wrod 5", 1, 1, "expected a directive, found .wrod, which there is not; did you mean .word?"),
    (".if foo\n.endif", 1, 5, "expected a number that is known here, found foo, which is not defined before"),
    (".if 1", 1, 1, "expected .endif behind this, found the end of the file"),
    (".endif", 1, 1, "expected .if before .endif, found none"),
    (".else", 1, 1, "expected .if before .else, found none"),
    (".rept 3\nnop", 1, 1, "expected .endr behind this, found the end of the file"),
    (".endm", 1, 1, "expected .macro before .endm, found none"),
    (".exitm", 1, 1, "expected .exitm in a macro, found it outside"),
    (".macro m a:req\n.endm\n m", 3, 3, "expected a value for a of m, which requires it, found none"),
    (".macro m a\n.endm\n m 1, 2", 3, 7, "expected at most 1 arguments for m, found 2"),
    (".align 40", 1, 8, "expected a power of two from 0 to 24, found 40; .balign takes bytes"),
    (".balign 3", 1, 1, "expected an alignment that is a power of two up to 2^24, found 3"),
    (".zero 8\n.org 4", 2, 6, "expected .org to move forwards from 0x8, found 0x4"),
    ('.ascii "abc', 1, 8, "expected a closing quote in this line"),
    (".ascii abc", 1, 8, "expected a \"string\", found 'abc'"),
    (".float abc", 1, 8, "expected a number such as -1.5e3, found 'abc'"),
    (".uleb128 -1", 1, 10, "expected a number that is not negative, found -1"),
    ('.include "x.s"', 1, 1, "expected no .include in a source without a folder, found one of x.s"),
    (".bss\n.word 1", 2, 1, "expected no contents in .bss, found some; use .zero"),
    (".bss\nx: .word x", 2, 4, "expected no contents in .bss, found some; use .zero"),
    (".bss\nnop", 2, 1, "expected instructions in a section with contents, found them in .bss"),
    (".option fast", 1, 9, "expected rvc, norvc, relax, norelax, push, pop or arch, found 'fast'"),
    (".option pop", 1, 1, "expected .option push before .option pop, found none"),
    (".option arch, +zzz", 1, 9, "unknown extension 'zzz'"),
    ('.section .x, "q"', 1, 14, "expected flags of a, w, x, M and S, found q"),
    (".popsection", 1, 1, "expected .pushsection before .popsection, found none"),
    (".type f, @thing", 1, 10, "expected @function or @object, found @thing"),
    ('.error "stop here"', 1, 1, "stop here"),
    ("/* never closed", 1, 1, "expected */ at the end of this comment"),
    ("nop\n\t@", 2, 2, "expected a label, an instruction or a directive, found '@'"),
    (".byte `", 1, 7, "expected an operand, found '`'"),
]


def diagnostics(source: str, **options):
    with pytest.raises(AssemblyError) as caught:
        assemble(source, name="test.s", **options)
    return caught.value.diagnostics


@pytest.mark.parametrize(("source", "line", "column", "message"), CASES, ids=[c[3][:50] for c in CASES])
def test_errors(source, line, column, message):
    [found] = [each for each in diagnostics(source) if not each.warning]
    assert (found.place.line, found.column) == (line, column), found.message
    assert found.message.startswith(message), found.message


def test_text():
    with pytest.raises(AssemblyError) as caught:
        assemble("nop\n\tlw\ta0, 4(q0) # load", name="dir/test.s")
    assert caught.value.exit_status == 65
    assert str(caught.value) == (
        "dir/test.s:2:11: expected a register, found 'q0'\n     lw a0, 4(q0) # load\n              ^"
    )


def test_several_errors_are_collected_in_order():
    found = diagnostics("addd\nnop\n.byte 300\nj nowhere\nsub a0, a1\n")
    assert [(d.place.line, d.warning) for d in found] == [(1, False), (3, True), (5, False)]


def test_errors_that_need_addresses_are_collected_too():
    assert [d.place.line for d in diagnostics("j x\nnop\nj y\nbeq a0, a1, z")] == [1, 3, 4]


def test_there_is_an_end_to_them():
    assert len(diagnostics("addd\n" * 100)) == MAX_ERRORS


def test_a_macro_says_where_it_was_expanded():
    [found] = diagnostics(".macro bad reg\nnop\nadd \\reg, 5\n.endm\nnop\nbad a7\n")
    assert (found.place.line, found.column) == (3, 9)
    lines = str(found).splitlines()
    assert lines[1:] == ["    add a7, 5", "            ^", "    expanded at test.s:6: bad a7"]


def test_columns_behind_comments_and_semicolons():
    [found] = diagnostics("nop; /* one\ntwo */ nop; addd # three")
    assert (found.place.line, found.column) == (2, 13)
    [found] = diagnostics("/* one\ntwo\nthree */ addd /* four */")
    assert (found.place.line, found.column) == (3, 10)


@pytest.mark.parametrize("source", [".byte 300", ".half -40000", ".word 0x123456789"])
def test_numbers_that_are_cut_off_are_warned_of(source):
    from rvsim.asm import assemble_program

    _, state = assemble_program(f".data\n{source}", name="test.s")
    [warning] = state.warnings
    assert "is cut off" in warning.message and (warning.place.line, warning.column) == (2, 7)
