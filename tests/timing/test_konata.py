"""Views of pipelines: a file as Konata's document has it, in which instructions retire when they do so in the RTL."""

from __future__ import annotations

import os
from collections import Counter
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rvsim.cli.main import main
from rvsim.cli.run import find_program
from rvsim.errors import UsageError
from rvsim.machine import Machine
from rvsim.machine.elf import Symbol
from rvsim.machine.result import decode
from rvsim.profile.konata import Konata
from tests.machine.programs import guest
from tests.timing.rtl import program, rows
from tests.timing.validate import CORES, MEMORIES, trace, trace_names

PROGRAMS = ("timer", "patches", "htif", "atomics", "mac", "hello", "conv")
STAGES = {
    "ibex-small": ["IF", "ID"],
    "ibex-maxperf": ["IF", "ID", "WB"],
    "cv32e40p": ["IF", "ID", "EX", "WB"],
    "hazard3-fast": ["F", "X", "M"],
    "hazard3-small": ["F", "X", "M"],
    "picorv32": ["fetch", "ld_rs1", "exec", "ldmem", "stmem", "wb"],
    "vexriscv-custom": ["F", "D", "E", "M", "W"],
    "inorder": ["F", "S2", "S3", "S4", "S5"],
}
# What the traces of the data call retiring (its README): leaving ID, or stage 2; for others, leaving the last stage.
RETIRES_INTO = {"cv32e40p": "EX", "hazard3-fast": "M", "hazard3-small": "M"}


class Row(NamedTuple):
    """One instruction of a file."""

    label: str
    hover: str
    stages: list[tuple[str, int]]  # with the first cycle
    end: int
    retires: bool

    @property
    def pc(self) -> int:
        return int(self.label.partition(":")[0], 16)

    def spans(self) -> list[tuple[str, int, int]]:
        ends = [start for _, start in self.stages[1:]] + [self.end]
        return [(name, start, end) for (name, start), end in zip(self.stages, ends, strict=True)]


def parse(text: str) -> list[Row]:
    """A file by the rules of Konata's document, docs/kanata-log-format.md; they are asserted."""
    lines = text.split("\n")
    assert lines.pop() == ""
    assert lines[0] == "Kanata\t0004"
    command, start = lines[1].split("\t")
    assert command == "C="
    now, found, open_, retired = int(start), [], {}, {}
    for line in lines[2:]:
        command, *words = line.split("\t")
        if command == "C":
            assert len(words) == 1 and int(words[0]) > 0
            now += int(words[0])
            continue
        number = int(words[0])
        if command == "I":
            assert len(words) == 3 and number == len(found) and number not in open_
            open_[number] = {"stages": [], 0: "", 1: ""}
            found.append(None)
            continue
        each = open_[number]  # begun by I, not yet ended by R
        if command == "L":
            each[int(words[1])] += words[2]
            assert len(words) == 3 and words[1] in ("0", "1")
        elif command == "S":
            assert words[1] == "0" and len(words) == 3
            each["stages"].append((words[2], now))
        else:
            assert command == "R" and len(words) == 3 and words[2] in ("0", "1"), line
            retired[number] = int(words[1]), words[2] == "0"
            found[number] = Row(each[0], each[1], each["stages"], now, words[2] == "0")
            del open_[number]
    assert not open_
    # A branch may leave CV32E40P's EX, its last stage, before a load leaves WB: ids are in order, lines need not be.
    order = [retired[n] for n in range(len(found))]
    assert [number for number, _ in order] == [0, *accumulate(int(each) for _, each in order)][: len(order)]
    return found


def view(machine: Machine, limit: int | None = None, **options: Any) -> list[Row]:
    pieces: list[bytes] = []
    konata = Konata(machine, pieces.append, **options)
    machine.run(limit)
    konata.finish()
    return parse(b"".join(pieces).decode())


def check_stages(core: str, found: list[Row], order: list[str] | None = None) -> None:
    """Each instruction goes forward through the core's stages to its retirement, and no two are in one at once."""
    free: dict[str, int] = {}
    for row in found:
        names = [name for name, _ in row.stages]
        assert names == [name for name in order or STAGES[core] if name in names], row
        for name, start, end in row.spans():
            assert start < end, (row, name)
            assert start >= free.get(name, 0), (row, name)
            free[name] = end
        if row.retires and not (core == "cv32e40p" and "coprocessor" in row.hover):  # waits in EX, behind leaving ID
            left = dict(row.stages)[RETIRES_INTO[core]] if core in RETIRES_INTO else row.end
            assert f"retired in cycle {left - 1}" in row.hover.split("; "), row


@pytest.mark.parametrize("name", trace_names())
def test_every_instruction_retires_in_its_cycle(name: str) -> None:
    core, of, expected = trace(name)
    found = view(Machine(program(of, core), platform="rtl-ideal", core=core), start="roi", count=len(expected))
    times = [dict(row.stages)[RETIRES_INTO[core]] if core in RETIRES_INTO else row.end for row in found]
    assert [(time - times[0], row.pc) for time, row in zip(times, found, strict=True)] == expected
    assert all(row.retires for row in found)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("memory", MEMORIES)
def test_no_two_instructions_are_in_one_stage(core: str, memory: str) -> None:
    some = [row.program for row in rows() if (row.core, row.memory) == (core, memory)]
    for name in some[:: 9 if memory == "i2d2" else 30]:
        found = view(Machine(program(name, core), platform=f"rtl-{memory}", core=core), start="roi", count=1000)
        assert len(found) >= 2, name
        check_stages(core, found)


@pytest.mark.parametrize("stages", range(2, 8))
def test_a_core_made_of_numbers_has_its_stages(stages: int) -> None:
    settings = {"core.pipeline.stages": str(stages)}
    found = view(guest("patches").machine(core="inorder", timing="exact", settings=settings))
    names = ["F", *(f"S{n}" for n in range(2, stages + 1))]
    assert [name for name, _ in found[-1].stages] == names
    check_stages("inorder", found, names)


@pytest.mark.parametrize("core", STAGES)
@pytest.mark.parametrize("of", PROGRAMS)
def test_cycles_lost_are_those_beyond_the_instructions(of: str, core: str) -> None:
    """With traps, interrupts, sleep, a coprocessor, host calls, added instructions, code that changes."""
    options: dict[str, Any] = {"memory": []} if core == "vexriscv-custom" else {}
    machine = guest(of).machine(core=core, timing="exact", **options)
    limit = 90_000 if of == "conv" else 20_000  # its coprocessor begins late
    found = view(machine, limit)
    result = machine.result()
    by_function: Counter[str] = Counter()
    by_line: Counter[str] = Counter()
    for function in result.functions:
        by_function.update(function.lost_cycles)
    for line in machine.line_profile():
        by_line.update(line.lost_cycles)
    by_pc: Counter[str] = Counter()
    for causes in machine.lost_cycles().values():
        by_pc.update(causes)
    assert by_function == by_line == by_pc
    assert by_function.total() == result.cycles - result.instructions
    assert sum(line.cycles for line in machine.line_profile()) == result.cycles
    assert sum(line.instructions for line in machine.line_profile()) == result.instructions
    assert by_function["coprocessor"] == (result.accelerator.core_wait_cycles if result.accelerator else 0)
    assert by_function["coprocessor"] or of != "conv"
    check_stages(core, found)
    assert sum(row.retires for row in found) == result.instructions
    assert sum(not row.retires for row in found) == machine.hart.traps
    # A view changes nothing.
    plain = guest(of).machine(core=core, timing="exact", **options)
    plain.run(limit)
    assert plain.result().replace(host_seconds=0) == result.replace(host_seconds=0)


@pytest.mark.parametrize(
    ("memory", "name", "cause"),
    [("ideal", "csrs_mstatus", "csr"), ("ideal", "div_small", "divide"), ("i1", "alu_dep", "fetch")],
)
def test_hover_text_says_what_was_waited_for(memory: str, name: str, cause: str) -> None:
    machine = Machine(program(name), core="ibex-small", platform=f"rtl-{memory}")
    found = view(machine, start="roi")
    told: Counter[str] = Counter()
    for row in found:
        for each in row.hover.partition(" lost: ")[2].split(", "):
            if each:
                told[each.split(" ")[0]] += int(each.split(" ")[1])
    assert told.most_common(1)[0][0] == cause


def test_a_wait_for_the_coprocessor_is_in_the_stage_that_executes() -> None:
    machine = guest("conv").machine(core="cv32e40p", timing="exact")
    found = view(machine)
    longest = max(found, key=lambda row: row.end - row.stages[0][1])
    name, start, end = max(longest.spans(), key=lambda span: span[2] - span[1])
    assert name == "EX"
    waited = machine.result().accelerator.core_wait_cycles  # type: ignore[union-attr]
    assert f"coprocessor {end - start - 1}" in longest.hover and end - start - 1 <= waited


def test_instructions_are_those_that_were_executed() -> None:
    """Also where code changes under way: the words are those of the commit log."""
    log: list[bytes] = []
    machine = guest("patches").machine(core="cv32e40p", timing="exact")
    found = view(machine)
    logged = guest("patches").machine(core="cv32e40p", timing="exact")
    logged.log_commits(log.append)
    logged.run()
    texts = {}
    lines = b"".join(log).decode().splitlines()
    assert len(lines) == len(found)
    for line, row in zip(lines, found, strict=True):
        word = line.split("(")[1].partition(")")[0]
        assert texts.setdefault((row.pc, word), row.label) == row.label
    assert len({pc for pc, _ in texts}) < len({(pc, label) for (pc, _), label in texts.items()}) == len(texts)


def test_where_a_view_begins_and_ends() -> None:
    of = program("load_use", "ibex-small")

    def machine() -> Machine:
        return Machine(of, core="ibex-small", platform="rtl-d2")

    whole = view(machine())
    roi = view(machine(), start="roi")
    start, stop = of.symbol("roi_start"), of.symbol("roi_stop")
    assert start is not None and stop is not None
    at = [row.pc for row in whole].index(start.address)
    assert roi[0].pc == start.address and roi[-1].pc == stop.address
    assert [row[2:] for row in roi] == [row[2:] for row in whole[at : at + len(roi)]]
    named = view(machine(), start="roi_start")
    assert [row[2:] for row in named] == [row[2:] for row in whole[at:]]
    cycle = int(whole[at].hover.partition("retired in cycle ")[2].split(";")[0])
    assert view(machine(), start=cycle)[0].pc == start.address
    assert view(machine(), start=cycle + 1)[0].pc != start.address
    assert [row.stages for row in view(machine(), start="roi", count=5)] == [row.stages for row in roi[:5]]
    assert view(machine(), start=10**9) == []
    with pytest.raises(UsageError, match="a symbol of"):
        Konata(machine(), [].append, start="nowhere")


def test_names_of_the_program_cannot_break_the_file() -> None:
    machine = guest("hello").machine(core="ibex-small", timing="exact")
    names = [Symbol(**{**vars(f), "name": "a\tb\nR\t0"}) for f in machine.program.functions] or [
        Symbol("a\tb\nR\t0", machine.pc, 1 << 16)
    ]
    machine.program = machine.program.replace(functions=tuple(names))
    assert all("a?b?R?0" in row.hover for row in view(machine)[:3])


def run(tmp_path: Path, *options: str) -> int:
    return main(["run", "hello", "--timing", "exact", "--quiet", *options])


def test_the_command_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "view"
    assert run(tmp_path, "--konata", str(file), "--konata-from", "main", "--konata-count", "7") == 0
    assert f"{file} ends behind 7 instructions; --konata-count N allows more" in capfd.readouterr().err
    assert len(parse(file.read_text())) == 7
    assert run(tmp_path, "--konata", str(file), "--konata-from", "1_000_000") == 0
    assert "is empty: the run did not come to 1_000_000" in capfd.readouterr().err
    assert parse(file.read_text()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--konata", "{tmp}"], "is a directory"),
        (["--konata", "{tmp}/none/file"], "there is no folder"),
        (["--konata", "{tmp}/f", "--timing", "table"], "needs exact cycles"),
        (["--konata", "{tmp}/f", "--konata-from", "roi"], "no device rtl-bench"),
        (["--konata", "{tmp}/f", "--konata-from", "-1"], "expected"),
        (["--konata", "{tmp}/f", "--konata-from", "nowhere"], "none of that name"),
        (["--konata", "{tmp}/f", "--konata-count", "0"], "positive"),
        (["--konata-from", "3"], "--konata FILE"),
        (["--konata", "{tmp}/f", "--gdb", "1"], "exclude each other"),
        (["--konata", "{tmp}/f", "--commit-log", "{tmp}/f"], "both name"),
    ],
)
def test_what_cannot_work_is_refused(
    tmp_path: Path, options: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, *(option.format(tmp=tmp_path) for option in options)) not in (0, 1)
    assert message in capfd.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_a_full_disk_ends_the_run(capfd: pytest.CaptureFixture[str]) -> None:
    elf = str(Path(__file__).parents[2] / "kernels/bench/conv3x3.elf")
    options = ["--timing", "exact", "--quiet", "--konata-count", "1e9", "--max-instructions", "1e9"]
    assert main(["run", elf, *options, "--konata", "/dev/full"]) not in (0, 124)
    assert "cannot write /dev/full: No space left on device" in capfd.readouterr().err


def test_lines_are_in_the_document_and_the_tables(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "run.json"
    assert main(["run", "fc_int8", "--timing", "exact", "--lines", "--json", str(file)]) == 0
    shown = capfd.readouterr().out
    result = decode(file.read_bytes())
    assert sum(line.cycles for line in result.lines) == result.cycles
    assert sum(sum(line.lost_cycles.values()) for line in result.lines) == result.cycles - result.instructions
    top = result.lines[0]
    assert top.line and os.path.basename(top.file) in shown and "Cycles lost by line" in shown
    cycles = [line.cycles for line in result.lines]
    assert cycles == sorted(cycles, reverse=True)
    assert main(["run", "fc_int8", "--timing", "exact", "--json", "-"]) == 0
    assert decode(capfd.readouterr().out).lines == []


def test_a_listing_says_what_each_instruction_lost(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["disasm", "fc_int8", "--counts", "--timing", "exact"]) == 0
    total: Counter[str] = Counter()
    for line in capfd.readouterr().out.splitlines():
        for each in line.partition("\t# ")[2].split(", "):
            if each:
                total[each.split(" ")[0].replace("-", "_")] += int(each.split(" ")[1])
    machine = Machine.from_elf(find_program("fc_int8"), timing="exact", stdout=lambda data: None)
    expected: Counter[str] = Counter()
    for function in machine.run().functions:
        expected.update(function.lost_cycles)
    assert total == expected and total
