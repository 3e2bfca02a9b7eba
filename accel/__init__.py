"""Coprocessors: the protocol they keep, the registry of presets, and one folder each."""
