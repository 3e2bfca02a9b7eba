"""GDB's remote serial protocol on a machine: registers, memory, breakpoints, running backwards."""
