"""Host speed of whole simulator processes, rvsim and its peers side by side (`rvsim bench`)."""
