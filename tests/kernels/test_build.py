"""The build: committed ELFs are what their sources give, say nothing about the machine, and load with permissions."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

import kernels
from kernels import build
from kernels.bench_build import BENCH_GCC_VERSION, BENCHES, Bench, build_bench, host_checksum
from kernels.build import EXAMPLES_ZIG_VERSION, build_examples, build_program, find_toolchain
from rvsim.errors import OutputError, RvsimError, UsageError
from rvsim.machine import Machine

ROOT = Path(kernels.__file__).parent
COMMITTED = sorted([*ROOT.glob("examples/*.elf"), *ROOT.glob("bench/*.elf")])
HELLO = ROOT / "examples" / "hello.c"


@pytest.mark.peer("ziglang")
def test_examples_build_again_byte_for_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toolchain = find_toolchain("zig")
    if toolchain.version != EXAMPLES_ZIG_VERSION:
        pytest.skip(f"the committed ELFs are of ziglang {EXAMPLES_ZIG_VERSION}, here is {toolchain.version}")
    monkeypatch.chdir(tmp_path)  # the working folder must not matter
    built = build_examples(tmp_path, toolchain)
    assert {path.name: path.read_bytes() for path in built} == {
        path.name: path.read_bytes() for path in ROOT.glob("examples/*.elf")
    }


@pytest.mark.peer("riscv64-unknown-elf-gcc")
def test_bench_guests_build_again_byte_for_byte(tmp_path: Path) -> None:
    version = find_toolchain("gcc").version
    if version != BENCH_GCC_VERSION:
        pytest.skip(f"the committed ELFs are of GCC {BENCH_GCC_VERSION}, here is {version}")
    assert {path.name: path.read_bytes() for path in build_bench(tmp_path)} == {
        path.name: path.read_bytes() for path in ROOT.glob("bench/*.elf")
    }


@pytest.mark.parametrize("guest", [guest for guest in BENCHES if guest.golden], ids=lambda guest: guest.name)
def test_bench_golden_is_the_checksum_on_the_host(guest: Bench, tmp_path: Path) -> None:
    assert host_checksum(guest, tmp_path) == guest.golden


@pytest.mark.peer("qemu-riscv32")
@pytest.mark.parametrize("guest", BENCHES, ids=lambda guest: guest.name)
def test_bench_guest_reaches_its_checksum(guest: Bench) -> None:
    done = subprocess.run(["qemu-riscv32", ROOT / "bench" / f"{guest.name}.elf"], check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("elf", COMMITTED, ids=lambda path: path.name)
def test_elf_names_no_place_of_the_machine(elf: Path) -> None:
    found = re.findall(rb"(?:/(?:home|root|tmp|usr|work|opt|Users|private|var)/|https?://)[ -~]*", elf.read_bytes())
    assert found == []


@pytest.mark.parametrize("elf", COMMITTED, ids=lambda path: path.name)
def test_no_segment_is_writable_and_executable(elf: Path) -> None:
    with elf.open("rb") as file:
        flags = [segment["p_flags"] for segment in ELFFile(file).iter_segments("PT_LOAD")]
    assert flags and all(flag & 3 != 3 for flag in flags)


@pytest.mark.parametrize("elf", sorted(ROOT.glob("examples/*.elf")), ids=lambda path: path.name)
def test_example_layout(elf: Path) -> None:
    with elf.open("rb") as file:
        program = ELFFile(file)
        stack, text = program.get_section_by_name(".stack"), program.get_section_by_name(".text")
        assert (stack["sh_type"], stack["sh_size"]) == ("SHT_NOBITS", 64 << 10)
        assert program["e_entry"] == text["sh_addr"] == 0x80000000
        loads = [(s["p_vaddr"], s["p_flags"]) for s in program.iter_segments("PT_LOAD")]
        assert [flags for _, flags in loads] == [5, 4, 6, 6]  # text, rodata, stack, data
        assert all(address % 0x1000 == 0 for address, _ in loads)
        # A stack that overflows meets what cannot be written.
        below = max(address for address, _ in loads if address < stack["sh_addr"])
        assert dict(loads)[below] == 4
        symbols = program.get_section_by_name(".symtab")
        end = symbols.get_symbol_by_name("_end")[0]["st_value"]
        assert end < 0x81000000
        names = {symbol.name for symbol in symbols.iter_symbols() if symbol["st_info"]["type"] == "STT_FUNC"}
        if elf.stem != "hello":
            kernels_ = {
                "conv_2d_s8",
                "depthwise_conv_2d_s8",
                "fully_connected_s8",
                "pool_2d_s8",
                "add_s8",
                "requantise",
                "rvsim_layer",
            }
            assert kernels_ <= names
            data = program.get_section_by_name(".data")
            assert data["sh_type"] == "SHT_PROGBITS"  # crt0 does not clear the input
        files = {Path(unit.get_top_DIE().get_full_path()) for unit in program.get_dwarf_info().iter_CUs()}
        assert Path(f"kernels/examples/{elf.stem}.c") in {Path(os.path.normpath(file)) for file in files}


@pytest.mark.parametrize("elf", sorted(ROOT.glob("examples/*_int8.elf")), ids=lambda path: path.name)
def test_io_section_names_the_tensors(elf: Path) -> None:
    with elf.open("rb") as file:
        program = ELFFile(file)
        section = program.get_section_by_name(".rvsim.io")
        assert not section["sh_flags"] & 2  # not allocated
        io = json.loads(section.data())
        symbols = program.get_section_by_name(".symtab")
        assert io["version"] == 1
        for tensor in (io["input"], io["output"]):
            size = 1
            for dimension in tensor["shape"]:
                size *= dimension
            (symbol,) = symbols.get_symbol_by_name(tensor["symbol"])
            assert (symbol["st_size"], tensor["dtype"]) == (size, "int8")


@pytest.mark.peer("ziglang")
def test_linking_one_program_takes_well_under_a_second(tmp_path: Path) -> None:
    build_program([HELLO], tmp_path / "first.elf")
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        build_program([HELLO], tmp_path / "again.elf")
        taken.append(time.perf_counter() - start)
    assert min(taken) < 1


@pytest.mark.peer("ziglang")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("int main(void) { return x; }\n", r"cannot compile broken\.c: .*broken\.c:1:25: error: .*'x'"),
        ("int f(void);\nint main(void) { return f(); }\n", r"cannot link the program: .*undefined symbol: f"),
    ],
)
def test_compiler_failures_name_the_first_error_and_write_nothing(text: str, message: str, tmp_path: Path) -> None:
    source, elf = tmp_path / "broken.c", tmp_path / "broken.elf"
    source.write_text(text)
    elf.write_text("earlier")
    with pytest.raises(RvsimError, match=message):
        build_program([source], elf)
    assert elf.read_text() == "earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.c", "broken.elf"]


@pytest.mark.peer("ziglang")
def test_a_folder_that_is_not_there_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file"):
        build_program([HELLO], tmp_path / "no" / "hello.elf")


def test_without_a_compiler_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_find_zig", lambda: None)
    monkeypatch.setattr(build, "_find_gcc", lambda: None)
    build.find_toolchain.cache_clear()
    with pytest.raises(UsageError, match=re.escape("pip install 'rvsim-accel[toolchain]'")):
        find_toolchain()


@pytest.mark.peer("ziglang")
@pytest.mark.parametrize("kind", ["file", "new"])
def test_cache_folder_is_made_or_replaced_by_a_temporary_one(kind: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    if kind == "file":  # cannot become a folder; a mode would not stop root
        cache.write_text("")
    script = (
        "import sys; from kernels.build import build_program, kernel_objects; "
        "build_program([sys.argv[1]], sys.argv[2]); print(kernel_objects()[0])"
    )
    elf = tmp_path / "hello.elf"
    done = subprocess.run(
        [sys.executable, "-c", script, str(HELLO), str(elf)],
        env={**os.environ, "RVSIM_CACHE": str(cache), "PYTHONPATH": str(ROOT.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    objects = Path(done.stdout.strip())
    assert elf.read_bytes()[:4] == b"\x7fELF"
    assert objects.is_relative_to(cache) == objects.exists() == (kind == "new")


@pytest.mark.peer("ziglang")
@pytest.mark.peer("qemu-riscv32")
def test_generated_assembly_objects_and_symbols_link(tmp_path: Path) -> None:
    (tmp_path / "blob.bin").write_bytes(b"\x2a")
    (tmp_path / "layer.S").write_text('.section .rodata.blob, "a"\n.globl blob\nblob: .incbin "blob.bin"\n')
    main = tmp_path / "main.c"
    main.write_text("extern unsigned char blob[];\nlong long one(void);\nint main(void) { return blob[0] / one(); }\n")
    other = tmp_path / "one.c"
    other.write_text("long long one(void) { return 1; }\n")
    toolchain = find_toolchain("zig")
    one = tmp_path / "one.o"
    subprocess.run([*toolchain.compile_command, "-O2", "-c", str(other), "-o", str(one)], check=True)
    elf = build_program(
        [tmp_path / "layer.S", main], tmp_path / "out.elf", extra_objects=[one], symbols=["__stack_size=0x2000"]
    )
    assert subprocess.run(["qemu-riscv32", elf], check=False).returncode == 42
    with elf.open("rb") as file:
        assert ELFFile(file).get_section_by_name(".stack")["sh_size"] == 0x2000


def test_the_command_builds_a_program_and_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert build.main(["missing.c"]) == 2
    assert "missing.c: expected a source, found no such file" in capsys.readouterr().err
    try:
        find_toolchain()
    except UsageError as error:
        pytest.skip(str(error))
    (tmp_path / "a.c").write_text("int main(void) { return CODE; }\n")
    assert build.main(["a.c", "-D", "CODE=7"]) == 0
    assert Machine.from_elf(tmp_path / "a.elf").run().exit_code == 7
    assert build.main(["a.c", "-o", "b.elf"]) == 70 and not (tmp_path / "b.elf").exists()
    assert "CODE" in capsys.readouterr().err
