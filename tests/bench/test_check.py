"""`rvsim bench --check`: a fall beside the reference is found, noise is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rvsim.bench import check
from rvsim.cli import bench
from rvsim.cli.main import main


def document(**guests: float | None) -> dict[str, Any]:
    rows = [
        {
            "guest": guest,
            "peer": peer,
            "ratio": None if ratio is None else {"median": ratio if peer == "rvsim" else 1.0},
        }
        for guest, ratio in guests.items()
        for peer in ("rvsim", "qemu-riscv32")
    ]
    rows.append({"guest": "broken", "peer": "rvsim", "left_out": "no such guest"})
    return {"schema": "rvsim.bench/1", "date": "2026-11-21", "reference": "qemu-riscv32", "results": rows}


@pytest.mark.parametrize(
    ("now", "fallen"),
    [
        ({"conv": 1.0, "gemv": 0.5}, []),
        ({"conv": 0.81, "gemv": 0.41}, []),
        ({"conv": 0.79, "gemv": 0.5}, ["conv"]),
        ({"conv": 0.79, "gemv": 0.39}, ["conv", "gemv"]),
        ({"conv": 9.0, "other": 0.01}, []),
        ({"conv": None}, []),
    ],
)
def test_falls(now: dict[str, float | None], fallen: list[str]) -> None:
    found = check.falls(document(**now), document(conv=1.0, gemv=0.5))
    assert [line.partition(":")[0] for line in found] == fallen


def test_the_line_says_what_was_and_what_is() -> None:
    assert check.falls(document(conv=0.25), document(conv=0.5)) == [
        "conv: 0.250 of qemu-riscv32's speed, 0.500 on 2026-11-21 (-50%, at most -20%)"
    ]


@pytest.mark.parametrize(("ratio", "status"), [(0.9, 0), (0.7, 1)])
def test_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ratio: float, status: int
) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps(document(conv=1.0)))
    (tmp_path / "conv.elf").touch()
    monkeypatch.setattr("rvsim.bench.measure.measure", lambda *a, **k: document(conv=ratio)["results"])
    monkeypatch.setattr("rvsim.bench.peers.find_peers", lambda names: [])
    monkeypatch.setattr(bench, "_instructions", lambda guest: 1)
    monkeypatch.setattr(bench, "_print_table", lambda rows: None)
    assert main(["bench", "--guests", str(tmp_path / "conv.elf"), "--check", str(kept)]) == status
    assert ("conv: 0.700" in capsys.readouterr().err) == bool(status)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "other"}', '{"schema": "rvsim.bench/1"}'])
def test_damaged_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text(text)
    assert main(["bench", "--check", str(kept)]) == 65
    assert "--check" in capsys.readouterr().err
