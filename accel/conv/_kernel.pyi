from accel.conv.descriptor import ConvLayer

def run(
    layer: ConvLayer,
    depthwise: bool,
    input: memoryview | bytes,
    weights: memoryview | bytes,
    bias: memoryview | bytes | None,
    multiplier: memoryview | bytes,
    shift: memoryview | bytes,
    output: memoryview | bytearray,
) -> None: ...
def pool(layer: ConvLayer, maximum: bool, input: memoryview | bytes, output: memoryview | bytearray) -> None: ...
def add(
    layer: ConvLayer,
    input: memoryview | bytes,
    second: memoryview | bytes,
    multiplier: memoryview | bytes,
    shift: memoryview | bytes,
    output: memoryview | bytearray,
) -> None: ...
def requantisation_in_range(
    multiplier: memoryview | bytes, shift: memoryview | bytes, shift_min: int, shift_max: int
) -> bool: ...
