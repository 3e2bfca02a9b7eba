from collections.abc import Mapping, Sequence
from typing import Any

RECORD_BYTES: int
CAUSE_NAMES: tuple[str, ...]
OUTCOME_BYTES: int
PLACE_BYTES: int
LOOP_BYTES: int
NOWHERE: int
WORK: int

def model_fields(name: str) -> list[str] | None: ...
def model_names() -> list[str]: ...

class Pipeline:
    def __init__(
        self,
        model: str,
        params: Mapping[str, int | str],
        regions: Sequence[tuple[int, int, int, int, int]],
        outside: tuple[int, int, int],
        entry: int,
    ) -> None: ...
    def attach(self, region: int, fetches: object, data: object) -> None: ...
    @property
    def cycles(self) -> int: ...
    @property
    def remembers(self) -> bool: ...
    @property
    def shown(self) -> object: ...
    @property
    def stages(self) -> tuple[str, ...]: ...
    def reset(self, entry: int) -> None: ...
    def state(self) -> dict[str, Any]: ...
    def restore(self, state: Mapping[str, Any]) -> None: ...
    def run(self, records: bytes) -> list[tuple[int, int]]: ...
    def expect(
        self,
        places: bytes,
        outcomes: bytes,
        loops: bytes,
        members: bytes,
        starts: Sequence[tuple[int, bytes | None, float]],
        watched: Sequence[int] = (),
        work: int = ...,
    ) -> tuple[list[tuple[float, float, list[float]]], list[list[tuple[bytes, float]]], dict[str, int]]: ...
