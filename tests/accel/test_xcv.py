"""XCV: encodings and syntax as LLVM has them, results as the user manual's formulas, on every tier."""

from __future__ import annotations

import csv
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from accel.registry import load
from rvsim.errors import UsageError
from rvsim.isa.bundle import bundled
from rvsim.isa.disassemble import disassemble, find
from rvsim.isa.ir import Instruction, wrap
from rvsim.machine import extension
from tests.accel.xcv_manual import MASK, TABLE
from tests.machine.guest import A0, A1, A2, A3, A4, BASE, DATA, EXIT, bne, i_type, machine, store

XCV = bundled("xcv")
INSTRUCTIONS = {i.name: i for i in XCV.instructions}
COMPUTE = [i for i in XCV.instructions if i.set in ("XCVmac", "XCValu", "XCVbitmanip", "XCVsimd")]
EDGES = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0x7FFF_FFFF, 0x8000_0000, 0x8000_8000, 0x80FF_7F01, MASK]
SHARED = Path(os.environ.get("RVSIM_MODELS") or Path(__file__).parents[2].parent / "shared" / "models").parent
PUBLISHED = SHARED / "encodings.csv"


def word(instruction: Instruction, **fields: int) -> int:
    return instruction.match | sum(f.insert(fields.get(f.name, 0)) for f in instruction.fields)


# -------------------------------------------------------------------------------------------------- encodings, syntax


def test_what_is_printed_is_what_llvm_assembles(tmp_path):
    """Every instruction, with random operands; LLVM knows all sets but hardware loops."""
    pytest.importorskip("ziglang")
    rng = random.Random(6)
    words = [i.match | rng.getrandbits(32) & ~i.mask for i in XCV.instructions if i.set != "XCVhwlp" for _ in range(4)]
    lines = []
    for each in words:
        text = disassemble(XCV, each, 0)
        if find(XCV, each).set == "XCVbi":  # our text has the address, theirs the distance
            head, _, target = text.rpartition(",")
            text = f"{head},{wrap(int(target, 16), 32, True)}"
        lines.append(text)
    (tmp_path / "all.s").write_text("\n".join(lines) + "\n")
    features = "+".join(["generic_rv32", *("xcv" + g for g in ("mem", "mac", "alu", "bitmanip", "bi", "simd"))])
    made = subprocess.run(
        [sys.executable, "-m", "ziglang", "cc", "-target", "riscv32-freestanding", f"-mcpu={features}", "-c"]
        + [str(tmp_path / "all.s"), "-o", str(tmp_path / "all.o")],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unknown CPU feature" in made.stderr:
        pytest.skip("this LLVM does not know XCV")
    assert made.returncode == 0, made.stderr
    from elftools.elf.elffile import ELFFile

    with (tmp_path / "all.o").open("rb") as file:
        code = ELFFile(file).get_section_by_name(".text").data()
    found = [int.from_bytes(code[at : at + 4], "little") for at in range(0, len(code), 4)]
    assert [(text, hex(w)) for text, w in zip(lines, words, strict=True)] == [
        (text, hex(w)) for text, w in zip(lines, found, strict=True)
    ]


def test_what_is_printed_assembles():
    """By our own assembler, where several instructions share a mnemonic; targets as distances."""
    from rvsim.asm import assemble_program

    rng, lines, words = random.Random(7), [], []
    for instruction in XCV.instructions:
        for _ in range(3):
            each = instruction.match | rng.getrandbits(32) & ~instruction.mask
            text = disassemble(XCV, each, 0)
            if ":t}" in instruction.operands or ":p}" in instruction.operands:
                head, _, target = text.rpartition(",")
                text = f"{head},. + {wrap(int(target, 16), 32, True)}"
            lines.append(text)
            words.append(each)
    _, state = assemble_program(".option norvc\n" + "\n".join(lines), isa_ext=[XCV])
    code = bytes(state.images[".text"])
    found = [int.from_bytes(code[at : at + 4], "little") for at in range(0, len(code), 4)]
    assert list(zip(lines, map(hex, found), strict=True)) == list(zip(lines, map(hex, words), strict=True))


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="no published encodings beside the project")
def test_published_encodings():
    with PUBLISHED.open() as file:
        rows = [row for row in csv.DictReader(file) if row["name"].startswith("CORE-V cv.")]
    assert len(rows) >= 7
    for row in rows:
        instruction = next(i for i in XCV.instructions if f"CORE-V {i.mnemonic}" == row["name"])
        assert instruction.match & 0x7F == int(row["opcode"].split()[0], 16)
        assert instruction.match >> 12 & 7 == int(row["funct3"], 2)
        funct7 = row["funct7_or_funct5"].split(" ")[0].replace("|", "")
        assert instruction.match >> 25 == int(funct7, 2)


# Words of the manual's tables, put together by hand: an outside look at the assembler's order of operands.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cv.lb a0,(a1),-4", 0xFFC5850B),
        ("cv.lw a0,(a1),a2", 0x04C5B52B),
        ("cv.lw a0,a2(a1)", 0x0CC5B52B),
        ("cv.sw a2,(a1),8", 0x00C5A42B),
        ("cv.sw a2,(a1),a3", 0x24C5B6AB),
        ("cv.sw a2,a3(a1)", 0x2CC5B6AB),
        ("cv.add.sci.h gp,sp,-22", 0x015161FB),  # bits 25 and 24:20 are bits 0 and 5:1 of the immediate
        ("cv.sdotsp.b a0,a1,a2", 0xA8C5957B),
        ("cv.starti 1,. + 16", 0x004040AB),  # uimmL is the distance in words
        ("cv.start 0,a1", 0x0005C12B),
        ("cv.endi 0,. + 16380", 0xFFF0422B),
        ("cv.end 1,a1", 0x0005C3AB),
        ("cv.counti 1,4095", 0xFFF044AB),
        ("cv.count 0,a1", 0x0005C52B),
        ("cv.setupi 0,100,. + 124", 0x064FC62B),
        ("cv.setup 1,a1,. + 12", 0x0035C7AB),
    ],
)
def test_words(text, expected):
    from rvsim.asm import assemble_program

    _, state = assemble_program(f".option norvc\n{text}", isa_ext=[XCV])
    assert int.from_bytes(state.images[".text"], "little") == expected


# ------------------------------------------------------------------------------------------------------------- results


def test_every_instruction_has_a_formula():
    assert {i.mnemonic for i in COMPUTE} == set(TABLE)


def operands(instruction: Instruction, rng: random.Random) -> tuple[dict[str, int], int | None, int]:
    """Immediate fields of a word; op2 and bits as the formulas take them, op2 None where it is a register's."""
    fields = {}
    for f in instruction.fields:
        if f.name not in ("rd", "rs1", "rs2", "rs3"):
            fields[f.name] = rng.getrandbits(f.width) & f.encodable
    op2, bits = None, fields.get("bits", fields.get("more", fields.get("radix", 0)))
    if "imm" in fields:
        width = next(f.width for f in instruction.fields if f.name == "imm")
        op2 = wrap(fields["imm"], width, ":s}" in instruction.operands)
    elif "low" in fields or "left" in fields:
        op2 = fields.get("low", fields.get("left", 0))
    return fields, op2, bits


@pytest.mark.parametrize("engine", ["evaluator", "interp", "jit"])
def test_results_are_the_manuals(engine, monkeypatch):
    """Each instruction on random operands and those at the edges, in one program."""
    rng = random.Random(engine)
    value = lambda: rng.choice(EDGES) if rng.random() < 0.3 else rng.getrandbits(32)  # noqa: E731
    monkeypatch.setenv("RVSIM_JIT", "128,0")
    if engine == "evaluator":
        monkeypatch.setattr(extension, "MAX_ROUTINES", 0)
    words, data, expected = [], [], []
    for instruction in COMPUTE:
        for _ in range(3):
            fields, op2, bits = operands(instruction, rng)
            d, a, b = value(), value(), value()
            words += [i_type(0x03, 2, A0, A3, 0), i_type(0x03, 2, A1, A3, 4), i_type(0x03, 2, A2, A3, 8)]
            words += [
                word(instruction, rd=A0, rs1=A1, rs2=A2, **fields),
                store(2, A0, A3, 0),
                i_type(0x13, 0, A3, A3, 12),
            ]
            data += [d, a, b]
            b = b if op2 is None else op2
            expected.append((disassemble(XCV, words[-3]), d, a, b, TABLE[instruction.mnemonic](d, a, b, bits) & MASK))
    image = {"data": b"".join(n.to_bytes(4, "little") for n in data), "data_base": BASE + 0x10000}
    m = machine(*words, *EXIT, accel="xcv", image=image, engine="interp" if engine == "evaluator" else engine)
    m.hart.set_register(A3, BASE + 0x10000)
    m.run()
    left = m.read_memory(BASE + 0x10000, 12 * len(expected))
    found = [int.from_bytes(left[12 * n : 12 * n + 4], "little") for n in range(len(expected))]
    wrong = [(*case, hex(got)) for case, got in zip(expected, found, strict=True) if case[-1] != got]
    assert not wrong, wrong[:5]


ACCESS = {"cv.lb": (1, True), "cv.lbu": (1, False), "cv.lh": (2, True), "cv.lhu": (2, False), "cv.lw": (4, False)}
ACCESS |= {"cv.sb": (1, False), "cv.sh": (2, False), "cv.sw": (4, False)}


@pytest.mark.parametrize(
    ("engine", "same"), [("evaluator", False), ("interp", False), ("jit", False), ("interp", True)]
)
@pytest.mark.parametrize("instruction", [i for i in XCV.instructions if i.set == "XCVmem"], ids=lambda i: i.name)
def test_accesses(engine, same, instruction, monkeypatch):
    """What is loaded or stored, where the address goes, and the traffic: of sixteen in a loop, of one with rd = rs1."""
    monkeypatch.setenv("RVSIM_JIT", "128,0")
    if engine == "evaluator":
        monkeypatch.setattr(extension, "MAX_ROUTINES", 0)
    size, sign = ACCESS[instruction.mnemonic]
    is_store, form = instruction.mnemonic.startswith("cv.s"), instruction.name.rpartition("_")[2]
    step = -size if form == "I" else size
    memory = bytearray((91 * n + 130) & 0xFF for n in range(256))
    image = {"data": bytes(memory), "data_base": DATA}
    base, offset, value = DATA + 128, (step if form != "RR" else 8) & MASK, 0x8182_8384
    # rd of a load is A0, which a store takes its data from; its address A1, or A0 as well; the other register A2.
    address = A0 if same else A1
    fields = {"rs1": address, "imm": step & 0xFFF}
    fields |= {"rs2": A0, "rs3": A2} if is_store else {"rd": A0, "rs2": A2}
    words = [word(instruction, **fields), i_type(0x13, 0, A4, A4, -1), bne(A4, 0, -8)]
    m = machine(*words, *EXIT, accel="xcv", image=image, engine="interp" if engine == "evaluator" else engine)
    times = 1 if same else 16
    x = {A0: value, A1: base, A2: offset, A4: times}
    x[address] = base
    for number, content in x.items():
        m.hart.set_register(number, content)
    for _ in range(times):
        at = x[address] + (x[A2] if form == "RR" else 0) & MASK
        moved = x[address] + (0 if form == "RR" else step) & MASK
        here = slice(at - DATA, at - DATA + size)
        if is_store:
            memory[here] = (x[A0] & (1 << 8 * size) - 1).to_bytes(size, "little")
            x[address] = moved
        else:
            x[address] = moved
            loaded = int.from_bytes(memory[here], "little")
            x[A0] = (wrap(loaded, 8 * size, True) if sign else loaded) & MASK
    result = m.run()
    assert m.read_memory(DATA, 256) == bytes(memory)
    assert [m.hart.register(n) for n in (A1, A2)] == [x[A1], x[A2]]
    ram = result.traffic["ram"]
    assert (ram.load.count, ram.store.count) == ((0, times) if is_store else (times, 0))
    assert (ram.load.bytes, ram.store.bytes) == ((0, times * size) if is_store else (times * size, 0))


@pytest.mark.parametrize("engine", ["interp", "jit"])
@pytest.mark.parametrize(
    ("name", "value", "imm", "taken"),
    [("CV_BEQIMM", MASK, 31, 1), ("CV_BEQIMM", 31, 31, 0), ("CV_BNEIMM", 15, 15, 0), ("CV_BNEIMM", 16, 16, 1)],
)
def test_branches(engine, name, value, imm, taken, monkeypatch):
    """The immediate has a sign."""
    monkeypatch.setenv("RVSIM_JIT", "128,0")
    m = machine(
        word(INSTRUCTIONS[name], rs1=A1, imm=imm, offset=8),
        i_type(0x13, 0, A0, 0, 1),
        *EXIT,
        accel="xcv",
        engine=engine,
    )
    m.hart.set_register(A1, value)
    result = m.run()
    assert result.instructions == 4 - taken


# ------------------------------------------------------------------------------------------------ parameters, reports


def test_report_and_capability():
    coprocessor = load("xcv")
    assert coprocessor is not None
    assert coprocessor.capability == 3 << 24 | 0x7F
    result = machine(*EXIT, accel="xcv").run()
    assert result.accelerator.parameters["simd_extra_cycles"] == 0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"simd_extra_cycle": "1"}, "did you mean 'simd_extra_cycles'"),
        ({"mac_extra_cycles": "-1"}, "expected an integer from 0 to 1000"),
        ({"mac_extra_cycles": "few"}, "expected an integer from 0 to 1000"),
    ],
)
def test_bad_parameters(overrides, message):
    with pytest.raises(UsageError, match=message):
        load("xcv", overrides)
