"""Why a run came back to whoever controls it."""

from __future__ import annotations

from rvsim.records import Record


class Stop(Record):
    """Why `Machine.resume` came back.

    Attributes
    ----------
    reason : str
        ``exit``, ``limit``, ``interrupted``, ``step``, ``watchpoint``, ``breakpoint`` (a debugger's when there is no
        message) or what `RunResult.stop_reason` says of a program that failed.
    pc : int
        Of the next instruction.
    exit_code : int or None
    message : str or None
        What went wrong, where, and what to try.
    address : int or None
        The byte that a watchpoint saw accessed.
    access : str or None
        ``r`` or ``w``, of that access.
    """

    reason: str
    pc: int
    exit_code: int | None = None
    message: str | None = None
    address: int | None = None
    access: str | None = None
