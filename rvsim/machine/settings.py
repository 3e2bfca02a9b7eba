"""Settings of `--set` by what they are for."""

from __future__ import annotations

from rvsim.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def split_settings(settings: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Settings for the core, the coprocessor and the platform, without their prefix."""
    parts: dict[str, dict[str, str]] = {"core": {}, "accel": {}, "platform": {}}
    for key, value in settings.items():
        prefix, dot, rest = key.partition(".")
        if prefix not in parts or not dot or not rest:
            raise UsageError(
                f"--set: expected core.KEY=VALUE, accel.KEY=VALUE or platform.KEY=VALUE, found {key}={value}"
            )
        parts[prefix][rest] = value
    return parts["core"], parts["accel"], parts["platform"]
