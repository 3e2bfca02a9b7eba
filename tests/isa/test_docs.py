"""The examples of docs/coredsl.md and docs/isa.md are what the front end makes of them."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from rvsim.cli.isa import op_lines
from rvsim.isa.bundle import bundled
from rvsim.isa.ccode import generate_header
from rvsim.isa.elaborate import DESCRIPTIONS
from rvsim.isa.evaluate import execute
from rvsim.isa.literals import MAX_WIDTH
from rvsim.isa.syntax import MAX_BYTES
from tests.isa.snippets import Recorder, load, word_of

ROOT = Path(__file__).parents[2]


def listings(page: str) -> list[str]:
    """The indented blocks of a page."""
    text = (ROOT / "docs" / page).read_text()
    return [textwrap.dedent(block) for block in re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", text, re.MULTILINE)]


def test_the_added_instruction_of_isa_md_computes_what_its_comment_says(tmp_path: Path) -> None:
    (text,) = (block for block in listings("isa.md") if "DOT4" in block)
    isa = load(tmp_path, text)
    (instruction,) = isa.instructions
    assert (isa.warnings, instruction.mnemonic) == ([], "dot4")
    context = Recorder({10: 5, 11: 0x01FF02FE, 12: 0x03040506})
    execute(instruction, word_of(instruction, rd=10, rs1=11, rs2=12), 0, context)
    assert context.registers["X", 10] == 5 + 1 * 3 - 1 * 4 + 2 * 5 - 2 * 6


def test_the_way_of_addi_in_coredsl_md_is_the_real_one() -> None:
    isa = bundled("rv32")
    blocks = listings("coredsl.md")
    addi = next(i for i in isa.instructions if i.mnemonic == "addi")
    shown = textwrap.dedent(next(b for b in blocks if b.startswith("predecoded")).replace("executed  ", "          "))
    lines = [line.removeprefix("predecoded").strip() for line in shown.splitlines()]
    assert lines == [line.strip() for line in op_lines([*addi.static, *addi.body])]
    described = next(b for b in blocks if b.startswith("ADDI {"))
    assert (
        described.split()
        == re.search(r"ADDI \{.*?\}\n", (DESCRIPTIONS / "RV32I.core_desc").read_text(), re.S)[0].split()
    )
    code = next(b for b in blocks if "in->k[0]" in b)
    handlers = generate_header(isa).partition("#ifdef HANDLERS")[2]
    (handler,) = (
        h
        for h in re.split(r"(?=^handler_)", handlers, flags=re.MULTILINE)
        if code.split() == h.split("*/")[-1].split("}")[0].split()
    )
    assert re.search(r"/\* (.*) \*/", handler)[1].split(", ") == ["addi", "c.addi16sp", "c.addi4spn", "c.addi"]


def test_the_bounds_are_those_of_the_page() -> None:
    text = (ROOT / "docs" / "coredsl.md").read_text()
    assert f"values of {MAX_WIDTH} bits" in text
    assert f"up to {MAX_BYTES >> 10} KiB" in text
