"""What the assembler's tests share: GNU as and ld, and the comparison with them."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from rvsim.asm import assemble

TOOLS = "riscv64-unknown-elf-"
TEXT = 0x8000_0000
PADDING = re.compile(rb"(\0|\x01\0|\x13\0\0\0)*")


class Gnu:
    """GNU as, ld and objdump."""

    def __init__(self, folder: Path, prefix: str) -> None:
        self.folder, self.prefix = folder, prefix

    def run(self, tool: str, *arguments: str) -> str:
        done = subprocess.run([self.prefix + tool, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{tool}: {done.stderr[:3000]}"
        return done.stdout

    def accepts(self, source: str, march: str) -> bool:
        (self.folder / "one.s").write_text(source)
        command = [f"{self.prefix}as", f"-march={march}", "-mabi=ilp32", "-o", str(self.folder / "one.o")]
        return subprocess.run([*command, str(self.folder / "one.s")], capture_output=True, check=False).returncode == 0

    def link(self, source: str, march: str, ours: bytes) -> bytes:
        """GNU's executable, its sections at the addresses of ours."""
        (self.folder / "gnu.s").write_text(source)
        sections = [
            f"{s.name} {s['sh_addr']:#x} : {{ *({s.name}) {'*(COMMON)' if s.name == '.bss' else ''} }}"
            for s in ELFFile(io.BytesIO(ours)).iter_sections()
            if s["sh_flags"] & 2
        ]
        (self.folder / "gnu.ld").write_text(
            "SECTIONS {\n" + "\n".join(sections) + "\n/DISCARD/ : { *(.eh_frame) }\n}\n"
        )
        names = {name: str(self.folder / f"gnu.{name}") for name in ("s", "o", "ld", "elf")}
        self.run("as", f"-march={march}", "-mabi=ilp32", names["s"], "-o", names["o"])
        self.run("ld", "-melf32lriscv", "--no-relax", "-T", names["ld"], names["o"], "-o", names["elf"])
        return Path(names["elf"]).read_bytes()

    def disassemble(self, image: bytes) -> str:
        """Instructions as objdump prints them, without the heading that names the file."""
        (self.folder / "dump.elf").write_bytes(image)
        text = self.run("objdump", "-d", "-M", "no-aliases", str(self.folder / "dump.elf"))
        return text.split("\n", 3)[3]


def contents(image: bytes) -> dict[str, bytes]:
    """Bytes of the allocated sections; none of .bss."""
    sections = ELFFile(io.BytesIO(image)).iter_sections()
    return {s.name: s.data() for s in sections if s["sh_flags"] & 2 and s["sh_type"] != "SHT_NOBITS"}


@pytest.fixture(scope="session")
def gnu(require_peer, tmp_path_factory) -> Gnu:
    """The GNU tools; skipped without them."""
    gcc = Path(require_peer("riscv64-unknown-elf-gcc"))
    prefix = str(gcc)[: -len("gcc")]
    if shutil.which(f"{prefix}as") is None:
        pytest.skip("no riscv64-unknown-elf-as beside the compiler (apt-get install binutils-riscv64-unknown-elf)")
    return Gnu(tmp_path_factory.mktemp("gnu"), prefix)


@pytest.fixture(scope="session")
def agree(gnu) -> Callable[..., bytes]:
    """`agree(source, isa)`: our bytes and their disassembly equal GNU's; returns our ELF."""

    def check(source: str, isa: str = "rv32imc", disassembly: bool = True) -> bytes:
        ours = assemble(source, isa=isa, text=TEXT)
        theirs = gnu.link(source, f"{isa}_zicsr_zifencei", ours)
        mine, other = contents(ours), contents(theirs)
        for name, data in mine.items():
            # GNU as fills a section up to its own alignment, code with no-operations.
            wanted = other.get(name, b"")
            padding = wanted[len(data) :]
            equal = data == wanted[: len(data)] and len(padding) < 64 and PADDING.fullmatch(padding)
            assert equal, difference(gnu, name, data, wanted)
        if disassembly and all(len(mine[n]) == len(other[n]) for n in mine):
            assert gnu.disassemble(ours) == gnu.disassemble(theirs)
        return ours

    return check


def difference(gnu: Gnu, name: str, ours: bytes, theirs: bytes) -> str:
    """Where two sections first differ."""
    at = next((n for n in range(min(len(ours), len(theirs))) if ours[n] != theirs[n]), min(len(ours), len(theirs)))
    start = max(0, at - 4)
    return f"{name} differs at +{at:#x}: ours {ours[start : at + 8].hex()}, GNU {theirs[start : at + 8].hex()}"
