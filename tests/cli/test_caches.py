"""Caches from the command line: options, the table, JSON, and runs with different ones side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rvsim.cli.main import main
from tests.conftest import ROOT

HELLO = str(ROOT / "kernels" / "examples" / "hello.elf")
CONV = str(ROOT / "kernels" / "examples" / "conv_int8.elf")


def document(capsys: pytest.CaptureFixture[str], *options: str) -> dict:
    assert main(["run", HELLO, "--json", "-", *options]) == 0
    found: dict = json.loads(capsys.readouterr().out)
    return found


def test_without_caches_there_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys)
    assert found["icache"] is None and found["dcache"] is None
    assert all(f["icache_misses"] == f["dcache_misses"] == 0 for f in found["functions"])


def test_short_options_and_settings_are_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    settings = {"size_bytes": "1024", "ways": "2", "line_bytes": "16", "policy": "plru", "write": "through"}
    long = [word for key, value in settings.items() for word in ("--set", f"core.dcache.{key}={value}")]
    toml = tmp_path / "mine.toml"
    ibex = (ROOT / "rvsim" / "timing" / "cores" / "ibex-small.toml").read_text()
    toml.write_text(ibex + '\n[dcache]\nsize_kib = 1\nways = 2\nline_bytes = 16\npolicy = "plru"\nwrite = "through"\n')
    short = document(capsys, "--dcache", "1K,2,16,plru,wt")
    runs = [short, document(capsys, *long), document(capsys, "--core", str(toml))]
    assert short["cycles"] > document(capsys, "--core", str(toml), "--dcache", "off")["cycles"]
    for run in runs:
        run["dcache"]["parameters"].pop("size_bytes", None), run["dcache"]["parameters"].pop("size_kib", None)
    assert runs[0]["dcache"] == runs[1]["dcache"] == runs[2]["dcache"]
    assert {run["cycles"] for run in runs} == {short["cycles"]}
    assert (
        document(capsys, "--dcache", "1K,2,16,plru,wt", "--set", "core.dcache.ways=4")["dcache"]["parameters"]["ways"]
        == 4
    )


def test_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", HELLO, "--icache", "1K,2,16", "--dcache", "1K,2,16"]) == 0
    out = capsys.readouterr().out
    assert "Caches\ncache " in out and "\nicache " in out and "\ndcache " in out
    assert "icache misses  dcache misses\n" in out


def test_compare_has_caches_on_every_run(capsys: pytest.CaptureFixture[str]) -> None:
    """The coprocessor's own port goes past the data cache: fewer accesses with it."""
    assert main(["compare", CONV, "--dcache", "4K,2,32", "--json", "-"]) == 0
    off, on = json.loads(capsys.readouterr().out)["runs"]
    for run in (off, on):
        port = run["accelerator"]["traffic"] if run["accelerator"] else {"load": {"count": 0}, "store": {"count": 0}}
        total = {
            kind: sum(each[kind]["count"] for name, each in run["traffic"].items() if name in ("rom", "ram", "data"))
            for kind in ("load", "store")
        }
        split = run["dcache"]["accesses"] - sum(total[kind] - port[kind]["count"] for kind in total)
        assert 0 <= split < 100
    assert on["dcache"]["accesses"] < off["dcache"]["accesses"] / 2


@pytest.mark.parametrize(
    ("option", "text"), [("--dcache", "16K,4"), ("--icache", "16K,4,32,wt"), ("--dcache", "16K,3,32")]
)
def test_bad_options(option: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", HELLO, option, text]) == 2
    assert "expected" in capsys.readouterr().err
