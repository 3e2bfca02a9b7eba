from accel.conv.descriptor import ConvLayer
from accel.conv.parameters import ConvParameters
from accel.conv.timing import LoopOrder

ORDER_NAMES: tuple[LoopOrder, ...]

def search(
    parameters: ConvParameters, layer: ConvLayer, kind: int, fixed: tuple[int, int, int, int, int]
) -> tuple[dict[str, int], dict[str, int]] | None: ...
