"""SRAM energies: CACTI's rows where there is one, something between its neighbours elsewhere, bounded beyond."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvsim.energy.sram import MAX_BANKS, cacti

DATA = Path(__file__).parent / "data" / "cacti_sram.csv"
PROCESSES = {("0.045", "itrs-lop"): "45nm-lop", ("0.045", "itrs-hp"): "45nm-hp", ("0.022", "itrs-lop"): "22nm-lop"}
ROWS = [(PROCESSES[row["tech_um"], row["cell_type"]], row) for row in csv.DictReader(DATA.read_text().splitlines())]

processes = st.sampled_from(sorted(PROCESSES.values()))
sizes = st.floats(min_value=1, max_value=256)
widths = st.floats(min_value=32, max_value=128)


def test_all_rows_of_cacti_are_there_exactly() -> None:
    assert len(ROWS) == sum(len(table.rows) for table in cacti().values()) == 81
    for process, row in ROWS:
        found = cacti()[process].lookup(float(row["size_kB"]), float(row["bus_bits"]))
        expected = [float(row[key]) for key in ("read_pJ", "write_pJ", "leakage_mW", "area_mm2")]
        assert [*found] == [*expected, 1.0]


@given(processes, sizes, widths)
def test_between_rows_it_is_between_their_values(process: str, size: float, width: float) -> None:
    table = cacti()[process]
    low, high = 2 ** math.floor(math.log2(size)), 2 ** math.ceil(math.log2(size))
    left, right = 2 ** math.floor(math.log2(width)), 2 ** math.ceil(math.log2(width))
    corners = [table.rows[min(s, 256), min(w, 128)] for s in (low, high) for w in (left, right)]
    found = table.lookup(size, width)
    for n in range(4):
        values = [corner[n] for corner in corners]
        assert min(values) * (1 - 1e-12) <= found[n] <= max(values) * (1 + 1e-12)


@given(processes, st.floats(min_value=0.01, max_value=256 * MAX_BANKS / 4), st.floats(min_value=1, max_value=4), widths)
def test_a_larger_memory_takes_no_less(process: str, size: float, factor: float, width: float) -> None:
    table = cacti()[process]
    small, large = table.lookup(size, width), table.lookup(size * factor, width)
    for n in range(4):
        assert small[n] <= large[n] * (1 + 1e-9)


# CACTI chose another organisation for these, so that the wider memory takes less for a read.
WIDER_TAKES_LESS = {("45nm-lop", 4, 64, 128), ("45nm-hp", 16, 32, 64), ("22nm-lop", 1, 32, 64)}


def test_a_wider_memory_takes_more_where_cacti_says_so() -> None:
    found = set()
    for process, table in cacti().items():
        for size in table.sizes:
            for narrow, wide in ((32, 64), (64, 128)):
                assert table.rows[size, narrow].write_pj < table.rows[size, wide].write_pj
                if table.rows[size, narrow].read_pj > table.rows[size, wide].read_pj:
                    found.add((process, size, narrow, wide))
    assert found == WIDER_TAKES_LESS


@given(sizes, widths)
def test_a_smaller_node_takes_less_for_an_access(size: float, width: float) -> None:
    small, large = (cacti()[process].lookup(size, width) for process in ("22nm-lop", "45nm-lop"))
    assert small.read_pj < large.read_pj
    assert small.write_pj < large.write_pj


@given(processes, st.integers(min_value=2, max_value=16))
def test_wider_than_the_widest_is_several_side_by_side(process: str, beside: int) -> None:
    table = cacti()[process]
    one, all_ = table.lookup(8, 128), table.lookup(8 * beside, 128 * beside)
    assert all_[:4] == pytest.approx([value * beside for value in one[:4]])


def test_beyond_the_largest_row_banks_leak_and_accesses_grow_as_they_did() -> None:
    table = cacti()["45nm-lop"]
    last, now = table.rows[128, 32], table.rows[256, 32]
    found = table.lookup(1024, 32)
    assert found.leakage_mw == pytest.approx(4 * now.leakage_mw)
    assert found.read_pj == pytest.approx(now.read_pj * (now.read_pj / last.read_pj) ** 2)
    assert found.spread > 1


@pytest.mark.parametrize(
    ("size", "width"), [(0, 32), (-1, 32), (8, 0), (math.nan, 32), (math.inf, 32), (256 * MAX_BANKS + 1, 32)]
)
def test_what_cannot_be_is_refused(size: float, width: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        cacti()["45nm-lop"].lookup(size, width)
