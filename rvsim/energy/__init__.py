"""Energy of a run, estimated from its counts (docs/energy.md)."""

from rvsim.energy.model import add_energy, estimate
from rvsim.energy.tables import EnergyParameters, load_energy, process_names

__all__ = ["EnergyParameters", "add_energy", "estimate", "load_energy", "process_names"]
