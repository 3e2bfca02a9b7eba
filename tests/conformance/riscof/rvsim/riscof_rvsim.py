"""RISCOF plug-in: rvsim as the device under test.

It runs programs that are there already, those which the reference model's plug-in left in an earlier run's work folder
(`elfs` in config.ini). It does not build any.
"""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import riscof.utils as utils
from riscof.pluginTemplate import pluginTemplate

logger = logging.getLogger()


class rvsim(pluginTemplate):
    """Options of its section in config.ini: pluginpath, ispec, pspec, elfs; rvsim (the command) and jobs if wanted."""

    __model__ = "rvsim"
    __version__ = "1"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        config = kwargs["config"]
        missing = [key for key in ("pluginpath", "ispec", "pspec", "elfs") if key not in config]
        if missing:
            raise SystemExit(f"config.ini: expected {', '.join(missing)} in the section [rvsim]")
        self.pluginpath = os.path.abspath(config["pluginpath"])
        self.isa_spec = os.path.abspath(config["ispec"])
        self.platform_spec = os.path.abspath(config["pspec"])
        self.elfs = Path(config["elfs"]).absolute()
        self.command = shlex.split(config.get("rvsim", "rvsim"))
        self.jobs = int(config.get("jobs", 1))

    def initialise(self, suite: str, work_dir: str, env: str) -> None:
        self.work_dir = Path(work_dir)

    def build(self, isa_yaml: str, platform_yaml: str) -> None:
        hart = utils.load_yaml(isa_yaml)["hart0"]
        self.options = ["--isa", isa_option(hart["ISA"])]
        if not hart["hw_data_misaligned_support"]:
            self.options += ["--set", "core.misaligned=trap"]

    def runTests(self, testlist: dict[str, Any]) -> None:
        with ThreadPoolExecutor(self.jobs) as pool:
            list(pool.map(self._run, testlist.values()))

    def _run(self, test: dict[str, Any]) -> None:
        """Run one test; one without a signature fails (RISCOF gives up where the file is missing, so it is empty)."""
        folder = Path(test["work_dir"])
        signature = folder / f"{self.name[:-1]}.signature"
        signature.touch()
        elfs = sorted((self.elfs / folder.parent.relative_to(self.work_dir)).glob("*/*.elf"))
        if len(elfs) != 1:
            logger.error(f"expected one program for {test['test_path']} below {self.elfs}, found {len(elfs)}")
            return
        command = [*self.command, "run", "--quiet", *self.options, "--max-instructions", "10000000"]
        command += ["--signature", str(signature), "--signature-granularity", "4", str(elfs[0])]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            logger.error(f"{shlex.join(command)} ended with status {done.returncode}: {done.stderr.strip()}")


def isa_option(isa: str) -> str:
    """RISCOF's ``RV32IMACZicsr_Zba`` as ``rv32imac_zicsr_zba``."""
    letters, _, extensions = isa.partition("Z")
    return "_".join(filter(None, [letters.rstrip("_"), *("Z" + extensions if extensions else "").split("_")])).lower()
