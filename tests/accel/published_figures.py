# ruff: noqa: E501
"""Figures that others published, measured again: PULP-NN's convolution and CFU-Playground's ladders.

``python -m tests.accel.published_figures`` runs all of it (minutes; needs a RISC-V GCC and the models), keeps the figures in
docs/validation-accelerators.json and writes docs/validation-accelerators.md from them; ``--document`` only writes the page.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accel.conv.descriptor import MAGIC
from kernels.build import Toolchain, build_program, find_toolchain
from rvsim.machine import Machine
from rvsim.nn.layer import ADDRESSES, compilable_layers, layer_from_operator
from rvsim.nn.tflite_model import load_model

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "docs" / "validation-accelerators.json"
DOCUMENT = ROOT / "docs" / "validation-accelerators.md"
SOURCES = Path(__file__).parent / "published"
TICK = 1024  # cycles of a tick (kws_micro_accel/DESIGN.md)

# ---------------------------------------------------------------------------------------------- what others published

# arXiv 1908.11263, abstract: 15.5 MAC/cycle on eight cores, 63 times one RV32IMC core.
PULP = {"cores": 8, "mac_per_cycle": 15.5, "times_rv32imc": 63}

# google/CFU-Playground at 7f8ec414, docs/source/step-by-step.rst: cycles of an inference of pdti8 on an Arty A7.
PERSON = [183328857, 135730786, 117297894, 85771518]
# The same, ticks of each operator, unmodified.
PERSON_TICKS = [
    7892, 8063, 11703, 4089, 8264, 8045, 13234, 2041, 6618, 4065, 11637, 1011, 5955, 1923, 11611, 1919, 11601, 1939, 11628,
    1943, 11619, 1925, 11624, 509, 5859, 922, 11257, 51, 14,
]  # fmt: skip

# proj/kws_micro_accel/DESIGN.md: ticks of an inference on a Fomu: all, CONV_2D, DEPTHWISE_CONV_2D.
KWS = [
    (1854403, 1391803, 456688), (610644, 467996, 141383), (457972, 383044, 73675), (236570, 179250, 56113),
    (223528, 170591, 51963), (120820, 87365, 32527), (110636, 81912, 27876), (62592, 33888, 27856), (57769, 33888, 23033),
    (49264, 29799, 18618), (40237, 29799, 9616), (24601, 14137, 9616),
]  # fmt: skip

# ------------------------------------------------------------------------------------------------------- what is run


@dataclasses.dataclass(frozen=True)
class Rung:
    """One step of a ladder: the kernels (names of ladder.c), and how the platform differs."""

    name: str
    conv: str
    depthwise: str
    memory: str = "sram"
    multiply: int = 1
    icache_kib: int = 4


PERSON_RUNGS = [
    Rung("TFLite's reference kernels", "REFERENCE", "REFERENCE"),
    Rung("constants of CONV_2D put in", "SPECIALISED", "REFERENCE"),
    Rung("inner loop unrolled by 4", "UNROLLED", "REFERENCE"),
    Rung("SIMD multiply-accumulate", "SIMD_POINTWISE", "REFERENCE"),
]
KWS_RUNGS = [
    Rung("baseline", "REFERENCE", "REFERENCE", "serial", 32, 2),
    Rung("quad SPI flash", "REFERENCE", "REFERENCE", "quad", 32, 2),
    Rung("hot code in SRAM", "REFERENCE", "REFERENCE", "model in flash", 32, 2),
    Rung("model in SRAM", "REFERENCE", "REFERENCE", "sram", 32, 2),
    Rung("larger instruction cache", "REFERENCE", "REFERENCE", "sram", 32),
    Rung("single-cycle multiply", "REFERENCE", "REFERENCE"),
    Rung("single-cycle shift", "REFERENCE", "REFERENCE"),
    Rung("SIMD multiply-accumulate in CONV_2D", "SIMD_MAC", "REFERENCE"),
    Rung("multiply-accumulate in depthwise", "SIMD_MAC", "SIMD_MAC"),
    Rung("requantisation on the unit", "SIMD_REQUANTISE", "SIMD_REQUANTISE"),
    Rung("depthwise specialised", "SIMD_REQUANTISE", "SIMD_SPECIALISED"),
    Rung("CONV_2D specialised", "SIMD_SPECIALISED", "SIMD_SPECIALISED"),
]


def models() -> Path:
    """The folder of the networks, as the tests find it."""
    return Path(os.environ.get("RVSIM_MODELS", ROOT.parent / "shared" / "models"))


def gcc(march: str) -> Toolchain:
    """The RISC-V GCC on the PATH, for another set of instructions."""
    found = find_toolchain("gcc")

    def changed(command: Sequence[str]) -> tuple[str, ...]:
        return tuple(f"-march={march}" if part.startswith("-march=") else part for part in command)

    return dataclasses.replace(
        found, compile_command=changed(found.compile_command), link_command=changed(found.link_command)
    )


@functools.cache
def network(name: str, folder: Path) -> tuple[Path, list[str], str, int]:
    """Write a network's layers as assembly: the source, operators, hash and size of the last layer's output."""
    import numpy as np

    model = load_model(models() / f"{name}.tflite")
    layers = [layer_from_operator(model, index) for index in compilable_layers(model)]
    text = ["\t.option norvc\n"]
    # Each layer reads what the one before has written, by turns in two buffers.
    for n, size in enumerate((0, 0)):
        size = max([layer.output.elements for layer in layers[n::2]], default=size)
        text.append(f'\t.section .noinit.buffer{n}, "aw", %nobits\n\t.balign 16\nbuffer{n}:\n\t.zero {size}\n')
    array = np.load(models() / f"{name}.io.npz")["x0"][0].astype(np.int8)
    (folder / "input.bin").write_bytes(array.tobytes())
    text.append('\t.section .data.input, "aw"\n\t.balign 16\ninput:\n\t.incbin "input.bin"\n')
    table = ['\t.section .data.layers, "aw"\n\t.balign 16\n\t.globl ladder_layers\nladder_layers:\n']
    for n, layer in enumerate(layers):
        present = {}
        for part in ("weights", "bias", "multiplier", "shift"):
            if (data := getattr(layer, part)) is not None:
                (folder / f"{part}{n}.bin").write_bytes(data)
                text.append(f'\t.section .rodata.{part}{n}, "a"\n\t.balign 16\n{part}{n}:\n\t.incbin "{part}{n}.bin"\n')
                present[part] = f"{part}{n}"
        present["input"] = "input" if n == 0 else f"buffer{(n - 1) % 2}"
        present["output"] = f"buffer{n % 2}"
        words = {key: int(getattr(layer.shape, key)) for key in layer.shape.__struct_fields__}
        values = [MAGIC, *(present.get(key, 0) if key in ADDRESSES else value for key, value in words.items()), 0]
        table.append("".join(f"\t.word {value}\n" for value in values))
    last = f"buffer{(len(layers) - 1) % 2}"
    table.append("\t.globl ladder_layers_end\nladder_layers_end:\n")
    size = layers[-1].output.elements
    table.append(f"\t.type ladder_output, %object\n\t.size ladder_output, {size}\n\t.set ladder_output, {last}\n")
    source = folder / "network.S"
    source.write_text("".join(text + table))
    index = layers[-1].index
    record = json.loads((models() / f"{name}.json").read_text())["operators"][index]
    return source, [layer.opcode for layer in layers], record["sha256_16"][0][0], size


def platform_person(wait: int) -> str:
    """LiteX's main memory, where VexRiscv's caches serve it; each beat of the bus waits as long."""
    return (
        f'name = "arty"\ndevices = []\n[[region]]\nname = "ddr3"\nbase = 0x40000000\nsize_kib = 16384\n'
        f"fetch_wait = {wait}\nload_wait = {wait}\nstore_wait = {wait}\n"
    )


# Wait states of a word of serial flash at half the core's clock, and cycles of a line of 32 bytes: an SPI read sends 8 bits of
# command and 24 of address, quad has 8 more cycles in which nothing moves (W25Q128JV data sheet, "Fast Read Quad Output").
SPI = {"serial": (2 * (32 + 32), 2 * (32 + 256)), "quad": (2 * (40 + 8), 2 * (40 + 64))}
SRAM_WAIT = 1  # LiteX's Wishbone SRAM acknowledges in the cycle behind the request (litex/soc/interconnect/wishbone.py, class SRAM)


def platform_fomu(rung: Rung, segments: list[tuple[int, int]]) -> str:
    """A Fomu: code and constants where the rung puts them, an instruction cache in front of the code."""
    code = rung.memory if rung.memory in SPI else "sram"
    model = "quad" if rung.memory == "model in flash" else code
    text = ['name = "fomu"\ndevices = []\n']
    for name, kind, (base, end) in zip(("code", "model", "data"), (code, model, "sram"), segments, strict=True):
        wait = SPI[kind][0] if kind in SPI else SRAM_WAIT
        text.append(
            f'[[region]]\nname = "{name}"\nbase = {base:#x}\nsize_bytes = {end - base}\n'
            f"fetch_wait = {wait}\nload_wait = {wait}\nstore_wait = {wait}\n"
        )
    miss = SPI[code][1] if code in SPI else 8 * (1 + SRAM_WAIT)
    text.append(
        f'[cache.code]\nregions = ["code"]\nserves = "fetch"\nsize_kib = {rung.icache_kib}\nways = 1\nline_bytes = 32\n'
        f"miss_cycles = {miss}\n"
    )
    return "".join(text)


FOMU_CORE = """name = "fomu"
model = "inorder"
[pipeline]
stages = 5
forwarding = "none"
predictor = "none"
fetch_outstanding = 1
blocking = 1
multiply = {multiply}
multiply_high = {multiply}
"""


def _segments(elf: Path) -> list[tuple[int, int]]:
    """Code, constants, and what is written: the linker script begins each at a page."""
    from elftools.elf.elffile import ELFFile

    with elf.open("rb") as file:
        code, constants, stack, _ = (segment["p_vaddr"] for segment in ELFFile(file).iter_segments("PT_LOAD"))
    return [(code, constants), (constants, stack), (stack, code + (16 << 20))]


def run_rung(name: str, rung: Rung, folder: Path, wait: int | None) -> dict[str, Any]:
    """Cycles by operator of a network on one rung; `wait` says which board."""
    source, operators, expected, size = network(name, folder)
    elf = folder / "ladder.elf"
    march = "rv32im_zicsr"
    symbols = ["__ram_start=0x40000000"]
    defines = [f"LADDER_CONV={rung.conv}", f"LADDER_DEPTHWISE={rung.depthwise}"]
    build_program(
        [source, SOURCES / "ladder.c"],
        elf,
        defines=defines,
        include=[folder],
        optimise="3",
        toolchain=gcc(march),
        symbols=symbols,
    )
    platform, core = folder / "platform.toml", "vexriscv-custom"
    if wait is not None:
        platform.write_text(platform_person(wait))
    else:
        platform.write_text(platform_fomu(rung, _segments(elf)))
        core = str(folder / "fomu.toml")
        Path(core).write_text(FOMU_CORE.format(multiply=rung.multiply))
    printed = bytearray()
    accel = "simd" if "SIMD" in rung.conv + rung.depthwise else "off"
    machine = Machine.from_elf(
        elf, accel=accel, core=core, platform=str(platform), timing="exact", stdout=printed.extend
    )
    result = machine.run()
    assert result.exit_code == 0, result.message
    place = next(symbol.address for symbol in machine.program.objects if symbol.name == "ladder_output")
    output = machine.read_memory(place, size)
    right = hashlib.sha256(output).hexdigest()[:16] == expected
    lines = [line.split() for line in printed.decode().splitlines()]
    cycles = [int(count) for _, count in lines]
    by_operator: dict[str, int] = {}
    for operator, count in zip(operators, cycles, strict=True):
        by_operator[operator] = by_operator.get(operator, 0) + count
    return {"rung": rung.name, "cycles": sum(cycles), "by_operator": by_operator, "layers": cycles, "bit_exact": right}


def run_pulp(folder: Path, xcv: bool) -> dict[str, Any]:
    """Cycles of PULP-NN's layer on CV32E40P, with XCV or without."""
    elf = folder / "pulp_nn.elf"
    build_program(
        [SOURCES / "pulp_nn.c"], elf, defines=["PULP_XCV"] if xcv else [], optimise="2", toolchain=find_toolchain("gcc")
    )
    printed = bytearray()
    machine = Machine.from_elf(
        elf, accel="xcv" if xcv else "off", core="cv32e40p", timing="exact", stdout=printed.extend
    )
    assert machine.run().exit_code == 0
    cycles, checksum = printed.decode().split()
    return {"cycles": int(cycles), "checksum": checksum}


def measure() -> dict[str, Any]:
    """Run everything; minutes."""
    figures: dict[str, Any] = {"compiler": f"GCC {find_toolchain('gcc').version}"}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        figures["pulp"] = {"rv32imc": run_pulp(folder, False), "xcv": run_pulp(folder, True)}
        for wait in (0, 2):
            figures[f"person_{wait}"] = [run_rung("tflm_person_detect", rung, folder, wait) for rung in PERSON_RUNGS]
        figures["kws"] = [run_rung("mlperf_kws_dscnn", rung, folder, None) for rung in KWS_RUNGS]
    return figures


# ------------------------------------------------------------------------------------------------------- the document


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """A Markdown table: the first column to the left, the others to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return [f"| {' | '.join(str(cell) for cell in line)} |" for line in lines]


def ratio(before: float, after: float) -> str:
    """A speed-up, two decimals."""
    return f"{before / after:.2f}"


def ladder(rungs: Sequence[Rung], theirs: Sequence[int], ours: Sequence[int]) -> list[str]:
    """Rung by rung: cycles, ours beside theirs, and the steps' speed-ups."""
    rows: list[list[object]] = []
    for n, (rung, a, b) in enumerate(zip(rungs, theirs, ours, strict=True)):
        steps = [ratio(theirs[n - 1], a), ratio(ours[n - 1], b)] if n else ["", ""]
        rows.append([rung.name, f"{a:,}", f"{b:,}", f"{b / a:.2f}", *steps, ratio(theirs[0], a), ratio(ours[0], b)])
    header = ["", "published", "ours", "ours / published", "step", "ours", "in all", "ours"]
    return table(header, rows)


def document(figures: dict[str, Any]) -> str:
    """docs/validation-accelerators.md."""
    pulp = figures["pulp"]
    macs = 16 * 16 * 64 * 9 * 32
    plain, xcv = (macs / pulp[key]["cycles"] for key in ("rv32imc", "xcv"))
    published = PULP["mac_per_cycle"] / PULP["cores"]
    base = PULP["mac_per_cycle"] / PULP["times_rv32imc"]
    exact = all(each["bit_exact"] for key in ("person_0", "person_2", "kws") for each in figures[key])
    kinds = ("CONV_2D", "DEPTHWISE_CONV_2D")
    operators = []
    for rung, row, mine in zip(KWS_RUNGS, KWS, figures["kws"], strict=True):
        ours = [mine["by_operator"][kind] / TICK for kind in kinds]
        cells = [f"{row[n + 1]:,} | {ours[n]:,.0f} | {ours[n] / row[n + 1]:.2f}" for n in range(2)]
        operators.append([rung.name, *cells])
    layers = []
    of_layer = figures["person_0"][0]["layers"]
    names = ["depthwise, 1 to 8 channels", "depthwise, stride 1", "1x1", "depthwise, stride 2", "1x1"]
    for n, name in enumerate(names):
        ticks, mine = PERSON_TICKS[n], of_layer[n] / TICK
        layers.append([f"{n}: {name}", f"{ticks:,}", f"{mine:,.0f}", f"{mine / ticks:.2f}"])
    quotients = sorted(mine / TICK / ticks for mine, ticks in zip(of_layer, PERSON_TICKS, strict=False) if ticks > 100)
    lines = [
        "# Published accelerators, measured again",
        "",
        "<!-- Written by python -m tests.accel.published_figures (make validation-accelerators); the figures are kept in validation-accelerators.json. -->",
        "",
        "What others measured on silicon and FPGA, beside this simulator running kernels of the same kind: `tests/accel/published/`, written anew after the pages named below. All cycles are by "
        f"`--timing exact`; {figures['compiler']}. Ratios between the steps say most: absolute cycles depend on compilers and boards that are only partly known.",
        f"{'Every run ends with the recorded output of the network, bit for bit.' if exact else 'NOT every run ends with the recorded output.'}",
        "",
        "## PULP-NN: dot products against RV32IMC, one core",
        "",
        "arXiv 1908.11263: 15.5 MAC/cycle on eight RI5CY cores, 63 times one core with RV32IMC alone. Divided by eight that is 1.94 MAC/cycle and 7.9 times. Ours: their layer (16x16x32, "
        "64 filters of 3x3, uint8 by int8), their shape of the product (4 filters by 2 pixels, windows copied first), on `--core cv32e40p` with and without `--accel xcv`; both give the same bytes.",
        "",
        *table(
            ["", "published", "ours", "ours / published"],
            [
                ["RV32IMC, MAC/cycle", f"{base:.3f}", f"{plain:.3f}", f"{plain / base:.2f}"],
                ["dot products, MAC/cycle", f"{published:.2f}", f"{xcv:.2f}", f"{xcv / published:.2f}"],
                ["ratio", f"{published / base:.1f}", f"{xcv / plain:.1f}", f"{xcv / plain / (published / base):.2f}"],
            ],
        ),
        "",
        "Deviations: RI5CY's successor CV32E40P, whose pipeline is the same in kind; "
        "memory that never waits, where a cluster's cores meet in banks; the published RV32IMC core is given only as the factor 63, and its kernel is not public: "
        "ours has the same eight sums in registers and loses less.",
        "",
        "## CFU-Playground: person detection on an Arty A7",
        "",
        "google/CFU-Playground at 7f8ec414, `docs/source/step-by-step.rst`: `tflm_person_detect` on VexRiscv at 100 MHz with DDR3. Ours: `--core vexriscv-custom` (their generated core: five stages, "
        "caches of 2 and 4 KiB), `--accel simd`. Sums over CONV_2D, DEPTHWISE_CONV_2D and AVERAGE_POOL_2D, without SOFTMAX (0.006 % of theirs). Memory without wait states:",
        "",
        *ladder(PERSON_RUNGS, PERSON, [each["cycles"] for each in figures["person_0"]]),
        "",
        "With two wait states for every word of the bus:",
        "",
        *ladder(PERSON_RUNGS, PERSON, [each["cycles"] for each in figures["person_2"]]),
        "",
        "The first layers of the unmodified run, in ticks of 1024 cycles (their profiler's output; no wait states):",
        "",
        *table(["layer", "published", "ours", "ours / published"], layers),
        "",
        f"Over all its layers of more than 100 ticks the quotient lies between {quotients[0]:.2f} and {quotients[-1]:.2f}, half of them between "
        f"{quotients[len(quotients) // 4]:.2f} and {quotients[3 * len(quotients) // 4]:.2f}.",
        "",
        "Deviations: the size of their caches is not stated (variants of 2 to 8 KiB are in `soc/vexriscv/Makefile`), nor is the latency of DDR3 behind LiteX's L2 cache; an older GCC at -O3 on C++ there, "
        "GCC at -O3 on C here, where shapes are read from memory again in the innermost loop: the unmodified step is the slowest of ours beside theirs, and putting constants in gains more. "
        "Their unit hands its result over in the write-back stage, so that its user waits; here an added instruction takes one cycle and its user does not wait.",
        "",
        "## CFU-Playground: keyword spotting on a Fomu",
        "",
        "`proj/kws_micro_accel/DESIGN.md`: `mlperf_kws_dscnn` on the smallest VexRiscv (no bypass, no prediction, no data cache, an instruction cache of 2 KiB, later a larger one, here of 4) with SRAM and serial flash, in ticks of 1024 cycles. "
        "Ours: `--core` a five-stage `inorder` without forwarding and prediction, a platform with SRAM of one wait state, flash by the bits that an SPI read moves at half the core's clock, an instruction cache in front of "
        "the code, a multiplier of 32 cycles, later of one; `--accel simd`.",
        "",
        *ladder(KWS_RUNGS, [row[0] for row in KWS], [each["cycles"] // TICK for each in figures["kws"]]),
        "",
        "By operator:",
        "",
        *table(["", "CONV_2D", "ours", "quotient", "depthwise", "ours", "quotient"], operators),
        "",
        "Deviations:",
        "",
        "* Their baseline is three times as slow as with quad SPI, which the width of the data alone does not give; the controller's clock divider and dummy cycles are not in the document. "
        "Here the code, all of it, moves at once, where theirs moved CONV_2D and DEPTHWISE_CONV_2D alone.",
        '* The iterative shifter (one bit a cycle) is not modelled: the steps before "single-cycle shift" have shifts of one cycle already, and that step gains nothing.',
        "* Their requantisation takes `mul` and `mulh` of the core and two instructions of the unit; ours three instructions of the unit, 5 cycles.",
        "* The specialised kernels are written anew: ours have running pointers, and the depthwise one knows its 64 channels. VexRiscv is taken by an `inorder` core of numbers, which is not held against its RTL.",
        "* Their totals have SOFTMAX (77 ticks at the end) and TFLite's AVERAGE_POOL_2D (728, ours 118).",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, keep and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--document", action="store_true", help="write the page from the kept figures")
    if not parser.parse_args().document:
        FIGURES.write_text(json.dumps(measure(), indent=1) + "\n")
    DOCUMENT.write_text(document(json.loads(FIGURES.read_text())))


if __name__ == "__main__":
    main()
