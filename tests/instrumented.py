"""Tests with other builds of the extension modules, in a scratch copy: sanitizers, and coverage of Cython lines.

``make sanitize`` and ``make coverage``. The copy lies in build/; the modules of the tree itself stay as they are. As a
pytest plugin, which both load, it keeps the libraries of the sanitizers out of other programs that tests start.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = (
    ".*",
    "build",
    "dist",
    "__pycache__",
    "*.egg-info",
    "*.so",
    "_hart.c",
    "_exact.c",
    "_kernel.c",
    "_mapping.c",
    "_generated",
    "_bundle",
)
# What reaches the extension modules in the tests' own process: a child of a test has no sanitizer's library.
TESTS = ("tests/machine", "tests/accel", "tests/debug/test_history.py", "tests/differential")
CHILDREN = ("command_line", "nothing_heavy", "ends_with_124", "ctrl_c", "imports", "damaged_file", "others_may_write")
CHILDREN += ("without_a_cache", "two_processes", "library_is_made_once")
# A sanitizer keeps what is freed: a bound on memory does not hold.
# The programs for qemu-riscv32 alone are of the same kinds as those that the evaluator runs, but many.
LEFT_OUT_TESTS = " and ".join(
    f"not {name}" for name in (*CHILDREN, "memory_stays_bounded", "uses_bounded_memory", "interpreter_and_qemu_agree")
)

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.pop("LD_PRELOAD", None)


BENIGN = r"(==\d+==WARNING: AddressSanitizer failed to allocate .*\n|\s)*"


def copy(name: str) -> Path:
    """A fresh copy of the tree without what was built."""
    folder = ROOT / "build" / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
    return folder


def build(folder: Path, **options: str) -> None:
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(command, cwd=folder, env={**os.environ, **options}, check=True)


def library(name: str) -> str:
    compiler = os.environ.get("CC", "cc")
    done = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def pytest(folder: Path, arguments: list[str], **environment: str) -> int:
    """Run tests of the copy against the copy."""
    where = subprocess.run(
        [sys.executable, "-c", "import rvsim.machine as m; print(m.__path__[0])"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(folder)), where.stdout
    workers = os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") or str(os.cpu_count() or 1)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        workers,
        "--dist",
        "worksteal",
        "-p",
        "tests.instrumented",
        "-p",
        "no:cacheprovider",
    ]
    command += ["-p", "tests.differential.summary", *arguments]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(folder), **environment}, check=False
    ).returncode


def sanitize(arguments: list[str]) -> int:
    """AddressSanitizer and UndefinedBehaviorSanitizer: a failed test or a report is a failure."""
    folder = copy("sanitize")
    build(folder, RVSIM_SANITIZE="address,undefined")
    logs = folder / "reports"
    logs.mkdir()
    status = pytest(
        folder,
        [*(arguments or TESTS), "-k", LEFT_OUT_TESTS],
        LD_PRELOAD=f"{library('libasan.so')} {library('libubsan.so')}",
        ASAN_OPTIONS=f"detect_leaks=0:allocator_may_return_null=1:log_path={logs}/asan",
        UBSAN_OPTIONS=f"print_stacktrace=1:log_path={logs}/ubsan",
        PYTHONMALLOC="malloc",
    )
    # What could not be allocated is Python's MemoryError, as it should be.
    reports = [path for path in sorted(logs.iterdir()) if not re.fullmatch(BENIGN, path.read_text(errors="replace"))]
    for report in reports:
        print(f"{report}:\n{report.read_text(errors='replace')}", file=sys.stderr)
    print(f"sanitize: {len(reports)} reports of AddressSanitizer and UndefinedBehaviorSanitizer")
    return status or len(reports) > 0


def coverage(arguments: list[str]) -> int:
    """Lines of the Cython modules that the tests execute."""
    folder = copy("coverage")
    build(folder, RVSIM_COVERAGE="1")
    modules = ("rvsim/machine/_hart.pyx", "rvsim/timing/_exact.pyx", "accel/conv/_kernel.pyx")
    (folder / ".coveragerc").write_text(
        f"[run]\nplugins = Cython.Coverage\nparallel = true\ninclude = {','.join(modules)}\n"
    )
    run = [sys.executable, "-m", "coverage"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    tests = arguments or ["tests/machine", "tests/accel"]
    status = subprocess.run(
        [*run, "run", "-m", "pytest", "-q", *tests], cwd=folder, env=environment, check=False
    ).returncode
    subprocess.run([*run, "combine", "-q"], cwd=folder, env=environment, check=True)
    report = subprocess.run(
        [*run, "report", "-m"], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    print(report.stdout)
    return status or not all(re.search(rf"^{re.escape(module)}\s", report.stdout, re.MULTILINE) for module in modules)


if __name__ == "__main__":
    sys.exit({"sanitize": sanitize, "coverage": coverage}[sys.argv[1]](sys.argv[2:]))
