"""Which RISC-V simulators this machine has, and the command that runs a guest under each."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rvsim.errors import UsageError

GUEST = "{guest}"


@dataclass(frozen=True)
class Peer:
    """One simulator.

    Attributes
    ----------
    name : str
        The name in tables, and of `--peers`.
    command : tuple of str
        Arguments of the process; `"{guest}"` stands for the guest's path.
    version : str
        What the simulator says its version is.
    """

    name: str
    command: tuple[str, ...]
    version: str

    def argv(self, guest: str) -> list[str]:
        """The command for one guest."""
        return [guest if word == GUEST else word for word in self.command]


def find_peers(names: Sequence[str] | None = None) -> list[Peer]:
    """Find rvsim and every peer found on this machine, or those of `names` in that order.

    Parameters
    ----------
    names : sequence of str, optional
        Peers that must be there.

    Returns
    -------
    list of Peer

    Raises
    ------
    UsageError
        A name is unknown, or that peer is not on this machine.
    """
    finders = {"rvsim": _rvsim, "qemu-riscv32": _qemu, "spike": _spike, "unicorn": _unicorn}
    if names is None:
        return [peer for find in finders.values() if (peer := find()) is not None]
    peers = []
    for name in names:
        if name not in finders:
            raise UsageError(f"--peers: expected names among {', '.join(finders)}, found {name!r}")
        peer = finders[name]()
        if peer is None:
            raise UsageError(f"--peers: expected {name} on this machine, found none; install it or leave it out")
        peers.append(peer)
    return peers


def _rvsim() -> Peer:
    from rvsim._version import __version__

    return Peer("rvsim", (sys.executable, "-m", "rvsim", "run", GUEST, "--quiet"), __version__)


def _qemu() -> Peer | None:
    path = shutil.which("qemu-riscv32")
    if path is None:
        return None
    return Peer("qemu-riscv32", (path, GUEST), _first_line([path, "--version"]))


def _spike() -> Peer | None:
    """Spike with its proxy kernel, which serves the guest's host calls; Spike alone has none."""
    spike, kernel = shutil.which("spike"), shutil.which("pk")
    if spike is None or kernel is None:
        return None
    return Peer("spike", (spike, "--isa=rv32imc_zicsr_zifencei", kernel, GUEST), _first_line([spike, "--help"]))


def _unicorn() -> Peer | None:
    if importlib.util.find_spec("unicorn") is None:
        return None
    from importlib.metadata import version

    return Peer("unicorn", (sys.executable, "-m", "rvsim.bench.unicorn_runner", GUEST), version("unicorn"))


def _first_line(command: list[str]) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return next((line.strip() for line in done.stdout.splitlines() if line.strip()), "unknown")
