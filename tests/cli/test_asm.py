"""`rvsim asm`: options, files that must not be lost, and exit statuses."""

from __future__ import annotations

import io
import os
import sys

import pytest

from rvsim.cli.main import main

SOURCE = "_start:\n    li a0, STATUS\n    li a7, 93\n    ecall\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.s").write_text(SOURCE.replace("STATUS", "7"))
    return tmp_path


def test_a_program_runs(folder, capsys):
    assert main(["asm", "a.s", "-o", "a.elf"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["run", "--quiet", "a.elf"]) == 7


def test_standard_input_and_definitions(folder, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(SOURCE.encode())))
    assert main(["asm", "-", "-o", "a.elf", "--define", "STATUS=0x2a", "--text", "0x10000"]) == 0
    assert main(["run", "--quiet", "a.elf"]) == 42


def test_listing(folder, capsys):
    assert main(["asm", "a.s", "-o", "a.elf", "--listing", "-"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "80000000  1d45              a.s:2                li a0, 7",
        "80000002  9308d005          a.s:3                li a7, 93",
        "80000006  73000000          a.s:4                ecall",
    ]
    assert main(["asm", "a.s", "-o", "a.elf", "--listing", "a.lst"]) == 0
    assert (folder / "a.lst").read_text().startswith("80000000  1d45")


def test_instructions_of_a_description(folder, root):
    (folder / "m.s").write_text("mac.u a0, a1\n")
    description = str(root / "tests" / "machine" / "mac.core_desc")
    assert main(["asm", "m.s", "-o", "m.elf", "--isa-ext", description]) == 0
    assert bytes.fromhex("2b20b500") in (folder / "m.elf").read_bytes()


def test_instruction_sets(folder, capsys):
    (folder / "z.s").write_text("sh1add a0, a0, a1\n")
    assert main(["asm", "z.s", "-o", "z.elf"]) == 65
    assert "found sh1add, which is one of Zba; see --isa" in capsys.readouterr().err
    assert main(["asm", "z.s", "-o", "z.elf", "--isa", "rv32i_zba"]) == 0


def test_includes_are_found_beside_the_source(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "b.s").write_text('.include "c.s"\n')
    (folder / "sub" / "c.s").write_text("nop\n")
    assert main(["asm", "sub/b.s", "-o", "b.elf"]) == 0


def test_warnings(folder, capsys):
    (folder / "w.s").write_text('.warning "mind this"\n')
    assert main(["asm", "w.s", "-o", "w.elf"]) == 0
    assert capsys.readouterr().err == 'rvsim: w.s:1:1: warning: mind this\n    .warning "mind this"\n    ^\n'


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["absent.s", "-o", "x.elf"], 65, "absent.s: cannot read the source: No such file"),
        (["a.s"], 2, "the following arguments are required: -o/--output"),
        (["a.s", "-o", "a.s"], 2, "a.s is a source itself: name another file to write"),
        (["a.s", "-o", "link.s"], 2, "link.s is a source itself"),
        (["a.s", "-o", "hard.s"], 2, "hard.s is a source itself"),
        (["a.s", "-o", "x.elf", "--listing", "a.s"], 2, "a.s is a source itself"),
        (["a.s", "-o", "x.elf", "--listing", "x.elf"], 2, "-o and --listing both name x.elf"),
        (["a.s", "-o", "-"], 2, "-o: expected a file for the ELF, found -"),
        (["a.s", "-o", "thesis.txt"], 73, "thesis.txt exists and is no ELF, so it is not replaced"),
        (["a.s", "-o", "absent/x.elf"], 73, "cannot write absent/x.elf: there is no folder"),
        (["a.s", "-o", "x.elf", "--text", "5"], 2, "expected an even address below 2^32, found '5'"),
        (["a.s", "-o", "x.elf", "--text", "0x100000000"], 2, "expected an even address below 2^32"),
        (["a.s", "-o", "x.elf", "--define", "5"], 2, "--define: expected NAME=NUMBER, found '5'"),
        (["a.s", "-o", "x.elf", "--define", "A=b"], 2, "--define: expected NAME=NUMBER, found 'A=b'"),
        (["a.s", "-o", "x.elf", "--define", "a0=1"], 2, "expected a symbol, found a0, which is a register"),
        (["a.s", "-o", "x.elf", "--isa", "rv64i"], 2, "expected rv32, found rv64"),
        (["a.s", "-o", "x.elf", "--isa-ext", "absent.core_desc"], 65, "absent.core_desc: cannot read"),
        (["bytes.s", "-o", "x.elf"], 65, "bytes.s:2: expected text in UTF-8, found the byte 0xff"),
        (["bad.s", "-o", "x.elf"], 65, "bad.s:1:1: expected an instruction, found addd"),
        (["bad.s", "-o", "old.elf"], 65, "bad.s:1:1: expected an instruction, found addd"),
    ],
)
def test_refused(folder, capsys, arguments, status, message):
    (folder / "bad.s").write_text("addd\n")
    (folder / "bytes.s").write_bytes(b"nop\n\xff\n")
    (folder / "thesis.txt").write_text("my thesis")
    (folder / "old.elf").write_bytes(b"\x7fELF old")
    (folder / "link.s").symlink_to("a.s")
    os.link(folder / "a.s", folder / "hard.s")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main(["asm", *arguments]) == status
    captured = capsys.readouterr()
    assert message in captured.err and captured.out == ""
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
