"""The C header, the Python descriptor and docs/architecture.md agree on the 28 words and the three instructions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import kernels
from kernels.build import build_program

HEADER = (Path(kernels.__file__).parent / "include" / "rvsim_conv.h").read_text()
ARCHITECTURE = Path(__file__).parents[2] / "docs" / "architecture.md"


def header_words() -> list[str]:
    body = re.search(r"struct rvsim_conv_layer \{(.*?)\n\};", HEADER, re.DOTALL)
    assert body
    text = re.sub(r"/\*.*?\*/", "", body[1], flags=re.DOTALL)
    return [name for line in re.findall(r"u?int32_t ([^;]+);", text) for name in re.split(r",\s*", line)]


def test_header_has_the_28_words_of_the_architecture() -> None:
    table = re.search(r"\| word \| name \| meaning \|\n(.*?)\n\n", ARCHITECTURE.read_text(), re.DOTALL)
    assert table
    names: dict[int, str] = {}
    for line in table[1].splitlines()[1:]:
        words, listed = (cell.strip() for cell in line.split("|")[1:3])
        first, _, last = words.partition("-")
        numbers = range(int(first), int(last or first) + 1)
        names |= dict(zip(numbers, listed.split(", "), strict=True))
    assert header_words() == [names[word] for word in range(28)]


def test_python_descriptor_has_the_same_fields() -> None:
    coprocessor = pytest.importorskip("accel.conv.descriptor")
    assert header_words() == ["magic", *coprocessor.ConvLayer.__struct_fields__, "status"]


def test_offsets_are_asserted_by_the_compiler() -> None:
    assert re.findall(r"RVSIM_CONV_WORD\((\w+), (\d+)\);", HEADER) == [
        (name, str(word)) for word, name in enumerate(header_words())
    ]


@pytest.mark.peer("ziglang")
@pytest.mark.parametrize(
    ("call", "word"),
    # custom-0 0x0b, funct3 0, funct7 in bits 31:25; rd = a0 (10), rs1 = a0 for start and x0 else
    [("conv_start(layer)", 0x0005050B), ("conv_wait()", 0x0200050B), ("conv_status()", 0x0400050B)],
)
def test_intrinsics_are_the_instructions_of_the_architecture(call: str, word: int, tmp_path: Path) -> None:
    source = tmp_path / "intrinsic.c"
    source.write_text(
        '#include "rvsim_conv.h"\n'
        f"uint32_t intrinsic(const struct rvsim_conv_layer *layer) {{ (void)layer; return {call}; }}\n"
        "int main(void) { return (int)intrinsic(0); }\n"
    )
    elf = build_program([source], tmp_path / "intrinsic.elf", debug=False).read_bytes()
    assert word.to_bytes(4, "little") in elf
