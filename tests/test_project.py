"""The project as a whole: what its packages hold, one version, links that lead somewhere, no traces of a machine."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from rvsim._version import __version__

ROOT = Path(__file__).resolve().parent.parent
BUILT = ("*.so", "_generated", "_bundle", "_hart.c", "_exact.c", "_kernel.c", "_mapping.c", "__pycache__", "*.egg-info")
LEFT_OVERS = ("rvsim/isa/_bundle/old.msgpack", "rvsim/machine/_generated/old.h", "rvsim/machine/_hart.old.so")
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, 'build_' + sys.argv[1])(sys.argv[2]))"


def build(kind: str, source: Path, destination: Path) -> Path:
    """Build an sdist or a wheel as pip does, without isolation."""
    destination.mkdir(exist_ok=True)
    command = [sys.executable, "-c", BUILD, kind, str(destination)]
    environment = {**os.environ, "RVSIM_QUICK": "1"}  # what is in it matters here, not how fast it is
    done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return destination / done.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """An sdist of this tree, built where an earlier build left some files."""
    folder = tmp_path_factory.mktemp("project")
    clean = folder / "clean"
    clean.mkdir()
    for name in ("rvsim", "accel", "kernels", "docs", "tests", ".ci"):
        shutil.copytree(ROOT / name, clean / name, ignore=shutil.ignore_patterns(*BUILT))
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "Makefile", "LICENSE"):
        shutil.copy(ROOT / name, clean)
    for path in ROOT.glob("*.md"):
        shutil.copy(path, clean)
    for name in LEFT_OVERS:
        (clean / name).parent.mkdir(exist_ok=True)
        (clean / name).touch()
    return build("sdist", clean, folder / "dist")


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """A wheel built from the sdist."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder)
    return build("wheel", folder / f"rvsim_accel-{__version__}", folder / "dist")


def sources(*patterns: str) -> set[str]:
    """Files of the packages, relative to the root, that are not built."""
    return {
        str(path.relative_to(ROOT))
        for package in ("rvsim", "accel", "kernels")
        for pattern in patterns
        for path in (ROOT / package).rglob(pattern)
        if not any(fnmatch.fnmatch(part, built) for part in path.parts for built in BUILT)
    }


@pytest.mark.slow
def test_the_sdist_holds_sources_and_nothing_built(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = sources("*.py", "*.pyx", "*.core_desc", "*.lark", "*.toml", "*.c", "*.h", "*.S", "*.ld", "*.elf")
    assert needed <= names, needed - names
    assert {"LICENSE", "README.md", "Makefile", "tests/conftest.py", "docs/architecture.md"} <= names
    translated = {"rvsim/machine/_hart.c", "rvsim/timing/_exact.c", "accel/conv/_kernel.c", "accel/conv/_mapping.c"}
    assert not names & {*LEFT_OVERS, *translated}


@pytest.mark.slow
def test_the_wheel_holds_what_runs(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    needed = sources("*.py", "py.typed", "*.core_desc", "*.lark", "*.toml", "*.elf", "*.S", "*.ld")
    needed |= {name for name in sources("*.c", "*.h") if name.startswith("kernels/")}
    assert needed <= names, needed - names
    assert fnmatch.filter(names, "rvsim/isa/_bundle/*")
    assert fnmatch.filter(names, "rvsim/timing/_exact.*.so")
    assert fnmatch.filter(names, "rvsim/machine/_hart.*.so") and fnmatch.filter(names, "accel/conv/_kernel.*.so")
    tops = {name.split("/")[0] for name in names}
    assert tops == {"rvsim", "accel", "kernels", f"rvsim_accel-{__version__}.dist-info"}
    assert not names & {*LEFT_OVERS}
    assert not fnmatch.filter(names, "*.pyx") and not fnmatch.filter(names, "rvsim/machine/*.[ch]")
    assert "rvsim/nn/layer_main.c" in names  # the guest program that rvsim compile builds


@pytest.mark.slow
def test_the_wheel_works_away_from_the_tree(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    code = (
        "import rvsim.machine._hart, rvsim.timing._exact, accel.conv._kernel, kernels; from rvsim.cli.main import main;"
        "print(kernels.__file__, rvsim.__file__); raise SystemExit(main(['--version']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    assert [Path(path).parents[1] for path in first.split()] == [tmp_path, tmp_path]
    assert last == f"rvsim {__version__}"


def test_the_version_is_stated_once():
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text()


def test_the_licence_is_apache_2():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "Version 2.0, January 2004" in text and "END OF TERMS AND CONDITIONS" in text


def pages() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_to_files(page):
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_named_by_a_page_exist(page):
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"`make ([a-z-]+)`", page.read_text())
    assert {*named} <= {*targets}


def test_no_file_names_a_path_of_one_machine():
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode != 0:
        pytest.skip("not a git checkout")
    path = re.compile(rb"/(?:home|root|work|Users)/[\w.-]+")
    found = []
    for name in filter(None, tracked.stdout.split("\0")):
        file = ROOT / name
        if file.is_file() and (match := path.search(file.read_bytes())):
            found.append(f"{name}: {match[0].decode()}")
    assert found == []
