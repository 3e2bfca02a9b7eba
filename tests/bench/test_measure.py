"""The measurement: what counts as a run, what is left out, and the arithmetic of rows."""

from __future__ import annotations

import sys

import pytest

from rvsim.bench.markdown import COLUMNS, cells, markdown
from rvsim.bench.measure import cpu_seconds, document, measure
from rvsim.bench.peers import Peer, find_peers
from rvsim.bench.targets import compared
from rvsim.errors import RvsimError, UsageError


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def peer(name: str, code: str) -> Peer:
    return Peer(name, (*python(code), "{guest}"), "1")


@pytest.fixture
def guest(tmp_path):
    path = tmp_path / "loop.elf"
    path.touch()
    return path


def test_cpu_time_is_counted_and_sleep_is_not():
    busy = cpu_seconds(python("import time\nwhile time.process_time() < 0.3: pass"))
    asleep = cpu_seconds(python("import time\ntime.sleep(0.3)"))
    assert busy >= 0.3
    assert asleep < 0.25


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (python("import sys; sys.exit('no such guest')"), r"expected exit status 0 .*found 1 \(no such guest\)"),
        (python("import os; os.abort()"), r"found -6 \(nothing on stderr\)"),
        (["/nonexistent/simulator"], "expected to start /nonexistent/simulator"),
    ],
)
def test_a_run_that_does_not_end_well_is_an_error(argv, message):
    with pytest.raises(RvsimError, match=message):
        cpu_seconds(argv)


def test_each_round_is_a_sample_and_the_warm_up_is_none(guest, tmp_path):
    log = tmp_path / "log"
    write = "import sys; open({!r}, 'a').write({!r})"
    peers = [peer("rvsim", write.format(str(log), "r")), peer("qemu-riscv32", write.format(str(log), "q"))]
    rows = measure([guest], peers, 3, {"loop": 2_000_000})
    assert log.read_text() == "rq" * 4, "rounds are interleaved, one of them is the warm-up"
    for row in rows:
        taken = row["cpu_seconds"]
        assert len(taken["rounds"]) == 3
        assert taken["min"] <= taken["median"] <= taken["max"]
        assert row["mips"] == pytest.approx(2 / taken["median"])
    own, reference = (row["cpu_seconds"]["rounds"] for row in rows)
    ratios = sorted(b / a for a, b in zip(own, reference, strict=True))
    assert rows[0]["ratio"] == {"median": ratios[1], "min": ratios[0], "max": ratios[2]}
    assert rows[1]["ratio"] == {"median": 1, "min": 1, "max": 1}


def test_a_peer_that_fails_the_warm_up_is_left_out_with_the_reason(guest):
    rows = measure([guest], [peer("rvsim", ""), peer("spike", "raise SystemExit('bad isa')")], 1, {})
    assert "bad isa" in rows[1]["left_out"]
    assert rows[0]["ratio"] is None and rows[0]["mips"] is None
    page = markdown(document(rows, [peer("rvsim", "")], 1, ["rvsim", "bench"]))
    assert "| loop | spike | left out |" in page
    assert "bad isa" in page


def test_rvsim_is_never_left_out(guest):
    with pytest.raises(RvsimError, match="found 3"):
        measure([guest], [peer("rvsim", "raise SystemExit(3)")], 1, {})


def test_a_failure_after_the_warm_up_is_an_error(guest, tmp_path):
    once = f"import os; p = {str(tmp_path / 'ran')!r}; e = os.path.exists(p); open(p, 'w'); raise SystemExit(4 * e)"
    with pytest.raises(RvsimError, match="found 4"):
        measure([guest], [peer("spike", once)], 1, {})


def test_a_row_has_a_cell_for_every_column(guest):
    for row in measure([guest], [peer("qemu-riscv32", "")], 1, {"loop": 1}):
        assert len(cells(row)) == len(COLUMNS)


def test_the_document_says_how_to_repeat_it(guest):
    peers = [peer("rvsim", "")]
    found = document([], peers, 2, ["rvsim", "bench", "--rounds", "2"])
    assert found["schema"] == "rvsim.bench/1"
    assert found["command"] == "rvsim bench --rounds 2"
    assert found["versions"]["rvsim"] == "1"
    assert found["machine"]["cores"] >= 1


def test_unknown_peers_are_refused():
    with pytest.raises(UsageError, match=r"expected names among rvsim, rvsim-interp, .*, import-numpy, found 'qmeu'"):
        find_peers(["qmeu"])


@pytest.mark.peer("qemu-riscv32")
def test_qemu_says_its_version():
    (qemu,) = find_peers(["qemu-riscv32"])
    assert qemu.version.startswith("qemu-riscv32 version")
    assert qemu.argv("x.elf")[1:] == ["x.elf"]


def test_a_simulator_may_run_some_guests_only_and_have_an_environment(guest, tmp_path):
    log = tmp_path / "log"
    write = f"import os; open({str(log)!r}, 'a').write(os.environ.get('RVSIM_LOOPS', '-') + ' ')"
    rows = measure(
        [guest],
        [
            Peer("some", ("no such program",), "1", guests=("another",)),
            Peer("plain", (*python(write),), "1", (("RVSIM_LOOPS", "0"),)),
            peer("other", write),
        ],
        1,
        {},
    )
    assert [row["peer"] for row in rows] == ["plain", "other"]
    assert log.read_text() == "0 wait 0 - ", "only the warm-up waits for compiled loops"


def test_targets_are_compared_with_the_median():
    rows = [
        {"guest": "conv3x3", "peer": "rvsim-jit", "ratio": {"median": 0.75, "min": 0.7, "max": 0.8}},
        {"guest": "conv3x3", "peer": "rvsim", "ratio": {"median": 1.19, "min": 1.0, "max": 1.3}},
        {"guest": "conv3x3", "peer": "qemu-riscv32", "ratio": {"median": 1, "min": 1, "max": 1}},
        {"guest": "gemv_x10", "peer": "rvsim", "ratio": None},
    ]
    assert compared(rows) == [
        ("conv3x3", "rvsim-jit", "0.75", "0.750 (0.700–0.800)", "yes"),
        ("conv3x3", "rvsim", "1.20", "1.190 (1.000–1.300)", "no"),
    ]
