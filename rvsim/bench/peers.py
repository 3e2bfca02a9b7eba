"""Which RISC-V simulators this machine has, and the command that runs a guest under each."""

from __future__ import annotations

import functools
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

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
    environment : tuple of (str, str)
        Variables that its processes get beside ours.
    guests : tuple of str, optional
        The only guests it runs, by the stem of their files; all without.
    """

    name: str
    command: tuple[str, ...]
    version: str
    environment: tuple[tuple[str, str], ...] = ()
    guests: tuple[str, ...] | None = None

    def argv(self, guest: str) -> list[str]:
        """The command for one guest."""
        return [guest if word == GUEST else word for word in self.command]


DCACHE = ("--dcache", "16K,4,32")
PLAIN = (("RVSIM_LOOPS", "0"),)
# Ways to run rvsim: options, environment, guests. The first is what a user gets: compiled code with counted loops.
OWN: dict[str, tuple[tuple[str, ...], tuple[tuple[str, str], ...], tuple[str, ...] | None]] = {
    "rvsim": ((), (), None),
    "rvsim-interp": (("--engine", "interp"), PLAIN, None),
    "rvsim-jit": (("--engine", "jit"), PLAIN, None),
    "rvsim-interp-dcache": (("--engine", "interp", *DCACHE), PLAIN, ("branchy",)),
    "rvsim-jit-dcache": (("--engine", "jit", *DCACHE), PLAIN, ("branchy",)),
}


def find_peers(names: Sequence[str] | None = None) -> list[Peer]:
    """Find rvsim, in each way of running it, and every peer found on this machine, or those of `names` in that order.

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
    own = {name: functools.partial(_rvsim, name) for name in OWN}
    others = {"qemu-riscv32": _qemu, "spike": _spike, "unicorn": _unicorn, "import-numpy": _import_numpy}
    finders: dict[str, Callable[[], Peer | None]] = {**own, **others}
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


def _rvsim(name: str) -> Peer:
    from rvsim._version import __version__

    options, environment, guests = OWN[name]
    script = Path(sys.executable).with_name("rvsim")
    command = (str(script),) if script.exists() else (sys.executable, "-m", "rvsim")
    return Peer(name, (*command, "run", GUEST, "--quiet", *options), __version__, environment, guests)


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


def _import_numpy() -> Peer | None:
    """No simulator: what `rvsim run` may cost at most before a guest's first instruction."""
    if importlib.util.find_spec("numpy") is None:
        return None
    from importlib.metadata import version

    return Peer("import-numpy", (sys.executable, "-c", "import numpy"), version("numpy"), guests=("nop",))


def _first_line(command: list[str]) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return next((line.strip() for line in done.stdout.splitlines() if line.strip()), "unknown")
