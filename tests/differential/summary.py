"""A pytest plugin: say how many random instructions a run of the tests compared with qemu-riscv32."""

from __future__ import annotations

from typing import Any

COMPARED = "instructions compared with qemu-riscv32"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    counts = [
        value
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == COMPARED
    ]
    if counts:
        terminalreporter.write_line(f"{sum(counts):,} random {COMPARED}")
