"""Builds guest programs: C and assembly sources plus the kernels, to an ELF for RV32IMC.

Two compilers serve: zig from PyPI (`pip install 'rvsim-accel[toolchain]'`; it holds clang and lld) and a RISC-V GCC on
the PATH. What is built depends on the sources, the options and the compiler's version alone: no path of the machine
gets into an ELF, so that the committed programs can be built again byte for byte. `python -m kernels.build` does that,
`python -m kernels.build FILE.c -o ELF` builds a program of your own.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rvsim.errors import OutputError, RvsimError, UsageError

EXAMPLES_ZIG_VERSION = "0.17.1"
"""The ziglang release that kernels/examples/*.elf are built with."""

ROOT = Path(__file__).resolve().parent
INCLUDE = ROOT / "include"
LINK_SCRIPT = ROOT / "runtime" / "link.ld"

_KERNEL_SOURCES = tuple(
    ROOT / name
    for name in (
        "runtime/crt0.S",
        "runtime/memory.c",
        "runtime/division.c",
        "src/requantise.c",
        "src/conv.c",
        "src/depthwise.c",
        "src/fully_connected.c",
        "src/pool.c",
        "src/add.c",
        "src/packed.c",
        "src/simd.c",
        "src/xcv.c",
        "src/dispatch.c",
    )
)
_GCC_NAMES = ("riscv64-unknown-elf-gcc", "riscv32-unknown-elf-gcc", "riscv-none-elf-gcc")
_COMMON_FLAGS = (
    "-std=c11",
    "-ffreestanding",
    "-fomit-frame-pointer",
    "-fno-common",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-asynchronous-unwind-tables",
    "-fno-ident",
    "-Wall",
    "-Wextra",
)
_LINK_FLAGS = ("-static", "--gc-sections", "--discard-locals", "--build-id=none")


@dataclass(frozen=True)
class Toolchain:
    """One compiler and its linker.

    Attributes
    ----------
    name : str
        `zig` or the name of a GCC.
    version : str
        What the compiler says its version is.
    compile_command, link_command : tuple of str
        Program and fixed arguments.
    link_libraries : tuple of str
        What follows the objects on the linker's command line.
    prefixes : tuple of str
        `FROM=TO`: the compiler's own folders, and what stands for them in DWARF.
    """

    name: str
    version: str
    compile_command: tuple[str, ...]
    link_command: tuple[str, ...]
    link_libraries: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()


@functools.cache
def find_toolchain(name: str | None = None) -> Toolchain:
    """Find a compiler: zig if the `ziglang` package is installed, else a RISC-V GCC on the PATH.

    Parameters
    ----------
    name : str, optional
        `zig` or `gcc`, to take only that one.

    Returns
    -------
    Toolchain

    Raises
    ------
    UsageError
        There is none; the message says what to install.
    """
    if name not in (None, "zig", "gcc"):
        raise UsageError(f"expected the toolchain zig or gcc, found {name!r}")
    found = (_find_zig() if name != "gcc" else None) or (_find_gcc() if name != "zig" else None)
    if found is None:
        looked = {"zig": "the Python package ziglang", "gcc": f"one of {', '.join(_GCC_NAMES)} on the PATH"}
        wanted = " or ".join(looked.values()) if name is None else looked[name]
        raise UsageError(
            f"building a guest program needs a RISC-V compiler: expected {wanted}, found none; "
            "install one with: pip install 'rvsim-accel[toolchain]'"
        )
    return found


def _find_zig() -> Toolchain | None:
    if importlib.util.find_spec("ziglang") is None:
        return None
    zig = (sys.executable, "-m", "ziglang")
    target = ("-target", "riscv32-freestanding-none", "-mcpu=generic_rv32+m+c+relax", "-mabi=ilp32")
    return Toolchain(
        name="zig",
        version=importlib.metadata.version("ziglang"),
        compile_command=(*zig, "cc", *target, "-fno-sanitize=all", "-fno-stack-protector", "-fno-PIC"),
        link_command=(*zig, "ld.lld", "-m", "elf32lriscv", *_LINK_FLAGS),
    )


def _find_gcc() -> Toolchain | None:
    gcc = next(filter(shutil.which, _GCC_NAMES), None)
    if gcc is None:
        return None
    machine = ("-march=rv32imc_zicsr", "-mabi=ilp32", "-mcmodel=medlow")
    flags = (*machine, "-fno-pic", "-fno-stack-protector", "-fno-tree-loop-distribute-patterns")
    return Toolchain(
        name=gcc,
        version=run_tool([gcc, "-dumpfullversion", "-dumpversion"]).strip(),
        compile_command=(gcc, *flags),
        link_command=(gcc, *machine, "-nostdlib", *(f"-Wl,{flag}" for flag in _LINK_FLAGS)),
        link_libraries=("-lgcc",),
        prefixes=(f"{run_tool([gcc, '-print-file-name=include']).strip()}=include",),
    )


def build_program(
    sources: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    defines: Iterable[str] = (),
    include: Iterable[str | os.PathLike[str]] = (),
    optimise: str = "2",
    debug: bool = True,
    toolchain: Toolchain | None = None,
    extra_objects: Iterable[str | os.PathLike[str]] = (),
    symbols: Iterable[str] = (),
) -> Path:
    """Compile sources and link them with the start-up code and the kernels.

    Parameters
    ----------
    sources : sequence of path
        C (`.c`) and preprocessed assembly (`.S`) files. One of them defines `main`.
    output : path
        The ELF to write; replaced only once the new one is complete.
    defines : iterable of str
        Macros, `NAME` or `NAME=VALUE`. They hold for the kernels too.
    include : iterable of path
        Folders for `#include` and `.incbin`, after the sources' own and before `kernels/include`.
    optimise : {"0", "1", "2", "3", "s"}
        Optimisation level, of the kernels too.
    debug : bool
        Whether the ELF holds DWARF line tables.
    toolchain : Toolchain, optional
        By default the one of `find_toolchain`.
    extra_objects : iterable of path
        Object files and archives to link as they are.
    symbols : iterable of str
        Linker symbols, `NAME=VALUE`: `__ram_start`, `__ram_size`, `__stack_size` and `__heap_size` change the memory
        map.

    Returns
    -------
    Path
        `output`.

    Raises
    ------
    UsageError
        No compiler was found, or an unknown optimisation level.
    RvsimError
        The compiler or linker failed; the message is its first error.
    OutputError
        `output` cannot be written.
    """
    if optimise not in ("0", "1", "2", "3", "s"):
        raise UsageError(f"expected the optimisation level 0, 1, 2, 3 or s, found {optimise!r}")
    toolchain = toolchain or find_toolchain()
    defines, paths = tuple(defines), [Path(os.path.abspath(source)) for source in sources]
    folders = [Path(os.path.abspath(folder)) for folder in include]
    kernels = kernel_objects(toolchain, defines=defines, optimise=optimise, debug=debug)
    destination = Path(output)
    # Made beside the destination, because os.replace is atomic only within one file system.
    try:
        scratch = tempfile.TemporaryDirectory(prefix=".rvsim-", dir=os.path.abspath(destination.parent))
    except OSError as error:
        raise OutputError(f"{destination}: cannot be written: {error.strerror}") from None
    with scratch as name:
        objects = _compile(paths, Path(name), toolchain, _flags(defines, optimise, debug), folders)
        linked = Path(name) / "program.elf"
        _link([*objects, *kernels, *extra_objects], linked, toolchain, symbols)
        try:
            os.replace(linked, destination)
        except OSError as error:
            raise OutputError(f"{destination}: cannot be written: {error.strerror}") from None
    return destination


def kernel_objects(
    toolchain: Toolchain | None = None, *, defines: Iterable[str] = (), optimise: str = "2", debug: bool = True
) -> tuple[Path, ...]:
    """Compile the start-up code and the kernels, or find them compiled in the user's cache folder.

    The folder is `$RVSIM_CACHE`, else the platform's cache folder for `rvsim`. Its entries are keyed by the sources,
    the options and the compiler's version, so that none is ever wrong. Where it cannot be written, the objects last
    until the process ends.

    Returns
    -------
    tuple of Path
        Object files in link order.
    """
    return _kernel_objects(toolchain or find_toolchain(), tuple(defines), optimise, debug)


@functools.cache
def _kernel_objects(toolchain: Toolchain, defines: tuple[str, ...], optimise: str, debug: bool) -> tuple[Path, ...]:
    flags = _flags(defines, optimise, debug)
    key = hashlib.sha256(repr((toolchain.name, toolchain.version, toolchain.compile_command[3:], flags)).encode())
    for source in sorted([ROOT / "build.py", *_KERNEL_SOURCES, *ROOT.glob("include/*.h"), *ROOT.glob("src/*.h")]):
        key.update(source.relative_to(ROOT).as_posix().encode() + b"\0" + source.read_bytes() + b"\0")
    folder = _cache_folder() / "kernels" / key.hexdigest()[:32]
    objects = tuple(folder / f"{source.stem}.o" for source in _KERNEL_SOURCES)
    if all(path.is_file() for path in objects):
        return objects
    scratch = Path(tempfile.mkdtemp(prefix="new-", dir=folder.parent))
    try:
        _compile(_KERNEL_SOURCES, scratch, toolchain, flags)
        os.rename(scratch, folder)
    except OSError:  # another process was quicker
        if not all(path.is_file() for path in objects):
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return objects


@functools.cache
def _cache_folder() -> Path:
    """A folder that can be written and outlives the process, if there is one."""
    if named := os.environ.get("RVSIM_CACHE"):
        folder = Path(os.path.abspath(named))
    elif sys.platform == "darwin":
        folder = Path("~/Library/Caches/rvsim").expanduser()
    elif sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA", "~/AppData/Local")).expanduser() / "rvsim" / "cache"
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "rvsim"
    try:
        for part in ("kernels", "zig"):
            (folder / part).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder / part):
                pass
    except (OSError, RuntimeError):  # RuntimeError: no home folder
        folder = Path(tempfile.mkdtemp(prefix="rvsim-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        (folder / "kernels").mkdir()
    return folder


def _flags(defines: Sequence[str], optimise: str, debug: bool) -> tuple[str, ...]:
    lines = ("-gdwarf-4", "-g1") if debug else ("-g0",)
    return (f"-O{optimise}", *lines, *_COMMON_FLAGS, *(f"-D{name}" for name in defines))


def _compile(
    sources: Iterable[Path], folder: Path, toolchain: Toolchain, flags: Sequence[str], include: Sequence[Path] = ()
) -> list[Path]:
    objects = []
    for number, source in enumerate(sources):
        if not source.is_file():
            raise RvsimError(f"{source}: expected a source file to compile, found none")
        own = source.is_relative_to(ROOT)
        object_ = folder / (f"{source.stem}.o" if own and not include else f"{number}-{source.stem}.o")
        # Names in DWARF: kernels/src/conv.c of ours, main.c of others.
        prefixes = [f"{ROOT}={ROOT.name}"] if own else [f"{source.parent}{os.sep}=", f"{ROOT}={ROOT.name}"]
        prefixes += [f"{place}{os.sep}=" for place in include] + [f"{folder}=.", *toolchain.prefixes]
        command = [*toolchain.compile_command, *flags]
        # Not -ffile-prefix-map, which stands for these two: GCC does not hand it to its assembler.
        command += [f"-f{kind}-prefix-map={prefix}" for kind in ("debug", "macro") for prefix in prefixes]
        command += [f"-I{place}" for place in (source.parent, *include, INCLUDE)]
        run_tool([*command, "-c", str(source), "-o", str(object_)], f"cannot compile {source.name}", folder)
        objects.append(object_)
    return objects


def _link(
    objects: Iterable[str | os.PathLike[str]], output: Path, toolchain: Toolchain, symbols: Iterable[str]
) -> None:
    define = [f"--defsym={symbol}" for symbol in symbols]
    if toolchain.name != "zig":
        define = [f"-Wl,{option}" for option in define]
    command = [*toolchain.link_command, *define, "-T", str(LINK_SCRIPT), *(os.fspath(path) for path in objects)]
    run_tool([*command, *toolchain.link_libraries, "-o", str(output)], "cannot link the program")


def run_tool(command: Sequence[str], failure: str = "the compiler does not run", folder: Path | None = None) -> str:
    """Run a compiler or what it built, and give its standard output.

    Parameters
    ----------
    command : sequence of str
    failure : str
        What could not be done, for the message.
    folder : Path, optional
        Working folder.

    Raises
    ------
    RvsimError
        It cannot be started or fails; the message is its first error.
    """
    environment = {**os.environ, "LC_ALL": "C"}
    if "ziglang" in command:
        environment["ZIG_GLOBAL_CACHE_DIR"] = environment["ZIG_LOCAL_CACHE_DIR"] = str(_cache_folder() / "zig")
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise RvsimError(f"{failure}: {command[0]}: {error.strerror}") from None
    if done.returncode:
        lines = done.stderr.splitlines()
        first = next((line for line in lines if "error" in line), lines[0] if lines else "no message")
        raise RvsimError(f"{failure}: {first.strip()} (exit status {done.returncode})")
    return done.stdout


def build_examples(folder: Path | None = None, toolchain: Toolchain | None = None) -> list[Path]:
    """Build every bundled example into `folder`, by default where the committed ELFs lie.

    Parameters
    ----------
    folder : Path, optional
        Where the ELFs go.
    toolchain : Toolchain, optional
        By default zig, which the committed ones are built with.

    Returns
    -------
    list of Path
    """
    toolchain = toolchain or find_toolchain("zig")
    place = folder or ROOT / "examples"
    sources = sorted((ROOT / "examples").glob("*.c"))
    return [build_program([source], place / f"{source.stem}.elf", toolchain=toolchain) for source in sources]


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the program of the sources named; without any, rebuild kernels/examples/*.elf."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="kernels.build", description="Build a guest program; without arguments, build the bundled examples again."
    )
    parser.add_argument("sources", nargs="*", metavar="FILE.c", help="C and assembly sources, one with main")
    parser.add_argument("-o", "--output", metavar="ELF", help="the ELF to write (default: the first source's name)")
    parser.add_argument("-D", dest="defines", action="append", default=[], metavar="NAME=VALUE", help="a macro")
    parser.add_argument(
        "-O", dest="optimise", choices=("0", "1", "2", "3", "s"), default="2", help="level (default: 2)"
    )
    parser.add_argument("--toolchain", metavar="NAME", help="zig or gcc (default: zig if it is there)")
    args = parser.parse_args(arguments)
    try:
        if not args.sources:
            _rebuild_examples()
            return 0
        for source in args.sources:
            if not os.path.isfile(source):
                raise UsageError(f"{source}: expected a source, found no such file")
        output = args.output or f"{os.path.splitext(args.sources[0])[0]}.elf"
        build_program(
            args.sources, output, defines=args.defines, optimise=args.optimise, toolchain=find_toolchain(args.toolchain)
        )
    except RvsimError as error:
        print(f"kernels.build: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def _rebuild_examples() -> None:
    toolchain = find_toolchain("zig")
    if toolchain.version != EXAMPLES_ZIG_VERSION:
        raise UsageError(
            f"the committed examples are built with ziglang {EXAMPLES_ZIG_VERSION}, found {toolchain.version}; "
            f"install it with: pip install ziglang=={EXAMPLES_ZIG_VERSION}"
        )
    for path in build_examples(toolchain=toolchain):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    sys.exit(main())
