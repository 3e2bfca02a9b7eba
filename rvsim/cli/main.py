"""`rvsim COMMAND`: choose the command's module, and end every failure in one line and an exit status.

A command is one module beside this one with `HELP`, `add_arguments(parser)` and `main(args) -> exit status`. Only the
chosen one is imported: start-up time is part of the product.
"""

from __future__ import annotations

import errno
import os
import sys

from rvsim.cli.quick import parse_quickly
from rvsim.errors import OutputError, RvsimError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, NoReturn

COMMANDS = ("run", "compare", "caches", "accel", "asm", "disasm", "isa", "compile", "bench", "new", "examples")
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
BROKEN_PIPE = 128 + 13  # what a shell reports for a program that SIGPIPE ended


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        Without the program's name; `sys.argv` by default.

    Returns
    -------
    int
        Exit status (docs/architecture.md).
    """
    for name in ("stdout", "stderr"):  # None where the shell closed them
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    try:
        return _run(sys.argv[1:] if arguments is None else arguments)
    except RvsimError as error:
        if error.__cause__ is not None:  # code of the user's own
            _trace()
        return _fail(f"error: {error}", error.exit_status)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _abandon_stdout()
        return BROKEN_PIPE
    except Exception as error:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            _abandon_stdout()
            return _fail(f"error: cannot write the output: {error.strerror}", OutputError.exit_status)
        _trace()
        what = " ".join(f"{type(error).__name__}: {error}".split())
        return _fail(f"internal error: {what}; please report it with the command line (RVSIM_DEBUG=1 says where)", 70)


def program() -> NoReturn:
    """`main` as a program of its own: the system takes back what it used; Python would do so object by object."""
    import gc

    gc.set_threshold(100_000)  # what a run makes stays to its end: looking for garbage takes a twentieth of a short one
    status = main()
    atexit = sys.modules.get("atexit")
    threading = sys.modules.get("threading")
    if (atexit and atexit._ncallbacks()) or (threading and threading.active_count() > 1):
        sys.exit(status)  # somebody is still to be told: coverage, logging, a pool
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.exit(status)
    os._exit(status & 0xFF)


def _run(arguments: list[str]) -> int:
    try:
        status = _dispatch(arguments)
    except SystemExit as end:  # --help and --version
        status = end.code if isinstance(end.code, int) else 0
    sys.stdout.flush()
    return status


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0].startswith("-"):
        return _without_command(arguments)
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        from rvsim.cli.arguments import nearest

        hint = f"to run a program: rvsim run {name}" if os.path.exists(name) else nearest(name, COMMANDS)
        raise UsageError(f"unknown command {name!r}; {hint}")
    module = _import(name)
    return int(module.main(parse(name, module, rest)))


def parse(name: str, module: ModuleType, arguments: list[str]) -> Any:
    """Parse one command's arguments, into an object with an attribute for each.

    A module with `GUEST_ARGUMENTS` takes options before, between and after its positional arguments, and hands all that
    follows `--` to the guest (`args.args`).
    """
    guest = getattr(module, "GUEST_ARGUMENTS", False)
    end = arguments.index("--") if guest and "--" in arguments else len(arguments)
    args: Any = parse_quickly(module, arguments[:end]) if guest else None
    if args is None:
        from rvsim.cli.arguments import parse_with_argparse

        args = parse_with_argparse(name, module, arguments[:end], intermixed=guest)
    if guest:
        args.args = [*(args.args or []), *arguments[end + 1 :]]
    return args


def _without_command(arguments: list[str]) -> int:
    option = arguments[0] if arguments else "--help"
    if option == "--version":
        from rvsim._version import __version__

        print(f"rvsim {__version__}")
        return 0
    if option not in ("-h", "--help"):
        from rvsim.cli.arguments import nearest

        raise UsageError(f"unknown option {option!r}; {nearest(option, ('--help', '--version'))}")
    lines = [
        "usage: rvsim [--version] COMMAND ...",
        "",
        "Simulate RISC-V (RV32IMC) programs with a convolution coprocessor, counting cycles and memory traffic.",
        "",
        *(f"  {name:<10} {_import(name).HELP}" for name in COMMANDS),
        "",
        "rvsim COMMAND --help explains one.",
    ]
    print("\n".join(lines), file=sys.stdout if arguments else sys.stderr)
    return 0 if arguments else UsageError.exit_status


def _import(name: str) -> ModuleType:
    __import__(f"rvsim.cli.{name}")
    return sys.modules[f"rvsim.cli.{name}"]


def _trace() -> None:
    if os.environ.get("RVSIM_DEBUG") == "1":
        import traceback

        traceback.print_exc()


def _fail(message: str, status: int) -> int:
    try:
        print(f"rvsim: {message}", file=sys.stderr, flush=True)
    except OSError:  # nowhere left to say it
        pass
    return status


def _abandon_stdout() -> None:
    """Nobody reads any more: keep Python from complaining when it flushes at its end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        pass


if __name__ == "__main__":
    sys.exit(main())
