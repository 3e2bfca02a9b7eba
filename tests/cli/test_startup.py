"""Start-up: a run imports what it uses, and no more; a plain command line means what argparse says."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvsim.cli.arguments import parse_with_argparse
from rvsim.cli.quick import parse_quickly
from rvsim.errors import UsageError

ROOT = Path(__file__).parents[2]
# Each takes longer to import than all of rvsim does, or imports one that does.
HEAVY = {
    "argparse", "asyncio", "contextlib", "ctypes", "dataclasses", "decimal", "difflib", "elftools", "enum", "functools",
    "hashlib", "inspect", "json", "lark", "logging", "msgspec", "numpy", "pathlib", "platform", "re", "rich", "shutil",
    "subprocess", "tempfile", "tflite", "tomllib", "typing", "urllib", "zlib",
    "accel", "rvsim.energy", "rvsim.isa.ccode", "rvsim.isa.evaluate", "rvsim.isa.ir", "rvsim.machine.snapshotfile",
}  # fmt: skip
MAX_RSS_MIB = 60
# -S: what the environment's own .pth files import is not ours.
CODE = """
import sys
sys.path[:0] = {path!r}
before = set(sys.modules)
from rvsim.cli.main import main
status = main({arguments!r})
found = sorted({heavy!r} & (set(sys.modules) - before))
# Not getrusage: its figure includes what the process was before exec, a copy of the tests.
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(status, *found, file=sys.stderr)
print(peak, file=sys.stderr)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "arguments",
    [
        ["hello"], ["hello", "--quiet"], ["hello", "--engine", "interp"],
        ["hello", "--max-instructions", "1000000", "a"],
        ["hello", "--platform", "rtl-ideal", "--set", "platform.region.ram.size_kib=256", "--timing", "table"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_run_imports_nothing_heavy(arguments: list[str]) -> None:
    heavy = HEAVY if "--platform" in arguments else HEAVY | {"rvsim.timing.platform", "rvsim.machine.rtlbench"}
    code = CODE.format(path=[str(ROOT)], arguments=["run", *arguments], heavy=heavy)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RVSIM_", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd="/", env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    found, peak = done.stderr.splitlines()[-2:]
    assert found == "0"
    assert int(peak) <= MAX_RSS_MIB << 10


WORDS = st.sampled_from(
    [
        "a.elf", "x", "", "-", "--", "-x", "-1", "7", "1e3", "0", "4", "5", "a b", "=", "--quiet", "--quiet=1",
        "--json", "--json=-", "--json=", "--js", "--set", "--set=core.clock_mhz=50", "accel.rows=4",
        "--max-instructions", "--max-instructions=0x10", "--max-instructions=no", "--isa-ext", "--isa-ext=f",
        "--engine", "--engine=jit", "interp", "--signature-granularity", "--signature-granularity=8", "--help",
        "--nonsense", "--accel", "on", "--counts", "--source", "--function",
    ]
)  # fmt: skip


@pytest.mark.parametrize("command", ["run", "compare", "disasm"])
@given(words=st.lists(WORDS, max_size=7))
def test_what_is_parsed_quickly_argparse_parses_the_same(command: str, words: list[str]) -> None:
    module = import_module(f"rvsim.cli.{command}")
    words = words[: words.index("--")] if "--" in words else words
    quick = parse_quickly(module, words)
    if quick is not None:
        assert vars(quick) == vars(parse_with_argparse(command, module, words, intermixed=True))


@pytest.mark.parametrize(
    "words",
    [
        ["a.elf"], ["a.elf", "x", "y"], ["--quiet", "a.elf"], ["a.elf", "--json", "-", "x"],
        ["--set=a=1", "--set", "b=2", "a.elf"], ["--max-instructions", "1e6", "a.elf"], ["a.elf", "--engine=jit"],
        ["--signature-granularity", "8", "a.elf"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_plain_command_lines_are_parsed_quickly(words: list[str]) -> None:
    assert parse_quickly(import_module("rvsim.cli.run"), words) is not None


@pytest.mark.parametrize(
    "words", [[], ["--quiet"], ["a.elf", "--engine", "fast"], ["a.elf", "--jsn", "x"], ["a.elf", "-q"]]
)
def test_what_is_wrong_is_left_to_argparse(words: list[str]) -> None:
    module = import_module("rvsim.cli.run")
    assert parse_quickly(module, words) is None
    with pytest.raises(UsageError):
        parse_with_argparse("run", module, words, intermixed=True)
