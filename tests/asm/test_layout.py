"""Sizes and addresses: the smallest forms that reach, alignment, and what depends on addresses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvsim.asm import AssemblyError, assemble, assemble_program
from rvsim.asm.layout import leb128
from rvsim.isa.bundle import bundled
from rvsim.isa.disassemble import disassemble

RV32 = bundled("rv32")


def built(source: str, **options):
    return assemble_program(source, **options)[1]


def text(source: str, **options) -> bytes:
    return built(source, **options).images[".text"]


def data(source: str) -> bytes:
    return built(f".data\n{source}").images[".data"]


def mnemonics(image: bytes, pc: int = 0x8000_0000) -> list[str]:
    """Disassembled instructions up to the first zero halfword."""
    found, at = [], 0
    while at < len(image) and image[at : at + 2] != b"\0\0":
        word = int.from_bytes(image[at : at + 4], "little")
        found.append(disassemble(RV32, word, pc + at))
        at += 4 if word & 3 == 3 else 2
    return found


# source with {} bytes between a branch and its target, size of the branch, largest filling that this form reaches over
FORMS = [
    ("beqz a0, t\n.zero {}\nt:", 2, 252),
    ("beqz a0, t\n.zero {}\nt:", 4, 4090),
    ("beqz a0, t\n.zero {}\nt:", 6, 100_000),
    ("beq a0, a1, t\n.zero {}\nt:", 4, 4090),
    ("beq a0, a1, t\n.zero {}\nt:", 8, 100_000),
    ("j t\n.zero {}\nt:", 2, 2044),
    ("j t\n.zero {}\nt:", 4, 1_000_000),
    ("t: .zero {}\nbeqz a0, t", 2, 256),
    ("t: .zero {}\nbeqz a0, t", 4, 4096),
    ("t: .zero {}\nbltu a0, a1, t", 8, 100_000),
    ("t: .zero {}\nc.jal t", 2, 2048),
    ("t: .zero {}\nc.jal t", 4, 1_000_000),
]


@pytest.mark.parametrize(("source", "size", "limit"), FORMS)
def test_a_branch_is_as_short_as_its_target_allows(source, size, limit):
    assert len(text(source.format(limit))) - limit == size
    assert len(text(source.format(limit + 2))) - limit - 2 > size or limit >= 100_000


def test_an_inverted_branch_jumps_over():
    assert mnemonics(text("beqz a0, t\n.zero 5000\nt: nop"))[:2] == ["c.bnez a0,0x80000006", "jal zero,0x8000138e"]
    assert mnemonics(text("bltu a0, a1, t\n.zero 5000\nt: nop"))[:2] == ["bgeu a0,a1,0x80000008", "jal zero,0x80001390"]


def test_branches_that_grow_together():
    """Each is in reach only while the others are short."""
    count = 200
    source = "".join(f"beqz a0, at{n}\n" for n in range(count)) + "".join(f"at{n}: .zero 2\n" for n in range(count))
    image = text(source)
    sizes = [2 if each.startswith("c.") else 4 for each in mnemonics(image)]
    assert len(sizes) == count
    for n, each in enumerate(mnemonics(image)):
        target = int(each.rpartition("0x")[2], 16)
        assert target == 0x8000_0000 + sum(sizes) + 2 * n
        distance = target - 0x8000_0000 - sum(sizes[:n])
        assert (sizes[n] == 2) == (distance <= 254) or distance <= 256


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(0, 900)), min_size=10, max_size=10))
def test_every_branch_reaches_its_label(parts):
    branches = ("beqz a0,", "bne a1, a2,", "j", "c.jal")
    source = "".join(f"at{n}: {branches[kind]} at{to}\n.zero {2 * gap}\n" for n, (to, kind, gap) in enumerate(parts))
    state = built(source)
    address = {n: state.value(state.symbols[f"at{n}"].value)[1] for n in range(10)}
    image = state.images[".text"]
    for n, (to, _, _) in enumerate(parts):
        # What is behind a branch is zeros, or the next branch.
        start = address[n] - 0x8000_0000
        end = address[n + 1] - 0x8000_0000 if n < 9 else len(image)
        shown = mnemonics(image[start:end], address[n])
        assert int(shown[-1].rpartition("0x")[2], 16) == address[to]
    assert assemble(source) == assemble(source)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("call f\nf: ret", ["c.jal 0x80000002", "c.jr ra"]),
        ("tail f\nf: ret", ["c.j 0x80000002", "c.jr ra"]),
        ("call f\n.option norvc\nf: nop", ["c.jal 0x80000002", "addi zero,zero,0"]),
        (".option norvc\ncall f\nf: nop", ["jal ra,0x80000004", "addi zero,zero,0"]),
        ("call t0, f\nf: nop", ["jal t0,0x80000004", "c.nop"]),
        (".option norelax\ncall f\nf: nop", ["auipc ra,0x0", "jalr ra,8(ra)", "c.nop"]),
        (
            "call 0x80000000\n.option norelax\ncall 0x80000000",
            ["auipc ra,0x0", "jalr ra,0(ra)", "auipc ra,0x0", "jalr ra,-8(ra)"],
        ),
        ("call f\n.equ f, 0x10000000", ["auipc ra,0x90000", "jalr ra,0(ra)"]),
    ],
)
def test_calls_shrink_when_asked(source, shown):
    assert mnemonics(text(source, relax=True)) == shown


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (".byte 1\n.align 2\n.byte 2", "01000000 02"),
        (".byte 1\n.balign 4, 0xff\n.byte 2", "01ffffff 02"),
        (".byte 1\n.p2align 3, , 2\n.byte 2", "01 02"),
        (".byte 1\n.org 4, 0x11\n.byte 2", "01111111 02"),
        (".fill 1, 100, 0x1122334455", "55443322 00000000"),
        (". = 4\n.byte 2", "00000000 02"),
        ("x: .byte 1, 2\n.org x + 4\ny: .byte y - x", "01020000 04"),
        (".uleb128 b - a\na: .zero 200\nb:", "c801" + "00" * 200),
        ("a: .uleb128 b - a\n.zero 126\nb:", "7f" + "00" * 126),
        ("a: .uleb128 b - a\n.zero 127\nb:", "8101" + "00" * 127),
        ("a: .sleb128 a - b\n.zero 62\nb:", "41" + "00" * 62),
        (".word b - a\na: .balign 8\nb:", "04000000 00000000"),
        (".byte 1\n.zero 3\n.if . - begin == 4\n.byte 5\n.endif", "01000000 05"),
    ],
)
def test_data(source, expected):
    assert data(f"begin:\n{source}") == bytes.fromhex(expected)


@given(st.integers(-(1 << 63), (1 << 64) - 1), st.integers(1, 12))
def test_leb128_is_decoded_by_its_definition(value, minimum):
    for signed in (True, False):
        if value < 0 and not signed:
            continue
        encoded = leb128(value, signed, minimum)
        number = sum((byte & 0x7F) << 7 * n for n, byte in enumerate(encoded))
        if signed and encoded[-1] & 0x40:
            number -= 1 << 7 * len(encoded)
        assert number == value and len(encoded) >= minimum
        assert all(byte & 0x80 for byte in encoded[:-1]) and not encoded[-1] & 0x80


@pytest.mark.parametrize("address", [0, 0x100, 0x1000, 0x8000_0000, 0xFFFF_0000])
def test_addresses_move_with_the_text(address):
    state = built("x: la a0, x\n.data\n.word x", text=address)
    assert state.sections[".text"].base == address
    assert state.images[".data"] == address.to_bytes(4, "little")
    assert mnemonics(state.images[".text"], address) == ["auipc a0,0x0", "addi a0,a0,0"]


def test_what_does_not_fit_the_address_space():
    with pytest.raises(AssemblyError, match=r"expected addresses below 2\^32, found \.text ending at 0x100000002"):
        assemble("nop\nnop\nnop", text=0xFFFF_FFFC)
