"""Hostile sources: each ends in an error or a result, soon and in little memory."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvsim.asm import AssemblyError, assemble
from rvsim.asm.directives import DIRECTIVES
from rvsim.asm.instructions import instruction_set
from rvsim.asm.pseudo import pseudo_instructions

HOSTILE = {
    "a macro that calls itself": (".macro m\nm\n.endm\nm", "nested at most 100 deep"),
    "a macro that calls itself twice": (".macro m\nm\nm\n.endm\nm", "nested at most 100 deep"),
    "arguments that double": (
        ".macro m a\nm \\a\\a\n.endm\nm " + "x" * 100,
        "statement of at most 65536 characters",
    ),
    "a long repetition": (".rept 1000000000\nnop\n.endr", "at most 500000 statements"),
    "nested repetitions": (".rept 5000\n" * 5 + "nop\n" + ".endr\n" * 5, "at most 500000 statements"),
    "a repetition of nothing": (".rept 1000000000000\n.endr", None),
    "a large filling": (".fill 0xffffffff, 8, 1", "at most 64 MiB in section .text"),
    "large fillings": (".rept 100\n.zero 0x1000000\n.endr", "at most 64 MiB in section .text"),
    "a large space": (".data\n.space 0x10000000, 1", "at most 64 MiB in section .data"),
    "a huge .bss": (".bss\n.zero 0xffffffff\n.zero 0xffffffff", "at most 4 GiB in section .bss"),
    "a .bss that does not fit": (".bss\n.zero 0xffffff00", "expected addresses below 2^32"),
    "a far .org": (".org 0x7fffffff", ".org to move at most 64 MiB"),
    "a large alignment": (".balign 0x80000000", "power of two up to 2^24"),
    "a large shift": (".word 1 << 1000000000000", None),
    "large numbers": (".word " + "9" * 5000, "below 2^64"),
    "many parentheses": (".word " + "(" * 19000 + "1" + ")" * 19000, "at most 20000 tokens"),
    "deep parentheses": ("x: .word " + "-(" * 5000 + "x" + ")" * 5000, "nested operators"),
    "a long sum": ("x: .word " + "x+" * 5000 + "x", "nested operators"),
    "a symbol that doubles": ("x: .set a, x\n" + ".set a, a + a\n" * 100 + ".word a", "nested operators"),
    "symbols that double": (
        "".join(f".equ b{n}, b{n - 1} + b{n - 1}\n" for n in range(60, 0, -1)) + "x: .equ b0, x - x\n.word b60",
        None,
    ),
    "a chain of symbols": (
        "".join(f".equ b{n}, b{n - 1} + 1\n" for n in range(3000, 0, -1)) + ".equ b0, 1\n.word b3000",
        "nested too deeply",
    ),
    "a target at the end of a chain": (
        "".join(f".equ b{n}, b{n - 1} + 1\n" for n in range(3000, 0, -1)) + ".equ b0, x\nx: beqz a0, b3000",
        "nested too deeply",
    ),
    "a number of its own size": ("a: .uleb128 (b - a) << 7\nb:", None),
    "deep conditions": (".if 1\n" * 2000, "at most 1000 .if open"),
    "many sections": ("".join(f".section s{n}\n" for n in range(2000)), "at most 1000 sections"),
    "a long line": ("nop " + "a" * 100_000, "statement of at most 65536 characters"),
    "many operands": (".byte " + "1," * 20000, "at most 20000 tokens"),
    "open quotes": ('.ascii "' + "\\" * 1001, "closing quote"),
    "zero bytes": ("\0nop", "found '\\x00'"),
    "a file of commas": ("," * 1000, "found ','"),
    "many branches that grow": (
        "".join(f"beqz a0, l{n}\n.zero 250\nl{n}: beqz a1, l{n // 2}\n" for n in range(2000)),
        None,
    ),
}


LONG = ("a long repetition", "nested repetitions")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in HOSTILE])
def test_hostile(name):
    source, message = HOSTILE[name]
    start = time.perf_counter()
    if "large" in name:  # tracing memory makes the rest five times as slow
        tracemalloc.start()
    if message is None:
        assemble(source)
    else:
        with pytest.raises(AssemblyError) as caught:
            assemble(source)
        assert message in str(caught.value), str(caught.value)[:300]
        assert len(str(caught.value)) < 100_000
    if "large" in name:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 400 << 20
    assert time.perf_counter() - start < 60


@pytest.mark.parametrize("name", ["../x.s", "/etc/passwd", "link.s", "folder/../../x.s"])
@pytest.mark.parametrize("directive", [".include", ".incbin"])
def test_only_files_below_the_source(tmp_path, name, directive):
    folder = tmp_path / "source"
    (folder / "folder").mkdir(parents=True)
    (tmp_path / "x.s").write_text("nop")
    (folder / "link.s").symlink_to(tmp_path / "x.s")
    with pytest.raises(AssemblyError, match="expected a file below the source's folder"):
        assemble(f'{directive} "{name}"', folder=str(folder))


def test_a_file_that_includes_itself(tmp_path):
    (tmp_path / "a.s").write_text('nop\n.include "a.s"\n')
    with pytest.raises(AssemblyError, match="nested at most 100 deep"):
        assemble('.include "a.s"', folder=str(tmp_path))


@pytest.mark.parametrize("name", ["nothing.s", "."])
def test_files_that_cannot_be_read(tmp_path, name):
    with pytest.raises(AssemblyError):
        assemble(f'.include "{name}"', folder=str(tmp_path))


WORDS = [*DIRECTIVES, *instruction_set("rv32imac_zba_zbb_zbs_zcb").templates, *pseudo_instructions(), ".insn"]
PIECES = [
    *("a0", "x5", "sp", "1", "-1", "0x7fffffff", "4(a0)", "(sp)", "label", "1b", "1f", "%hi(label)", "%lo(label)"),
    *('"text"', "'c'", ",", ",", ",", "+", "-", "(", ")", ".", "==", "@function", "\\a", "\\@", "r", "rw", "mstatus"),
    *("label:", "1:", ";", "\n", "\n", "#", "/*", "*/", "=", "!", "~", "[", "{", "\\", '"', "'", "é", "\0"),
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(WORDS).map("\n{} ".format) | st.sampled_from(PIECES), max_size=30))
def test_rubbish_is_an_error_or_a_result(pieces):
    try:
        assemble(" ".join(pieces))
    except AssemblyError as error:
        assert all(each.place.line >= 0 and each.column >= 1 for each in error.diagnostics)


@settings(max_examples=200)
@given(st.text(max_size=60))
def test_any_text_is_an_error_or_a_result(text):
    try:
        assemble(text)
    except AssemblyError:
        pass
