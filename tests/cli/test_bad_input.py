"""Bad input, end to end through `python -m rvsim`: one clear message, the documented status, nothing half-written."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from accel.conv import descriptor
from tests.machine.guest import (
    A0,
    A1,
    BASE,
    DATA,
    EXIT,
    ILLEGAL,
    NOP,
    T0,
    code,
    elf,
    lui,
    lw,
    r_type,
)

GOOD = elf(code(EXIT))
START, WAIT = r_type(0x0B, 0, 0, A0, A1), r_type(0x0B, 0, 1, A0)

CORE = Path(__file__).parents[2].joinpath("rvsim", "timing", "cores", "ideal.toml").read_bytes()


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rvsim", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)


def headed(offset: int, format_: str, *values: int) -> bytes:
    """The good program with bytes of its ELF header replaced."""
    image = bytearray(GOOD)
    struct.pack_into(format_, image, offset, *values)
    return bytes(image)


PROGRAMS: list[tuple[str, bytes | None, int, str]] = [
    ("missing", None, 66, "is neither a file nor a bundled program"),
    ("empty", b"", 66, "is empty: expected a RISC-V ELF executable"),
    ("header cut", GOOD[:40], 66, "is truncated: 40 bytes, but the ELF header alone takes 52"),
    ("program header cut", GOOD[:70], 66, "is truncated: its program headers reach to byte 84, the file has 70"),
    ("segment cut", GOOD[:88], 66, "is truncated: the segment at 0x80000000 reaches to byte 92, the file has 88"),
    ("sections cut", GOOD[:-10], 66, "is truncated: its section headers reach to byte"),
    ("64-bit", headed(4, "B", 2), 66, "is a 64-bit little-endian ELF for RISC-V: expected 32-bit little-endian RISC-V"),
    ("big-endian", GOOD[:5] + b"\2" + GOOD[6:16] + struct.pack(">HHI", 2, 243, 1) + GOOD[24:], 66,
     "big-endian ELF for RISC-V: expected 32-bit little-endian"),
    ("ARM", headed(18, "<H", 40), 66, "little-endian ELF for ARM: expected 32-bit little-endian RISC-V; compile"),
    ("x86-64", headed(18, "<H", 62), 66, "little-endian ELF for Advanced Micro Devices X86-64"),
    ("unknown machine", headed(18, "<H", 9999), 66, "unknown machine 9999"),
    ("object file", headed(16, "<H", 1), 66, "is a relocatable object, not an executable; link it first"),
    ("shared object", headed(16, "<H", 3), 66, "link it with -static -no-pie"),
    ("text", b"int main(void) { return 0; }\n", 66, "is not an ELF file: it looks like text; compile and link it"),
    ("model", b"\x1c\0\0\0TFL3" + bytes(64), 66, "it looks like a TensorFlow Lite model; make a program of it with"),
    ("noise", bytes(range(128, 256)), 66, "is not an ELF file: it begins with 80 81 82 83"),
    ("overlapping segments", elf(code(EXIT), segments=[(BASE + 4, b"1234", 4, 6)]), 66,
     "segments 0x80000000-0x80000007 and 0x80000004-0x80000007 overlap"),
    ("larger than the RAM", elf(code(EXIT), data_size=32 << 20), 66, "does not fit into ram (0x80000000 to 0x80fff"),
    ("larger than the limit", elf(code(EXIT), data_size=3 << 30, data_base=0x1000_0000), 66, "the limit is 1,073,"),
    ("around the address space", elf(code(EXIT), segments=[(0xFFFF_F000, b"", 0x2000, 6)]), 66,
     "wraps around the end of the 4 GiB address space"),
    ("entry outside", elf(code(EXIT), entry=0x1000), 66, "entry"),
    ("illegal instruction", elf(code(NOP, ILLEGAL)), 132, "illegal instruction .word 0xffffffff at 0x80000004"),
    ("access outside memory", elf(code(lui(T0, 0x40000), lw(A0, T0, 8))), 139, "load access fault at address 0x4000"),
]  # fmt: skip


@pytest.mark.parametrize(("image", "status", "message"), [p[1:] for p in PROGRAMS], ids=[p[0] for p in PROGRAMS])
@pytest.mark.parametrize("command", ["run", "compare"])
def test_programs(command: str, image: bytes | None, status: int, message: str, tmp_path: Path) -> None:
    if image is not None:
        (tmp_path / "bad.elf").write_bytes(image)
    done = run(tmp_path, command, "bad.elf", "--json", "out.json", "--quiet")
    check(done, status, message, lines=2 if command == "compare" and status > 128 else 1)
    # A run that failed in the guest has counts to report; whatever could not be loaded has none.
    assert (tmp_path / "out.json").exists() == (status > 128)
    assert not list(tmp_path.glob("*.tmp"))


def check(done: subprocess.CompletedProcess[str], status: int, message: str, lines: int = 1) -> None:
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert message in done.stderr
    assert done.stderr.startswith("rvsim: ")
    assert done.stderr.count("\n") == lines, done.stderr
    assert done.stdout == ""


OPTIONS: list[tuple[str, list[str], int, str]] = [
    ("core", ["--core", "ibex-smal"], 2, "found 'ibex-smal'; did you mean 'ibex-small'?"),
    ("core file", ["--core", "none.toml"], 2, "none.toml: cannot read the core: No such file"),
    (
        "core's unknown key",
        ["--core", "key.toml"],
        2,
        "key.toml: unknown key 'taken_brnch_cycles'; did you mean 'taken_branch_",
    ),
    (
        "core's unknown class",
        ["--core", "class.toml"],
        2,
        "class.toml: cycles: unknown key 'lod'; did you mean 'load'?",
    ),
    ("core is no TOML", ["--core", "bad.toml"], 2, "bad.toml: "),
    ("core's value", ["--core", "value.toml"], 2, "value.toml: "),
    ("accel", ["--accel", "conv-8x9"], 2, "found 'conv-8x9'; did you mean 'conv-8x8'?"),
    (
        "accel file",
        ["--accel", "none.toml"],
        2,
        "none.toml: expected an accelerator's parameters, found no readable file",
    ),
    ("accel's unknown key", ["--accel", "accel.toml"], 2, "accel.toml: "),
    ("accel is no TOML", ["--accel", "bad.toml"], 2, "bad.toml: expected TOML"),
    ("accel of another kind", ["--accel", "key.toml"], 2, "key 'kind': expected 'conv'"),
    ("set", ["--set", "accel.pe_row=4", "--accel", "on"], 2, "did you mean 'pe_rows'?"),
    ("set of a value", ["--set", "accel.pe_rows=1000", "--accel", "on"], 2, "pe_rows"),
    ("set of nothing", ["--set", "pe_rows"], 2, "--set: expected KEY=VALUE, found 'pe_rows'"),
    ("memory", ["--memory", "sram=64"], 2, "--memory: expected NAME=ADDRESS,SIZE_KIB such as sram=0x20000000,64"),
    ("memory over the RAM", ["--memory", "a=0x80000000,64"], 2, "overlap"),
    ("isa-ext missing", ["--isa-ext", "none.core_desc"], 65, "none.core_desc"),
    ("isa-ext", ["--isa-ext", "bad.core_desc"], 65, "bad.core_desc:1"),
    ("input of a program without one", ["--input", "x.npy"], 2, "declares no input tensor in its section .rvsim.io"),
    ("limit", ["--max-instructions", "-5"], 2, "expected a positive integer, found '-5'"),
    ("json", ["--json", "no/such/folder.json"], 73, "there is no folder"),
]


@pytest.mark.parametrize(("options", "status", "message"), [o[1:] for o in OPTIONS], ids=[o[0] for o in OPTIONS])
def test_options(options: list[str], status: int, message: str, tmp_path: Path) -> None:
    (tmp_path / "good.elf").write_bytes(GOOD)
    (tmp_path / "key.toml").write_bytes(CORE.replace(b"taken_branch_cycles", b"taken_brnch_cycles"))
    (tmp_path / "class.toml").write_bytes(CORE.replace(b"load =", b"lod ="))
    (tmp_path / "value.toml").write_bytes(CORE.replace(b"load = 1", b'load = "one"'))
    (tmp_path / "bad.toml").write_text("what = is this\n")
    (tmp_path / "accel.toml").write_text('kind = "conv"\npe_row = 8\n')
    (tmp_path / "bad.core_desc").write_text("InstructionSet {\n")
    before = sorted(tmp_path.iterdir())
    done = run(tmp_path, "run", "good.elf", *options)
    assert "Traceback" not in done.stderr
    assert done.returncode == status, done.stderr
    assert message in done.stderr
    # One line; a description's error shows the place in it below.
    assert done.stderr.startswith("rvsim: error: ") and (done.stderr.count("\n") == 1 or "core_desc" in message)
    assert done.stdout == ""
    assert sorted(tmp_path.iterdir()) == before


# ----------------------------------------------------------------------------------------------------- bad descriptors


@pytest.mark.parametrize(
    ("magic", "operation", "status"), [(0, 2, 1), (descriptor.MAGIC, 6, 2), (descriptor.MAGIC, 2, 4)]
)
def test_a_bad_descriptor_is_the_programs_to_handle(magic: int, operation: int, status: int, tmp_path: Path) -> None:
    image = elf(code(lui(A1, DATA >> 12), START, WAIT, EXIT), data=struct.pack("<28I", magic, operation, *[0] * 26))
    (tmp_path / "bad.elf").write_bytes(image)
    done = run(tmp_path, "run", "bad.elf", "--accel", "on", "--quiet")
    assert (done.returncode, done.stderr) == (status, "")


def test_a_descriptor_outside_memory(tmp_path: Path) -> None:
    (tmp_path / "bad.elf").write_bytes(elf(code(lui(A1, 0x40000), START, NOP, WAIT, EXIT)))
    done = run(tmp_path, "run", "bad.elf", "--accel", "on", "--quiet")
    check(done, 139, "load access fault: the coprocessor's command at 0x80000004 reads 112 bytes at 0x40000000")
    done = run(tmp_path, "run", "bad.elf", "--quiet")
    check(done, 132, "with --accel on it is the convolution coprocessor's conv.start")


# -------------------------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda data: data[:1000], "bad.tflite"),
        (lambda data: b"", "bad.tflite"),
        (lambda data: b"\x7fELF" + bytes(100), "bad.tflite"),
        (lambda data: data[:4] + b"TFL9" + data[8:], "bad.tflite"),
        (lambda data: struct.pack("<I", 0x7FFF_FFFF) + data[4:], "bad.tflite"),
        (lambda data: data[:4] + b"TFL3" + bytes(len(data) - 8), "bad.tflite"),
    ],
    ids=["truncated", "empty", "an ELF", "another version", "bad root", "zeros"],
)
@pytest.mark.parametrize("option", ["--layer", "--list"])
def test_corrupt_models(
    option: str, content: Callable[[bytes], bytes], message: str, tmp_path: Path, models_dir: Path
) -> None:
    (tmp_path / "bad.tflite").write_bytes(content((models_dir / "mlperf_ad01.tflite").read_bytes()))
    arguments = ["--list"] if option == "--list" else ["--layer", "0", "-o", "out.elf"]
    check(run(tmp_path, "compile", "bad.tflite", *arguments), 65, message)
    assert [each.name for each in tmp_path.iterdir()] == ["bad.tflite"]


def test_an_operator_that_is_not_supported(tmp_path: Path, models_dir: Path) -> None:
    model = models_dir / "mlperf_kws_dscnn.tflite"
    listing = run(tmp_path, "compile", str(model), "--list").stdout
    layer = next(line.split()[0] for line in listing.splitlines() if "SOFTMAX" in line)
    done = run(tmp_path, "compile", str(model), "--layer", layer, "-o", "out.elf")
    # Another layer of the model can be compiled: the option is wrong, not the file.
    check(done, 65, f"layer {layer}, SOFTMAX, cannot be compiled. Layers that can be compiled: 0, 1, 2,")
    check(run(tmp_path, "compile", str(model), "--layer", "999", "-o", "out.elf"), 2, "999")
    assert not list(tmp_path.iterdir())


def test_a_layer_without_room_for_its_file(tmp_path: Path, models_dir: Path) -> None:
    model = str(models_dir / "mlperf_kws_dscnn.tflite")
    done = run(tmp_path, "compile", model, "--layer", "0", "-o", "no/such/out.elf")
    assert done.returncode == 73 and "Traceback" not in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
