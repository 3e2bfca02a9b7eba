"""The command line: main.py chooses a command, every other module is one."""
