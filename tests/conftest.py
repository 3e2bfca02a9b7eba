"""What all tests share: the programs to compare with, the folder of models, and hypothesis settings."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# Name of a peer: how to get it. Those of CI (.ci/run installs them) must be there under RVSIM_REQUIRE_PEERS=1.
PEERS_OF_CI = {
    "qemu-riscv32": "apt-get install qemu-user",
    "gdb-multiarch": "apt-get install gdb-multiarch",
    "riscv64-unknown-elf-gcc": "apt-get install gcc-riscv64-unknown-elf",
    "callgrind_annotate": "apt-get install valgrind",
    "picolibc": "apt-get install picolibc-riscv64-unknown-elf",
    "cachesim": "pip install pycachesim",
    "ziglang": "pip install 'rvsim-accel[toolchain]'",
}
# A file of those that bring no program.
PEER_FILES = {"picolibc": "/usr/lib/picolibc/riscv64-unknown-elf/lib/libc.a"}
OTHER_PEERS = {
    "spike": "build https://github.com/riscv-software-src/riscv-isa-sim",
    "unicorn": "pip install unicorn",
    "tflite_micro": "pip install --pre tflite-micro",
}

# A shared machine stalls now and then; that is no failure of a property.
settings.register_profile("rvsim", deadline=None, print_blob=True)
settings.load_profile("rvsim")

# Loops that tests have compiled are not kept with the user's own.
os.environ.setdefault("RVSIM_CACHE", os.path.join(tempfile.gettempdir(), f"rvsim-tests-{os.getuid()}"))


def find_peer(name: str) -> str | None:
    """Path of a peer's program, or origin of its Python package; None without it."""
    if name in PEER_FILES:
        return PEER_FILES[name] if os.path.exists(PEER_FILES[name]) else None
    if path := shutil.which(name):
        return path
    # A program installed beside this Python, when the environment is not activated.
    beside = Path(sys.executable).with_name(name)
    if beside.is_file():
        return str(beside)
    if name.isidentifier() and (spec := importlib.util.find_spec(name)) is not None:
        return spec.origin
    return None


def _require_peer(name: str) -> str:
    how = {**PEERS_OF_CI, **OTHER_PEERS}.get(name)
    if how is None:
        raise ValueError(f"expected a peer named in tests/conftest.py, found {name!r}; add it there")
    if (path := find_peer(name)) is not None:
        return path
    reason = f"{name} is not on this machine ({how})"
    if name in PEERS_OF_CI and os.environ.get("RVSIM_REQUIRE_PEERS", "") not in ("", "0"):
        pytest.fail(f"RVSIM_REQUIRE_PEERS is set, but {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def require_peer() -> Callable[[str], str]:
    """`require_peer(name)`: path of a program to compare with, else skip (under RVSIM_REQUIRE_PEERS=1: fail)."""
    return _require_peer


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """Folder of the .tflite models and their recorded inputs and outputs: RVSIM_MODELS, else ../shared/models."""
    folder = Path(os.environ.get("RVSIM_MODELS") or ROOT.parent / "shared" / "models")
    if not folder.is_dir():
        pytest.skip(f"no models at {folder}; set RVSIM_MODELS to a folder of .tflite files")
    return folder


@pytest.fixture(scope="session")
def root() -> Path:
    """Root of the source tree."""
    return ROOT


@pytest.fixture(scope="module", params=["interpreter", "compiled first"])
def tier(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Modules with `pytest.mark.usefixtures("tier")` run once by the interpreter and once as compiled code."""
    from tests import tiers  # it needs the built project; the rest of this file does not

    chosen = next(t for t in (tiers.INTERPRETER, tiers.COMPILED_FIRST) if t.name == request.param)
    if chosen.engine == "jit" and not tiers.can_compile():
        pytest.skip("no compiled code on this processor or system")
    with chosen.chosen():
        yield chosen


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("peer"):
        for name in marker.args:
            _require_peer(name)
