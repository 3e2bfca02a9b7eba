"""Cycles of cores: one TOML a core, with the source of each number beside it."""

from rvsim.timing.core import CoreTiming, core_names, load_core_timing

__all__ = ["CoreTiming", "core_names", "load_core_timing"]
