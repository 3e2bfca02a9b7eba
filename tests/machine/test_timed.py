"""Exact cycles: however a run is cut up, its pipeline is shown the same; what no core can have is refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvsim.asm import assemble
from rvsim.cli.main import main
from rvsim.errors import UsageError
from rvsim.machine import Machine
from rvsim.machine.elf import parse_elf
from rvsim.machine.reuse import ReuseDistances
from rvsim.timing import core_names, load_core_timing
from rvsim.timing._exact import Pipeline, model_fields, model_names
from tests.machine.programs import LIMIT, guest

CORES = [name for name in core_names() if load_core_timing(name).model]
PROGRAMS = ("timer", "patches", "htif", "atomics", "mac", "hello", "conv")


def machine(program: str, core: str, **options: Any) -> Machine:
    each = guest(program)
    if core == "vexriscv-custom":  # addresses from 0x80000000 on are I/O to it; so are the programs' own
        options["memory"] = []
    return each.machine(core=core, timing="exact", **options)


def counts(m: Machine) -> Any:
    result = m.result()
    functions = {f.name: (f.instructions, f.cycles) for f in result.functions}
    return (
        result.instructions,
        result.cycles,
        result.taken_branches,
        functions,
        m.hart.profile() and sum(functions_of(m)),
    )


def functions_of(m: Machine) -> list[int]:
    return [cycles for _, _, _, _, cycles in m.hart.profile()]


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_slices_steps_and_the_commit_log_count_the_same(program: str, core: str) -> None:
    whole = machine(program, core)
    whole.run(LIMIT)
    assert sum(f.cycles for f in whole.result().functions) == whole.result().cycles
    sliced = machine(program, core)
    for n in (1, 2, 3, 50, 7, 1, 1, 400, LIMIT - 465):
        if sliced.run(n).stop_reason != "limit":
            break
    assert counts(sliced) == counts(whole)
    logged = machine(program, core)
    logged.log_commits(io.BytesIO().write)
    logged.run(LIMIT)
    assert counts(logged) == counts(whole)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_snapshot_goes_on_as_if_nothing_had_been(program: str, core: str, tmp_path: Path) -> None:
    whole = machine(program, core)
    whole.run(LIMIT)
    first = machine(program, core)
    first.run(33)
    before = first.checkpoint()
    first.run(5)
    first.rollback(before)
    first.save(tmp_path / "x.snap")
    second = Machine.load(tmp_path / "x.snap", **guest(program).streams())
    for each in (first, second):
        each.run(LIMIT - 33)
        assert counts(each) == counts(whole)


def test_mcycle_is_the_pipeline_s() -> None:
    """Two reads: what lies between them, on Hazard3 with a multiplication of 34 cycles."""
    source = (
        "_start: nop\n nop\n csrr a0, mcycle\n mul a1, a2, a3\n csrr a4, mcycle\n sub a0, a4, a0\n li a7, 93\n ecall\n"
    )
    for core, cycles in (("hazard3-small", 35), ("hazard3-fast", 2), ("ibex-small", 4)):
        result = Machine(parse_elf(assemble(source)), core=core, timing="exact").run()
        assert result.exit_code == cycles, core


# ------------------------------------------------------------------------------------------------------------ bad input
@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["model = 'nonsense'"], "model: expected one of ibex, cv32e40p"),
        (["model = 'ibex'"], "expected a number for each of model ibex, found none for writeback, branch_target"),
        (
            ["model = 'cv32e40p'", "[pipeline]", "mulh = 0", "div_base = 3", "flush = 2"],
            "mulh: expected 1 to 255, found 0",
        ),
        (["model = 'cv32e40p'", "[pipeline]", "mulh = 999", "div_base = 3", "flush = 2"], "mulh: expected 1 to 255"),
        (["model = ''"], "has no exact model"),
    ],
)
def test_models_that_cannot_be(lines: list[str], message: str, tmp_path: Path) -> None:
    ideal = Path(load_core_timing.__code__.co_filename).with_name("cores") / "ideal.toml"
    text = ideal.read_text()
    head, _, tables = text.partition("[cycles]")
    top = [line for line in lines if line.startswith("model")]
    rest = lines[len(top) :]
    (tmp_path / "x.toml").write_text("\n".join([head, *top, "[cycles]" + tables, *rest]) + "\n")
    with pytest.raises(UsageError) as raised:
        Machine.from_elf(guest("hello").source, core=str(tmp_path / "x.toml"), timing="exact")
    assert message in str(raised.value)


def test_stack_distances_are_not_of_exact_cycles(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="make it with timing='table'"):
        ReuseDistances(machine("hello", "ibex-small"))
    assert main(["caches", str(guest("hello").source), "--timing", "exact"]) == 2
    assert "counts misses, not cycles" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "".join(f'[[region]]\nname = "r{n}"\nbase = {n << 16:#x}\nsize_kib = 4\n' for n in range(1, 33)),
            "platform mine: expected at most 31 regions for exact cycles, found 32",
        ),
        (
            '[[region]]\nname = "r"\nbase = 0x80000000\nsize_kib = 256\nload_wait = 900\n'
            "[wait_states.ibex-small]\nload = 101\n",
            "wait states of a region and of core ibex-small add up to 1001; expected at most 1000",
        ),
    ],
)
def test_platforms_that_exact_cycles_cannot_have(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('name = "mine"\n' + text)
    with pytest.raises(UsageError, match=message):
        machine("hello", "ibex-small", platform=str(tmp_path / "x.toml"))


CHOOSES_A_REGISTER = """
InstructionSet Chosen extends RV32I { instructions {
  copy_chosen { encoding: 7'd0 :: rs2[4:0] :: rs1[4:0] :: 3'd0 :: rd[4:0] :: 7'b0001011;
    assembly: "{name(rd)}, {name(rs1)}, {name(rs2)}";
    behavior: { X[rd] = X[X[rs1] & 31]; } } } }
"""


def test_an_added_instruction_may_choose_its_register(tmp_path: Path) -> None:
    (tmp_path / "x.core_desc").write_text(CHOOSES_A_REGISTER)
    source = "_start: li a1, 10\n li a0, 9\n .insn r 0x0b, 0, 0, a0, a1, a2\n li a7, 93\n ecall\n"
    elf = parse_elf(assemble(source))
    result = Machine(elf, core="cv32e40p", timing="exact", isa_ext=(str(tmp_path / "x.core_desc"),)).run()
    assert (result.exit_code, result.timing) == (9, "exact")


def test_exact_and_caches_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="no exact model takes"):
        machine("hello", "ibex-small", dcache="1K,2,16")


def test_the_command_line_chooses(capsys: pytest.CaptureFixture[str]) -> None:
    elf = str(guest("hello").source)
    assert main(["run", elf, "--timing", "exact", "--core", "ideal"]) == 2
    assert "core ideal has no exact model; choose another core, or table" in capsys.readouterr().err
    assert main(["run", elf, "--timing", "exact", "--core", "picorv32", "--quiet"]) == 0


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_state_is_refused_or_goes_on(data: st.DataObject) -> None:
    """Snapshots take hostile bytes: whatever a pipeline is made to stand at, it takes steps."""
    name = data.draw(st.sampled_from(sorted(model_names())))
    params = {"ibex": 2, "cv32e40p": 3, "hazard3": 1, "picorv32": 4, "vexriscv": 8}
    fields = model_fields(name)
    assert fields is not None
    numbers: dict[str, int | str] = {}
    if name == "inorder":
        numbers = load_core_timing(name).pipeline | {"ports": 1, "prefetch_keeps": 2, "predictor": "btb"}
    else:
        numbers = {field: 64 if field == "flush" and name == "vexriscv" else params[name] for field in fields}
    if name in ("ibex", "hazard3"):
        numbers |= {field: 1 for field in fields if field in ("writeback", "branch_target_alu") or name == "hazard3"}
    pipeline = Pipeline(name, numbers, [], (1, 2, 3), 0x8000_0000)
    state = pipeline.state()
    size, contents = len(state["pipeline"]), len(state["contents"])
    state["pipeline"] = data.draw(st.binary(min_size=size, max_size=size))
    if contents:
        state["contents"] = data.draw(st.binary(min_size=64, max_size=64)) * (contents // 64) + bytes(contents % 64)
    try:
        pipeline.restore(state)
    except ValueError as error:
        assert "damaged" in str(error)
        return
    operations = data.draw(st.lists(st.binary(min_size=40, max_size=40), max_size=20))
    records = b"".join(
        bytes([each[0] % 26, 4, each[2] % 32, each[3] % 32, each[4] % 32, 4]) + each[6:] for each in operations
    )
    pipeline.run(records)
