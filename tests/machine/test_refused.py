"""Where the host refuses executable memory the interpreter runs, with the same counts, and the run says so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.tiers import can_compile

pytestmark = pytest.mark.skipif(
    not can_compile() or sys.platform != "linux" or shutil.which("cc") is None,
    reason="needs compiled code, Linux's dynamic linker and a C compiler",
)

# In the place of the C library's mprotect: as a kernel refuses it (SELinux's execmem, systemd's
# MemoryDenyWriteExecute). The first ALLOWED requests for executable memory are granted.
REFUSE = """
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>
static int allowed = ALLOWED;
int mprotect(void *address, size_t size, int protection)
{
    if (protection & 4 && allowed-- <= 0) { errno = EACCES; return -1; }
    return (int)syscall(SYS_mprotect, address, size, protection);
}
"""
GUEST = ROOT / "kernels" / "bench" / "branchy_s.elf"


def run(folder: Path, engine: str, allowed: int) -> subprocess.CompletedProcess[str]:
    library = folder / f"refuse{allowed}.so"
    if not library.exists():
        command = ["cc", f"-DALLOWED={allowed}", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
        subprocess.run(command, input=REFUSE, text=True, check=True)
    command = [sys.executable, "-m", "rvsim", "run", str(GUEST), "--engine", engine, "--json", str(folder / "run.json")]
    environment = {**os.environ, "LD_PRELOAD": str(library), "RVSIM_JIT": "128,1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("engine", ["auto", "jit"])
def test_without_executable_memory_the_interpreter_runs(tmp_path: Path, engine: str) -> None:
    done = run(tmp_path, engine, 0)
    assert done.returncode == 0, done.stderr
    refused = json.loads((tmp_path / "run.json").read_text())
    assert refused["engine"] == "interpreter"
    assert "rules out compiled code: the interpreter runs, with the same counts" in done.stderr
    assert run(tmp_path, engine, 1 << 30).returncode == 0
    granted = json.loads((tmp_path / "run.json").read_text())
    for result in (refused, granted):
        del result["engine"], result["host_seconds"]
    assert refused == granted


def test_memory_refused_in_mid_run_is_an_error(tmp_path: Path) -> None:
    """The code that ran can run no more; the message says what does."""
    done = run(tmp_path, "jit", 2)
    assert done.returncode != 0
    assert "the host refuses to change compiled code; --engine interp runs without" in done.stderr
    assert "Traceback" not in done.stderr
