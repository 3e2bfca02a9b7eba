"""Counted loops: machine code of the host for innermost loops whose trip count and addresses are known at entry."""
