"""rvsim: a RISC-V RV32IMC simulator with exact counts and a convolution coprocessor.

    >>> from rvsim import Machine
    >>> result = Machine.from_elf("conv_int8.elf", accel="on").run()  # doctest: +SKIP

Names are loaded when they are first used, so that `import rvsim` costs nothing.
"""

from __future__ import annotations

from rvsim._version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rvsim.errors import RvsimError
    from rvsim.machine import Machine, RunResult

__all__ = ["Machine", "RunResult", "RvsimError", "__version__"]


def __getattr__(name: str) -> Any:
    if name in ("Machine", "RunResult"):
        from rvsim import machine

        return getattr(machine, name)
    if name == "RvsimError":
        from rvsim.errors import RvsimError

        return RvsimError
    raise AttributeError(f"module 'rvsim' has no attribute {name!r}")
