"""`rvsim compile`: the list of operators, the ELF, and every refusal with its exit status."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from rvsim.cli.main import main


def test_list(models_dir, capsys):
    assert main(["compile", str(models_dir / "mlperf_kws_dscnn.tflite"), "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["layer", "operator", "input", "weights", "output", "MACs", "can", "be", "compiled"]
    assert lines[1].split() == ["0", "CONV_2D", "1x49x10x1", "64x10x4x1", "1x25x5x64", "320,000", "yes"]
    assert lines[10].split() == ["9", "AVERAGE_POOL_2D", "1x25x5x64", "-", "1x1x1x64", "0", "yes"]
    assert lines[11].split() == ["10", "RESHAPE", "1x1x1x64", "-", "1x64", "-", "no"]
    assert len(lines) == 14


def test_layer(models_dir, tmp_path, capsys):
    elf, npy = tmp_path / "layer.elf", tmp_path / "x.npy"
    np.save(npy, np.load(models_dir / "mlperf_kws_dscnn.io.npz")["x0"][0])
    model = str(models_dir / "mlperf_kws_dscnn.tflite")
    assert main(["compile", model, "--layer", "0", "-o", str(elf), "--input", str(npy), "--optimise", "s"]) == 0
    out = capsys.readouterr().out
    for text in (f"{elf}: layer 0 CONV_2D", "1x49x10x1", "1x25x5x64", "weights  2,560 bytes, kernel 10x4", "320,000"):
        assert text in out
    assert elf.read_bytes()[:4] == b"\x7fELF"
    assert main(["run", str(elf)]) == 0
    assert capsys.readouterr().out.startswith("layer 0 CONV_2D: checksum 0x")


def test_both_inputs_of_a_sum(models_dir, tmp_path, capsys):
    tensors = np.load(models_dir / "mlperf_resnet8.tensors.npz")
    record = json.loads((models_dir / "mlperf_resnet8.json").read_text())["operators"][3]
    files = []
    for i in record["inputs"]:
        np.save(tmp_path / f"{i}.npy", tensors[f"t{i}"])
        files += ["--input", str(tmp_path / f"{i}.npy")]
    elf, out = str(tmp_path / "add.elf"), tmp_path / "out.npy"
    assert main(["compile", str(models_dir / "mlperf_resnet8.tflite"), "--layer", "3", "-o", elf, *files]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("  input")] == [
        f"  input    1x32x32x16 int8, from {path}" for path in files[1::2]
    ]
    assert main(["run", elf, "--accel", "on", "--output", str(out)]) == 0
    np.testing.assert_array_equal(np.load(out), tensors[f"t{record['outputs'][0]}"])


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (
            ["-o", "x.elf"],
            2,
            "whole networks are not supported yet: choose one layer with --layer N (--list shows them)",
        ),
        (["--layer", "0"], 2, "no file to write: name the ELF with -o"),
        (
            ["--layer", "15", "-o", "x.elf"],
            65,
            "layer 15, SOFTMAX, cannot be compiled. Layers that can be compiled: 0, 1,",
        ),
        (
            ["--layer", "12", "-o", "x.elf", "--input", "x.npy", "--input", "y.npy"],
            2,
            "layer 12 (AVERAGE_POOL_2D): expected 1 --input at most, found 2",
        ),
        (["--layer", "3", "-o", "x.elf", *["--input", "x.npy"] * 3], 2, "(ADD): expected 2 --input at most, found 3"),
        (["--layer", "16", "-o", "x.elf"], 2, "no layer 16; its 16 operators are counted from 0"),
        (["--layer", "-1", "-o", "x.elf"], 2, "no layer -1; its 16 operators are counted from 0"),
        (["--layer", "0", "-o", "m.tflite"], 2, "is the model itself: name another file with -o"),
        (["--layer", "0", "-o", "absent/x.elf"], 73, "absent/x.elf: cannot be written: No such file or directory"),
        (["--layer", "0", "-o", "x.elf", "--input", "x.npy"], 65, "x.npy: cannot read the input: No such file"),
        (["--layer", "0", "-o", "x.elf", "--optimise", "9"], 2, "invalid choice: '9'"),
    ],
)
def test_refused(models_dir, tmp_path, monkeypatch, capsys, arguments, status, message):
    monkeypatch.chdir(tmp_path)
    # A copy: one of the cases names the model as the output, and the models are not ours to lose.
    original = (models_dir / "mlperf_resnet8.tflite").read_bytes()
    Path("m.tflite").write_bytes(original)
    assert main(["compile", "m.tflite", *arguments]) == status
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert os.listdir(tmp_path) == ["m.tflite"]
    assert Path("m.tflite").read_bytes() == original


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [(b"\x7fELF", 0o444, "exists and is write-protected"), (b"my thesis", 0o644, "exists and is no ELF")],
)
def test_no_file_is_lost(models_dir, tmp_path, capsys, content, mode, message):
    target = tmp_path / "x.elf"
    target.write_bytes(content)
    target.chmod(mode)
    model = str(models_dir / "mlperf_resnet8.tflite")
    assert main(["compile", model, "--layer", "0", "-o", str(target)]) == 73
    assert message in capsys.readouterr().err
    assert target.read_bytes() == content


def test_no_model(tmp_path, capsys):
    (tmp_path / "m.tflite").write_bytes(b"not a model")
    assert main(["compile", str(tmp_path / "m.tflite"), "--list"]) == 65
    assert "m.tflite: not a well-formed .tflite model: expected the identifier b'TFL3'" in capsys.readouterr().err
