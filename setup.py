"""Builds what Python alone cannot state: the generated sources and the two compiled extensions.

The project's description is in pyproject.toml. Three environment variables change how the extensions are compiled:

RVSIM_COVERAGE=1                   trace Cython lines, so that coverage.py counts them
RVSIM_SANITIZE=address,undefined   compile and link with these sanitizers of the C compiler
RVSIM_QUICK=1                      compile without optimising: a tenth of the time, for tests of what is built
"""

from __future__ import annotations

import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import SetupError

ROOT = Path(__file__).resolve().parent
HEADERS = Path("rvsim/machine/_generated")
BUNDLE = Path("rvsim/isa/_bundle")

os.chdir(ROOT)  # setuptools takes paths relative to the project, wherever it is started from


def extension(name: str, optimisation: list[str], include_dirs: list[str], beside: tuple[str, ...] = ()) -> Extension:
    """One Cython module and the C files beside it, with what the environment asks for."""
    flags, link, macros, directives = [*optimisation], [], [], {"language_level": "3"}
    if os.environ.get("RVSIM_COVERAGE", "") not in ("", "0"):
        macros += [("CYTHON_TRACE", "1"), ("CYTHON_TRACE_NOGIL", "1")]
        directives["linetrace"] = True
    if sanitizers := os.environ.get("RVSIM_SANITIZE", ""):
        # One function is the whole interpreter: optimising it with all checks would take many minutes.
        flags += [f"-fsanitize={sanitizers}", "-fno-omit-frame-pointer", "-g", "-O0"]
        link += [f"-fsanitize={sanitizers}"]
    if os.environ.get("RVSIM_QUICK", "") not in ("", "0"):
        flags += ["-O0"]
    folder = Path(*name.split(".")[:-1])
    module = Extension(
        name,
        [f"{name.replace('.', '/')}.pyx", *beside],
        include_dirs=include_dirs,
        extra_compile_args=flags,
        extra_link_args=link,
        define_macros=macros,
        depends=sorted(
            str(path) for directory in (folder, HEADERS, *map(Path, include_dirs)) for path in directory.glob("*.h")
        ),
    )
    module.cython_directives = directives
    return module


def extensions() -> list[Extension]:
    return [
        # -g0: describing the interpreter's one huge function to debuggers takes GCC half a minute. Both -fno: it would
        # merge the interpreter's indirect jumps into one, which a branch predictor cannot learn.
        extension(
            "rvsim.machine._hart",
            ["-O2", "-g0", "-fno-gcse", "-fno-crossjumping"],
            ["rvsim/machine", str(HEADERS)],
            ("rvsim/machine/hart_cached.c",),
        ),
        extension("rvsim.timing._exact", ["-O2"], ["rvsim/timing/exact"]),
        extension("accel.conv._kernel", ["-O3"], ["accel/conv"]),
        extension("accel.conv._mapping", ["-O2"], ["accel/conv"]),
    ]


def require(path: str, what: str) -> None:
    if not Path(path).is_file():
        raise SetupError(f"expected {what}, {path}, in {ROOT}, found no such file; is the checkout complete?")


def generate_sources() -> None:
    """Run the project's own generator, unless what it reads is unchanged since it last ran."""
    inputs = sorted(
        {
            *Path("rvsim/isa").glob("*.py"),
            *Path("rvsim/isa").rglob("*.lark"),
            Path("rvsim/errors.py"),
            Path("rvsim/records.py"),
            *Path("rvsim/isa").rglob("*.core_desc"),
            *Path("accel").rglob("*.core_desc"),
        }
    )
    digest = hashlib.sha256()
    for path in inputs:
        digest.update(f"{path.as_posix()}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    stamp = HEADERS / "inputs.sha256"
    if BUNDLE.is_dir() and any(BUNDLE.iterdir()) and stamp.is_file() and stamp.read_text() == digest.hexdigest():
        return
    require("rvsim/isa/generate.py", "the generator")
    sys.path.insert(0, str(ROOT))  # a build of pyproject.toml does not put the project on the path
    try:
        from rvsim.isa.generate import generate
    finally:
        sys.path.remove(str(ROOT))
    HEADERS.mkdir(parents=True, exist_ok=True)
    BUNDLE.mkdir(parents=True, exist_ok=True)
    generate(HEADERS, BUNDLE)
    stamp.write_text(digest.hexdigest())


class GenerateThenCopy(build_py):
    """Copy the packages; the generated bundle is among their data, so it has to be there first."""

    def run(self) -> None:
        generate_sources()
        super().run()


class GenerateThenCompile(build_ext):
    """Compile the extensions; the headers they include are generated first."""

    def run(self) -> None:
        generate_sources()
        for module in self.extensions:
            for source in module.sources:
                require(source, f"the source of {module.name}")
            module.depends = sorted({*module.depends, *(str(path) for path in HEADERS.glob("*.h"))})
        # Neither Cython nor the compiler's time stamps notice that other options were asked for.
        options = repr([(m.name, m.extra_compile_args, m.define_macros, m.cython_directives) for m in self.extensions])
        stamp = HEADERS / "options.txt"
        if not stamp.is_file() or stamp.read_text() != options:
            self.force = True
        self.parallel = self.parallel or os.cpu_count()
        super().run()
        stamp.write_text(options)

    def build_extensions(self) -> None:
        """Compile the files of a module at once, as well as the modules: each interpreter takes a minute."""
        one_by_one = self.compiler.compile

        def at_once(sources: list[str], **options: object) -> list[str]:
            with ThreadPoolExecutor(len(sources)) as pool:
                return [built for each in pool.map(lambda s: one_by_one([s], **options), sources) for built in each]

        self.compiler.compile = at_once
        super().build_extensions()


setup(ext_modules=extensions(), cmdclass={"build_py": GenerateThenCopy, "build_ext": GenerateThenCompile})
