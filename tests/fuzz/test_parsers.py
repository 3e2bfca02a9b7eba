"""Damaged ELF files, descriptions and TOML files end in a result or an error of ours; some seconds of it."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rvsim.errors import ElfError, RvsimError
from tests.fuzz import parsers
from tests.fuzz.mutate import damage_bytes, damage_text

SEED = os.environ.get("RVSIM_FUZZ_SEED") or "rvsim"
CASES = {
    "elf": 500,
    "run": 500,
    "coredsl": 500,
    "extension": 400,
    "snapshot": 500,
    "core": 800,
    "platform": 800,
    "coprocessor": 1500,
}


@pytest.mark.parametrize("target", parsers.TARGETS)
def test_damaged_files(target: str, tmp_path: Path) -> None:
    """In a process of its own: its memory is bounded, and if it dies the file that did it is there."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.parsers", "--target", target, "--cases", str(CASES[target]), "--seed", SEED],
        cwd=parsers.ROOT,
        env={**os.environ, "RVSIM_FUZZ_FOLDER": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Damage of one kind only would be damage that the first check refuses.
    assert not re.search(r"\b0 (read|refused)", done.stdout)


def reader(path: Path) -> None:
    """A parser with the faults that are looked for."""
    match path.read_bytes()[:1]:
        case b"r":
            raise ElfError("refused")
        case b"i":
            [][0]
        case b"h":
            while True:
                pass
        case b"m":
            bytearray(1 << 62)


@pytest.mark.parametrize(
    ("content", "end"),
    [("x", "result"), ("r", "error"), ("i", "IndexError"), ("h", "Hang"), ("m", "MemoryError")],
)
def test_what_counts_as_a_failure(content: str, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    monkeypatch.setattr(parsers, "SECONDS", 0.2)
    before = signal.signal(signal.SIGALRM, parsers._alarm)
    path = tmp_path / "file"
    path.write_text(content)
    try:
        assert end in parsers.run_case(parsers.Target(list, damage_bytes, reader, ""), path)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_damage_is_that_of_the_seed() -> None:
    corpus = [bytes(range(256)) * 8, b"instruction 1 { 2; }" * 9]
    for damage in (damage_bytes, damage_text):
        made = [damage(random.Random(f"seed/{n}"), corpus) for n in range(200)]
        assert made == [damage(random.Random(f"seed/{n}"), corpus) for n in range(200)]
        assert len(set(made)) > 150 and not set(made) <= set(corpus)


@pytest.mark.parametrize("target", ["core", "coprocessor"])
def test_deep_nesting_is_refused(target: str, tmp_path: Path) -> None:
    """tomllib recurses into every bracket: this was once an internal error."""
    path = tmp_path / "deep.toml"
    path.write_text("a = " + "[" * 5000)
    with pytest.raises(RvsimError, match=r"deep\.toml"):
        parsers.TARGETS[target].read(path)
