"""`rvsim examples`: the programs that come with rvsim."""

from __future__ import annotations

import argparse

HELP = "list the bundled programs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rvsim examples`."""
    parser.description = "List the programs that come with rvsim; 'rvsim run NAME' runs one."
    parser.add_argument("--path", action="store_true", help="print where each one is instead of what it does")


def main(args: argparse.Namespace) -> int:
    """Run `rvsim examples`; returns the exit status."""
    import kernels

    examples = kernels.examples()
    width = max((len(each.name) for each in examples), default=0)
    for each in examples:
        print(f"{each.name:<{width}}  {each.path if args.path else each.description}")
    return 0
