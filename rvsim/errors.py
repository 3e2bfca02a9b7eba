"""What can go wrong, and the exit status each kind of failure has (docs/architecture.md)."""

from __future__ import annotations


class RvsimError(Exception):
    """A failure a user can act on.

    The message says what was expected, what was found, where, and what to do. The command line prints it as one line
    and
    exits with `exit_status`; a traceback of an `RvsimError` never reaches a user.
    """

    exit_status = 70


class UsageError(RvsimError):
    """An unknown option, name or configuration key, or values that contradict one another."""

    exit_status = 2


class InputFileError(RvsimError):
    """A .tflite, .npy or CoreDSL file that cannot be read, does not parse or holds what is not supported."""

    exit_status = 65


class CoprocessorError(RvsimError):
    """A coprocessor of the user's own that cannot be loaded, fails, or does not keep the protocol."""

    exit_status = 65


class ElfError(RvsimError):
    """An ELF that cannot be read, is not for this machine, or does not fit into memory."""

    exit_status = 66


class OutputError(RvsimError):
    """A result file that cannot be written."""

    exit_status = 73
