"""Energy of a run and area of its coprocessor, estimated from counts and parameters (docs/energy.md)."""

from rvsim.energy.area import add_area, area
from rvsim.energy.model import add_energy, coprocessor_energy, estimate
from rvsim.energy.tables import EnergyParameters, load_energy, process_names

__all__ = [
    "EnergyParameters",
    "add_area",
    "add_energy",
    "area",
    "coprocessor_energy",
    "estimate",
    "load_energy",
    "process_names",
]
