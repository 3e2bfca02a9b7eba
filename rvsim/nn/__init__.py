"""Quantised networks: reading a .tflite file and compiling one of its layers to an ELF."""
