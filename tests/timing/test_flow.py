"""Cycles from counts: against RTL cycle counts, and against the exact model where there is no RTL."""

from __future__ import annotations

from pathlib import Path

import pytest

from rvsim.errors import UsageError
from rvsim.machine import Machine, machine
from tests.timing.fast_against_exact import CORES, counted, retimed
from tests.timing.rtl import program, rows

BENCH = Path(__file__).parents[2] / "kernels" / "bench"
# Signs of products are not counted: half of them are taken to be negative (docs/pipelines.md).
SIGNED_PRODUCTS = ("mulh", "mulhsu")


@pytest.mark.parametrize("of", ["kernels", "micro-benchmarks"])
def test_one_run_gives_the_cycles_of_every_core_and_memory(of: str) -> None:
    """Of 1,008 kernel rows at most 1 % are off by more than 0.5 %, none by 1 %; three in four are exact."""
    errors = {row: off for row, off, _ in retimed(lambda row: row.is_kernel == (of == "kernels"))}
    far = [(row, off) for row, off in errors.items() if off > 0.005 and not row.program.startswith(SIGNED_PRODUCTS)]
    exact = sum(off == 0 for off in errors.values()) / len(errors)
    if of == "kernels":
        assert len(far) <= 0.01 * len(errors), far
        assert max(errors.values()) < 0.01
        assert exact > 0.74
    else:
        # An ecall's way back is known by its count alone.
        assert all(row.program == "ecall_mret" for row, _ in far), far
        assert exact > 0.98


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("memory", ["ideal", "i2d2"])
def test_fast_agrees_with_exact_on_every_kernel(core: str, memory: str) -> None:
    """Short runs are stepped as a whole, and say so: fast is exact there."""
    for row in rows():
        if row.core == core and row.memory == memory and row.is_kernel:
            result = Machine(program(row.program), core=core, platform=f"rtl-{memory}", timing="fast").run()
            assert result.roi is not None
            assert (result.roi.cycles, result.timing) == (row.cycles, "exact"), row


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("guest", ["calls", "branchy_s", "gemv"])
def test_fast_agrees_with_exact_on_long_programs(core: str, guest: str, tmp_path: Path) -> None:
    """Within 0.5 %, with wait states of two cycles on every access."""
    slow = tmp_path / "slow.toml"
    slow.write_text(
        'name = "slow"\nsource = "test"\n[[region]]\nname = "ram"\nbase = 0x10000\nsize_kib = 8192\naccess = "rwx"\n'
        "fetch_wait = 2\nload_wait = 2\nstore_wait = 2\n"
    )
    results = {}
    for timing in ("exact", "fast"):
        m = Machine.from_elf(
            BENCH / f"{guest}.elf", core=core, platform=str(slow), timing=timing, stdout=lambda data: None
        )
        results[timing] = m.run(6_000_000)
    exact, fast = results["exact"], results["fast"]
    assert (exact.timing, fast.timing) == ("exact", "fast")
    assert fast.instructions == exact.instructions
    assert abs(fast.cycles / exact.cycles - 1) < 0.005
    # What was lost to each cause agrees too, and is all that was lost.
    lost: dict[str, dict[str, int]] = {"exact": {}, "fast": {}}
    for timing, result in results.items():
        assert result.cycles == sum(f.cycles for f in result.functions)
        for function in result.functions:
            for cause, n in function.lost_cycles.items():
                lost[timing][cause] = lost[timing].get(cause, 0) + n
        # Cycles of the ecall that ends the run are lost to nothing.
        assert 0 <= result.cycles - result.instructions - sum(lost[timing].values()) <= 4
    for cause, n in lost["exact"].items():
        assert abs(lost["fast"].get(cause, 0) - n) < 0.005 * exact.cycles, cause


@pytest.mark.parametrize("first", [0, 500, 3000])
def test_where_counting_begins_does_not_matter(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regions of interest that begin in one part of a run and end in the other."""
    monkeypatch.setattr(machine, "STEPPED", first)
    for row in rows():
        if row.is_kernel and row.core == "ibex-maxperf" and row.memory == "i1" and row.program.endswith(".Os"):
            result = Machine(program(row.program), core=row.core, platform="rtl-i1", timing="fast").run()
            assert result.timing == "fast" and result.engine != "interpreter"
            assert result.roi is not None
            assert abs(result.roi.cycles / row.cycles - 1) < 0.005, row


def test_the_counts_of_a_run_do_not_depend_on_what_executed_it() -> None:
    def cycles(**options: str) -> list[int]:
        result = Machine(program("quicksort.O2"), platform="rtl-ideal", **options).run()  # type: ignore[arg-type]
        return [result.retime(core, "rtl-i1").cycles for core in CORES]

    expected = cycles(timing="exact", core="cv32e40p")
    assert cycles(timing="table", core="ideal", engine="jit") == expected
    assert cycles(timing="table", core="picorv32", engine="interp") == expected


def test_memory_is_given_by_the_regions_of_the_run() -> None:
    result = counted("matmul.O2")
    by_name = result.retime("ibex-small", {"ram": {"load_wait": 2, "store_wait": 2}})
    of_platform = result.retime("ibex-small", "rtl-d2")
    assert by_name.platform == "ram load_wait=2, ram store_wait=2"
    # The platform's device waits too, and is used outside this function alone.
    first, second = (next(f for f in r.functions if f.name == "bench_run") for r in (by_name, of_platform))
    assert first == second
    fetch = result.retime("ibex-small", {"ram": {"fetch_wait": 1}}).cycles
    assert result.retime("ibex-small").cycles < fetch < by_name.cycles * 2


def test_accesses_to_each_memory_wait_as_it_does(tmp_path: Path) -> None:
    """Loads of two memories by one instruction: as many wait as went there."""
    from rvsim.asm import assemble

    source = """
        .globl _start
        _start: lui s0, 0x10          # slow: 0x10000, where the code is
                lui s1, 0x20          # fast: 0x20000
                li a0, 0
                li a1, 400
        loop:   andi a2, a0, 3
                mv a3, s0
                bnez a2, 1f
                mv a3, s1
        1:      lw a4, 0(a3)
                addi a0, a0, 1
                bne a0, a1, loop
                li a7, 93
                li a0, 0
                ecall
    """
    platform = tmp_path / "two.toml"
    platform.write_text(
        'name = "two"\nsource = "test"\n'
        + "".join(
            f'[[region]]\nname = "{name}"\nbase = {base}\nsize_kib = 64\naccess = "rwx"\nload_wait = {wait}\n'
            for name, base, wait in (("slow", 0x10000, 7), ("fast", 0x20000, 0))
        )
    )
    path = tmp_path / "two.elf"
    path.write_bytes(assemble(source, text=0x10000))
    run = Machine.from_elf(path, core="ibex-small", platform=str(platform), timing="exact").run()
    assert run.timing == "exact"
    assert run.retime().cycles == run.cycles


def test_a_result_says_what_it_is() -> None:
    result = counted("fir.Os")
    again = result.retime("hazard3-fast", "rtl-d2", {"core.clock_mhz": "50"})
    assert (again.core, again.platform, again.timing, again.clock_mhz) == ("hazard3-fast", "rtl-d2", "fast", 50.0)
    assert again.instructions == result.instructions and again.classes == result.classes
    assert again.traffic == result.traffic and again.energy_pj is None
    # What was retimed can be retimed.
    assert again.retime("ibex-small", "rtl-i1").cycles == result.retime("ibex-small", "rtl-i1").cycles
    assert result.replace(message="x").retime("ibex-small").cycles == result.retime("ibex-small").cycles


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"core": "ideal"}, "core ideal has no exact model"),
        ({"core": "vexriscv-custom"}, "core vexriscv-custom: its caches, or its branch predictor, remember"),
        ({"core": "nothing"}, "nothing"),
        ({"memory": "nowhere"}, "nowhere"),
        ({"memory": "rp2350-hazard3"}, "rp2350-hazard3"),
        ({"memory": "ibex-demo"}, "its code was at 0x80000080, where platform ibex-demo has no region"),
        ({"memory": {"flash": {"load_wait": 1}}}, "expected one of the run's regions ram-low, ram, found 'flash'"),
        ({"memory": {"ram": {"wait": 1}}}, "expected fetch_wait, load_wait or store_wait, found 'wait'"),
        ({"memory": {"ram": {"load_wait": -1}}}, "ram.load_wait: expected 0 to 1000 cycles, found -1"),
        ({"memory": {"ram": {"load_wait": "2"}}}, "ram.load_wait: expected 0 to 1000 cycles, found '2'"),
        ({"settings": {"accel.pe_rows": "4"}}, "retime changes core and memory"),
    ],
)
def test_what_cannot_be_retimed_is_refused(arguments: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(UsageError) as refused:
        counted("empty").retime(**arguments)
    assert message in str(refused.value)


def test_a_result_from_a_file_has_no_counts() -> None:
    from rvsim.machine.result import decode

    with pytest.raises(UsageError, match="no counts to retime"):
        decode(counted("empty").to_json()).retime("ibex-small")


def test_a_fast_machine_does_not_go_back(tmp_path: Path) -> None:
    m = Machine.from_elf(BENCH / "branchy_s.elf", timing="fast", stdout=lambda data: None)
    m.run(2000)
    m.reset()
    m.run(2_000_000)
    with pytest.raises(UsageError, match="does not go back"):
        m.reset()
    with pytest.raises(UsageError, match="takes no snapshots"):
        m.save(tmp_path / "x.snap")
    with pytest.raises(UsageError, match="takes no snapshots"):
        m.checkpoint()


def test_a_core_without_a_model_is_refused() -> None:
    with pytest.raises(UsageError, match="--timing exact, fast: core ideal has no exact model"):
        Machine(program("empty"), core="ideal", timing="fast")


@pytest.mark.parametrize("memory", ["ideal", "i2d2"])
def test_cores_that_counts_say_too_little_of_are_stepped(memory: str) -> None:
    """The run says so, and is exact."""
    for row in rows():
        if (row.core, row.memory, row.is_kernel) == ("vexriscv-custom", memory, True):
            m = Machine(program(row.program, row.core), core=row.core, platform=f"rtl-{memory}", timing="fast")
            assert "caches, or its branch predictor, remember what counts do not say" in m.warnings[-1]
            result = m.run()
            assert result.roi is not None
            assert (result.timing, result.roi.cycles) == ("exact", row.cycles)
