"""The real gdb-multiarch in batch mode: source lines, variables, registers, and going back in time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rvsim.machine import Machine
from tests.debug.served import Server
from tests.machine.guest import machine

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUNDLED = Path("kernels/examples/fc_int8.elf")
DOCUMENT = ROOT / "docs" / "debugging.md"
LINES = {name: number for number, name in enumerate((HERE / "walk.c").read_text().splitlines(), 1)}


def line(text: str) -> int:
    """Number of the line of walk.c that holds a text."""
    return next(number for content, number in LINES.items() if text in content)


@pytest.fixture(scope="session")
def walk(require_peer, tmp_path_factory) -> Path:
    """walk.c with debug information."""
    elf = tmp_path_factory.mktemp("walk") / "walk.elf"
    gcc = [require_peer("riscv64-unknown-elf-gcc"), "-g", "-Og", "-march=rv32imc", "-mabi=ilp32", "-nostdlib"]
    subprocess.run(
        [*gcc, "-Wl,-n,--no-relax,-Ttext=0x80000000,--no-warn-rwx-segments", "-o", elf, HERE / "walk.c"], check=True
    )
    return elf


class Gdb:
    """Runs gdb scripts on one program."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.printed: list[bytes] = []

    def __call__(self, elf: Path, *commands: str, program: Machine | None = None) -> tuple[str, Server]:
        """What gdb prints, each command behind ``(gdb)``, and the server behind it."""
        if program is None:
            program = Machine.from_elf(ROOT / elf, stdout=self.printed.append)
        served = Server(program)
        settings = ["pagination off", "confirm off", "width 0", "style enabled off", "debuginfod enabled off"]
        script = [f"set {each}" for each in settings]
        script += ["set trace-commands on", f"target remote :{served.port}", *commands]
        arguments = [part for each in script for part in ("-ex", each)]
        done = subprocess.run(
            [self.path, "-nx", "-q", "-batch", *arguments, str(elf)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, cwd=ROOT,
        )  # fmt: skip
        # Commands stand behind "+", also the one that a reverse command runs itself.
        text = re.sub(r"^(\+reverse-(\w+).*\n)\+\2 .*\n", r"\1", done.stdout, flags=re.M)
        text = re.sub(r"^\+", "(gdb) ", text, flags=re.M)
        served.end()
        return text, served


@pytest.fixture
def gdb(require_peer) -> Gdb:
    return Gdb(require_peer("gdb-multiarch"))


def answers(text: str) -> list[tuple[str, str]]:
    """Commands and what gdb printed to each."""
    parts = re.split(r"^\(gdb\) (.*)\n", text, flags=re.M)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def test_backwards_to_before_a_variable_changed(gdb, walk):
    text, _ = gdb(
        walk,
        "break main",
        "continue",
        "watch total",
        "continue",
        "continue",
        "print total",
        "reverse-continue",
        "print total",
        "x/i $pc",
        "stepi",
        "print total",
        "reverse-stepi",
        "reverse-stepi",
        "print total",
        "reverse-continue",
        "reverse-continue",
        "reverse-continue",
    )
    said = answers(text)
    assert "Breakpoint 1, main ()" in said[2][1]
    assert said[3] == ("watch total", "Hardware watchpoint 2: total\n")
    assert "Old value = 7\nNew value = 8\nadd_square (n=" in said[4][1]
    assert "Old value = 8\nNew value = 12\n" in said[5][1]
    assert said[6][1] == "$1 = 12\n"
    assert "Old value = 12\nNew value = 8\n" in said[7][1]
    assert f"walk.c:{line('the change')}" in said[7][1]
    assert said[8][1] == "$2 = 8\n"
    assert re.search(r"=> .*:\s+sw\s", said[9][1]), "before the store"
    assert "Old value = 8\nNew value = 12\n" in said[10][1]
    assert said[11][1] == "$3 = 12\n"
    assert "Old value = 12\nNew value = 8\n" in said[12][1]
    assert said[14][1] == "$4 = 8\n"
    assert "Old value = 8\nNew value = 7\n" in said[15][1]
    assert "Breakpoint 1, main ()" in said[16][1]
    assert "No more reverse-execution history.\n_start ()" in said[17][1]


def test_the_session_of_the_documentation(gdb):
    version = subprocess.run([gdb.path, "--version"], capture_output=True, text=True, check=True).stdout
    if not re.search(r"^GNU gdb .* 13\.", version):
        pytest.skip(f"the session was recorded with GDB 13, this is {version.splitlines()[0]}")
    recorded = re.search(r"^```console\n\$ [^\n]*\n(.*?)^```", DOCUMENT.read_text(), re.M | re.S)
    assert recorded
    commands = [command for command, _ in answers(recorded[1])]
    assert commands[0].startswith("target remote")
    text, _ = gdb(BUNDLED, *commands[1:])
    assert anywhere(text) == anywhere(recorded[1])
    assert {"reverse-continue", "reverse-stepi", "reverse-step", "reverse-next", "stepi", "backtrace"} <= set(commands)


def anywhere(text: str) -> str:
    """A session without what depends on the port and on the core's timing."""
    return re.sub(r"\d+ cycles", "N cycles", re.sub(r"(target remote :)\d+", r"\1PORT", text)).strip()


def test_a_bundled_program_by_its_lines(gdb):
    text, _ = gdb(
        BUNDLED,
        "break fc_int8.c:24",
        "continue",
        "watch *(int *)&bias",
        "continue",
        "reverse-continue",
        "print *(int *)&bias",
        "delete",
        "break example_result",
        "continue",
        "reverse-step",
        "monitor history",
        "delete",
        "continue",
    )
    said = dict(answers(text))
    assert "Breakpoint 1, main () at kernels/examples/fc_int8.c:24" in text
    found = re.search(r"Old value = 0\nNew value = (-?\d+)\n.*Old value = (-?\d+)\nNew value = 0\n", text, re.S)
    assert found and found[1] == found[2]
    assert said["print *(int *)&bias"] == "$1 = 0\n"
    assert (
        said["reverse-step"] == "rvsim_print () at kernels/include/rvsim_host.h:31\n31\t  rvsim_write(1, text, size);\n"
    )
    assert "exited normally" in said["continue"]
    assert b"".join(gdb.printed).count(b"checksum") == 1, "the program prints once"


def test_registers_csrs_and_code(gdb, walk):
    text, served = gdb(
        walk,
        "info registers",
        "print/x $misa",
        "print $mhartid",
        "print/x $mstatus",
        "x/2i $pc",
        "stepi",
        "print $mcycle",
        "print $minstret",
        "info registers mcycle",
        "set $a5 = 0x1234",
        "print/x $a5",
        "set $mscratch = 99",
        "print $mscratch",
        "set $mhartid = 1",
    )
    said = dict(answers(text))
    assert len(said["info registers"].splitlines()) == 32, "all but x0"
    assert "sp             0x80ff" in said["info registers"]
    assert "pc             0x8000" in said["info registers"]
    assert re.search(r"= 0x40[01]0110[45]$", said["print/x $misa"], re.M)
    assert said["print $mhartid"] == "$2 = 0\n"
    assert said["print/x $mstatus"] == "$3 = 0x1800\n"
    assert "=> 0x8000" in said["x/2i $pc"]
    assert int(said["print $mcycle"].split()[-1]) > 0
    assert int(said["print $minstret"].split()[-1]) == 1
    assert said["info registers mcycle"].split()[2] == said["print $mcycle"].split()[-1]
    assert said["print/x $a5"].endswith("= 0x1234\n")
    assert said["print $mscratch"].endswith("= 99\n")
    assert "Could not write register" in text
    assert served.machine.csrs.read(0x340) == 99


def test_lines_functions_and_frames(gdb, walk):
    text, served = gdb(
        walk,
        f"tbreak {line('the end')}",
        "break add_square if n == 3",
        "continue",
        "backtrace",
        "info breakpoints",
        "finish",
        "next",
        "step",
        "reverse-next",
        "reverse-step",
        "reverse-finish",
        "delete 2",
        "continue",
        "print place",
        "set var place.x = 17",
        "continue",
    )
    said = answers(text)
    assert "add_square (n=3)" in said[3][1] or "add_square (n=n@entry=3)" in said[3][1]
    assert re.search(r"#0 .*add_square .*\n#1 .*main \(\)", said[4][1])
    assert "Value returned is $1 = 21" in said[6][1]
    assert "Temporary breakpoint 1, main ()" in said[13][1]
    assert said[14][1].endswith("{x = 1, y = 140}\n")
    # The program's exit code is what the debugger wrote.
    assert "exited with code 021" in said[16][1]
    assert served.result == ["exit"]


@pytest.mark.parametrize(
    ("command", "kind", "where"),
    [("rwatch place.x", "Hardware read watchpoint", "the end"), ("awatch place.y", "Hardware access", "the store")],
)
def test_read_and_access_watchpoints(gdb, walk, command, kind, where):
    text, _ = gdb(walk, command, "continue", "reverse-stepi", "info line *$pc")
    said = dict(answers(text))
    assert kind in said["continue"]
    assert f"Line {line(where)} of" in said["info line *$pc"]


def test_hardware_breakpoints(gdb, walk):
    text, _ = gdb(walk, "hbreak add_square", "continue", "continue", "reverse-continue", "print n")
    assert text.count("Breakpoint 1, add_square (n=") == 3
    assert text.endswith("$1 = 1\n")


def test_monitor_commands(gdb, walk):
    text, _ = gdb(
        walk,
        f"break {line('the store')}",
        "continue",
        "monitor cycles",
        "monitor when",
        "monitor snapshot save first",
        "continue",
        "monitor snapshot save second",
        "print total",
        "monitor snapshot load first",
        "maintenance flush register-cache",
        "print total",
        "monitor snapshot load second",
        "maintenance flush register-cache",
        "print total",
        "monitor stats",
        "monitor help",
        "monitor cycels",
        "monitor reset",
        "maintenance flush register-cache",
        "print total",
        "continue",
        "print total",
    )
    said = answers(text)
    assert [each for command, each in said if command == "print total"] == [
        "$1 = 12\n", "$2 = 8\n", "$3 = 12\n", "$4 = 7\n", "$5 = 8\n",
    ]  # fmt: skip
    said_once = dict(said)
    assert re.fullmatch(r"\d+\n", said_once["monitor cycles"])
    assert re.search(rf"main.*walk\.c:{line('the store')}", said_once["monitor when"])
    assert "instructions" in said_once["monitor stats"]
    assert "stop-at-exit" in said_once["monitor help"]
    assert "expected cycles, found 'cycels'" in text


def test_an_interrupt(gdb, walk):
    program = machine(0xA001)  # c.j to itself
    text, _ = gdb(walk, "shell (sleep 1; kill -INT $PPID) &", "continue", "print $pc", program=program)
    assert "Program received signal SIGINT" in text
    assert "(void (*)()) 0x80000000" in text


def test_a_crash_is_a_signal_that_can_be_undone(gdb, walk):
    text, _ = gdb(
        walk, "break add_square", "continue", "set $sp = 16", "delete", "set $pc = main", "continue", "reverse-stepi",
        "print $pc == main || 1", "continue", "continue",
    )  # fmt: skip
    assert "store access fault at address 0x" in text
    assert text.count("Program received signal SIGSEGV") == 2
    assert "Program terminated with signal SIGSEGV" in text


def test_going_backwards_from_the_end(gdb, walk):
    text, _ = gdb(
        walk,
        "monitor stop-at-exit on",
        "continue",
        "watch total",
        "reverse-continue",
        "print total",
        "delete",
        "continue",
        "continue",
    )
    assert "about to end with exit code 1" in text
    assert "Old value = 62\nNew value = 37\n" in text
    assert "exited with code 01" in text


def test_detach_and_kill(gdb, walk):
    assert gdb(walk, "detach")[1].result == ["detach"]
    assert gdb(walk, "kill")[1].result == ["kill"]
    assert gdb(walk)[1].result == ["kill"], "a batch that ends kills its program, as with gdbserver"


def test_load_and_compare_sections(gdb, walk):
    text, _ = gdb(walk, "compare-sections", "load", "compare-sections", "break add_square", "continue")
    assert "MIS-MATCHED" not in text
    assert "Breakpoint 1, add_square" in text


def test_extended_remote_runs_again(gdb, walk):
    program = Machine.from_elf(walk, stdout=lambda data: None)
    served = Server(program)
    commands = ["set confirm off", f"target extended-remote :{served.port}", "continue", "set remote exec-file walk"]
    arguments = [part for each in [*commands, "run", "info threads"] for part in ("-ex", each)]
    done = subprocess.run(
        [gdb.path, "-nx", "-q", "-batch", *arguments, str(walk)], capture_output=True, text=True, timeout=60
    )
    served.end()
    assert done.stdout.count("exited with code 01") == 2, done.stdout + done.stderr
    assert "No threads." in done.stdout


@pytest.mark.parametrize(
    ("command", "status", "printed"), [("detach", 0, True), ("continue", 0, True), ("kill", None, False)]
)
def test_the_command_line(gdb, command, status, printed):
    elf = "kernels/examples/hello.elf"
    rvsim = [sys.executable, "-m", "rvsim", "run", "--quiet", "--gdb", "0", elf]
    with subprocess.Popen(rvsim, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stderr is not None
        greeting = process.stderr.readline()
        remote = re.search(r"-ex '(target remote :\d+)'$", greeting)
        assert remote, greeting
        arguments = ["-nx", "-q", "-batch", "-ex", "set confirm off", "-ex", remote[1], "-ex", "break *main"]
        done = subprocess.run(
            [gdb.path, *arguments, "-ex", "continue", "-ex", "delete", "-ex", command, elf],
            capture_output=True, text=True, timeout=60, cwd=ROOT,
        )  # fmt: skip
        assert "Breakpoint 1, main () at kernels/examples/hello.c:4" in done.stdout
        stdout, _ = process.communicate(timeout=60)
    assert ("Hello from RV32IMC" in stdout) == printed
    if status is not None:
        assert process.returncode == status
