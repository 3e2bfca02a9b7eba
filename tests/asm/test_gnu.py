"""The same bytes as GNU as and ld, and the same disassembly: a corpus that holds everything, and random operands."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvsim.asm.directives import DIRECTIVES
from rvsim.asm.instructions import instruction_set
from rvsim.asm.operands import REGISTER_NUMBERS, Immediate, Literal, Register, Template
from rvsim.asm.pseudo import pseudo_instructions

CORPUS = sorted(Path(__file__).with_name("corpus").glob("*.s"))
# What the binutils of Debian 12 (2.40) know of ours.
KNOWN = "rv32imac_zba_zbb_zbs"

# Tested elsewhere: they read files, end the assembly, or GNU as does not have them.
ELSEWHERE = {".include", ".incbin", ".loc", ".error", ".err", ".print", ".rodata", ".sdata", ".sbss", ".endmacro"}
ELSEWHERE |= {".hidden", ".protected", ".internal", ".addrsig", ".addrsig_sym", ".common"}


def isa_of(path: Path) -> str:
    return re.match(r"# isa: (\S+)", path.read_text())[1]


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_the_corpus_assembles_as_with_gnu(agree, path):
    agree(path.read_text(), isa_of(path))


def words() -> set[str]:
    """Everything that stands where a mnemonic or directive does."""
    found = set()
    for path in CORPUS:
        for line in path.read_text().splitlines():
            for statement in line.partition("#")[0].split(";"):
                if match := re.match(r"\s*(?:[\w.$\\@()]+:)?\s*([.\w]+)", statement):
                    found.add(match[1])
    return found


def test_the_corpus_holds_every_instruction():
    assert set(instruction_set(KNOWN).templates) - words() == set()


def test_the_corpus_holds_every_pseudo_instruction():
    assert set(pseudo_instructions()) - words() == {"pause"}  # GNU as wants Zihintpause for it


def test_the_corpus_holds_every_directive():
    directives = {name for name in DIRECTIVES if not name.startswith(".cfi_")}
    assert directives - words() == ELSEWHERE


# ------------------------------------------------------------ random operands
TEMPLATES = [(name, t) for name, ts in sorted(instruction_set(KNOWN).templates.items()) for t in ts]


def operand(draw, element) -> str:
    if isinstance(element, Literal):
        return element.text
    if isinstance(element, Register):
        return draw(st.sampled_from([name for name, n in REGISTER_NUMBERS.items() if element.fits(n)]))
    assert isinstance(element, Immediate)
    if element.form == "t":
        return f".+{element.step * draw(st.integers(-50, 50))}"
    if element.form == "c":
        # Those that objdump names in the same way whatever the privileged version in the attributes.
        return draw(st.sampled_from(["mstatus", "mtvec", "0x343", "mhpmcounter7", "2816", "0x7ff"]))
    if element.form == "f":
        return draw(st.sampled_from(["r", "w", "rw", "io", "iorw"]))
    if element.form == "u":
        return draw(
            st.sampled_from(["1", "31", "0xfffe0", "0xfffff"] + ["32", "0x12345"] * (element.field.width == 32))
        )
    edges = st.sampled_from([element.low, element.high, 0, element.step, -element.step, 31, -32])
    value = draw(edges | st.integers(element.low, element.high))
    value = max(element.low, min(element.high, value))
    return str(value // element.step * element.step)


def statement(draw, name: str, template: Template) -> str:
    return f"{name} " + ", ".join("".join(operand(draw, e) for e in operands) for operands in template.operands)


RESERVED = re.compile(
    r"c\.(addi4spn|addi16sp|slli|srli|srai) .*\b0$|c\.lui (x2|sp),|c\.(mv|add) .*(x0|zero)$|c\.j[a-z]* (x0|zero)$"
)


@st.composite
def programs(draw):
    """Some instructions, compressed or not; encodings that are reserved are left out, since GNU as refuses them."""
    lines = [".option norvc"] if draw(st.booleans()) else []
    for _ in range(40):
        name, template = draw(st.sampled_from(TEMPLATES))
        line = statement(draw, name, template)
        if template.instruction.size == 2 and (lines[:1] == [".option norvc"] or RESERVED.match(line)):
            continue
        if re.match(r"c\.(lwsp|lui|jr|jalr) (x0|zero)\b", line):
            continue
        lines.append(line)
    return "\n".join(lines) + "\n"


@settings(max_examples=60)
@given(programs())
def test_random_operands(agree, source):
    agree(source, KNOWN)


# ------------------------------------------------------------ branches
BRANCHES = ("beqz a0,", "bnez t0,", "beq a0, a1,", "bltu a0, a1,", "j", "c.j", "c.jal", "c.beqz s0,", "jal")
# Limits of c.beqz, c.j, beq. At the edge itself GNU as may keep a longer form: its sizes begin large and shrink.
LIMITS = (256, 2048, 4096)


@settings(max_examples=25)
@given(st.integers(0, 1 << 30))
def test_branches_around_their_limits(agree, seed):
    choose = random.Random(seed)
    lines = []
    for number in range(12):
        limit = choose.choice(LIMITS)
        distance = limit + choose.choice([-1, 1]) * choose.randrange(16, 60, 2)
        branch = choose.choice(BRANCHES)
        if branch in ("j", "c.j", "c.jal") and limit == 256:
            distance = limit
        if choose.random() < 0.5:
            lines += [f"{branch} f{number}", f".zero {distance}", f"f{number}: nop"]
        else:
            lines += [f"b{number}: nop", f".zero {distance}", f"{branch} b{number}"]
    agree("\n".join(lines) + "\n")
