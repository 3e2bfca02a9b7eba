"""`rvsim isa list` and `show`: what a hart has, and where an instruction comes from."""

from __future__ import annotations

import pytest

from accel import registry
from rvsim.cli.main import main
from rvsim.isa.bundle import bundled


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["isa", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def sets(lines: list[str]) -> set[str]:
    return {line.split()[0] for line in lines}


def test_list_shows_all_or_what_a_hart_has(capsys: pytest.CaptureFixture[str]) -> None:
    base = {
        "RV32I",
        "Machine",
        "Zicsr",
        "Zifencei",
        *(i.set for kind in registry.kinds() for i in bundled(kind).instructions),
    }
    assert {"XConv", "XSimd"} <= base
    everything = printed(capsys, "list")
    assert sets(everything) == base | {"RVM", "RVA", "RVC", "Zba", "Zbb", "Zbs", "Zcb"}
    assert sets(printed(capsys, "list", "--isa", "rv32i")) == base
    assert sets(printed(capsys, "list", "--isa", "RV32IM_Zba")) == base | {"RVM", "Zba"}
    assert printed(capsys, "list", "--isa", "rv32imac_zba_zbb_zbs_zcb") == everything


@pytest.mark.parametrize(
    ("mnemonic", "first", "extension"),
    [
        ("amoadd.w", "amoadd.w{aqrl:o} {name(rd)},{name(rs2)},({name(rs1)})", "zaamo"),
        ("c.mul", "c.mul {name(8+rd)},{name(8+rs2)}", "zcb and zmmul"),
        ("C_SEXT_B", "c.sext.b {name(8+rd)}", "zbb and zcb"),
        ("mret", "mret", "i"),
        ("conv.start", "conv.start {name(rd)},{name(rs1)}", None),
    ],
)
def test_show_says_which_extension(
    capsys: pytest.CaptureFixture[str], mnemonic: str, first: str, extension: str | None
) -> None:
    lines = printed(capsys, "show", mnemonic)
    assert lines[0] == first
    assert [x.split(maxsplit=1)[1] for x in lines if x.startswith("  extension")] == ([extension] if extension else [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "lr.w", "--isa", "rv32imc"], "rv32imc has no lr.w: it comes with zalrsc"),
        (["show", "srlii", "--isa", "rv32i"], "no instruction 'srlii' in rv32i; did you mean srli"),
        (["show", "dot4"], "no instruction 'dot4'; see rvsim isa list"),
        (["list", "--isa", "rv32e"], "--isa rv32e: rv32e has 16 registers"),
    ],
)
def test_what_is_not_there(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert main(["isa", *arguments]) == 2
    assert message in capsys.readouterr().err
