"""The hart and its memory: load a program, run it, get exact counts."""

from rvsim.machine.machine import Machine
from rvsim.machine.result import RunResult

__all__ = ["Machine", "RunResult"]
