"""Layers and parameters: a sound example of each operation, and hypothesis strategies."""

from __future__ import annotations

import msgspec
from hypothesis import strategies as st

from accel.conv.descriptor import POOLS, ConvLayer, Operation
from accel.conv.parameters import ConvParameters, smallest_buffers

CONV = ConvLayer(
    operation=Operation.CONV_2D, input=0x8000_1000, weights=0x8000_2000, bias=0, output=0x8000_3000,
    multiplier=0x8000_4000, shift=0x8000_4100, batches=1, input_height=8, input_width=8, input_channels=4,
    output_height=8, output_width=8, output_channels=4, kernel_height=3, kernel_width=3, stride_height=1,
    stride_width=1, dilation_height=1, dilation_width=1, pad_top=1, pad_left=1, input_offset=128, output_offset=-128,
    activation_min=-128, activation_max=127,
)  # fmt: skip
DENSE = msgspec.structs.replace(
    CONV, operation=Operation.FULLY_CONNECTED, input_height=1, input_width=1, output_height=1, output_width=1,
    kernel_height=1, kernel_width=1, pad_top=0, pad_left=0,
)  # fmt: skip
DEPTHWISE = msgspec.structs.replace(CONV, operation=Operation.DEPTHWISE_CONV_2D)
AVERAGE = msgspec.structs.replace(CONV, operation=Operation.AVERAGE_POOL_2D)
MAXIMUM = msgspec.structs.replace(CONV, operation=Operation.MAX_POOL_2D)
ADD = msgspec.structs.replace(CONV, operation=Operation.ADD, kernel_height=1, kernel_width=1, pad_top=-3, pad_left=0)
EXAMPLES = (CONV, DEPTHWISE, DENSE, AVERAGE, MAXIMUM, ADD)


@st.composite
def layers(draw: st.DrawFn, largest: int = 8, channels: int = 70, extreme: bool = False) -> ConvLayer:
    """Draw a layer that the coprocessor accepts; all addresses are 0 but the bias's, which may be 4.

    `extreme` ones have strides, dilations, pads and pools' windows up to what 32 bits hold.
    """
    operation = draw(st.sampled_from(list(Operation)))
    small = st.integers(1, largest)
    if operation == Operation.FULLY_CONNECTED:
        sides = [(1, 1, 1, 1, 1, 0)] * 2
    elif operation == Operation.ADD:
        sides = [
            (size, size, 1, 1, 1, pad) for size, pad in ((draw(small), draw(st.integers(-127, 128))), (draw(small), 0))
        ]
    else:
        sides = [draw(_side(small, operation in POOLS, extreme)) for _ in range(2)]
    input_channels = draw(st.integers(1, channels))
    if operation == Operation.DEPTHWISE_CONV_2D:
        output_channels = input_channels * draw(st.integers(1, 3))
    elif operation in (Operation.ADD, *POOLS):
        output_channels = input_channels
    else:
        output_channels = draw(st.integers(1, 9))
    low = draw(st.integers(-128, 127))
    (ih, oh, kh, sh, dh, pt), (iw, ow, kw, sw, dw, pl) = sides
    return ConvLayer(
        operation=operation,
        input=0,
        weights=0,
        bias=draw(st.sampled_from([0, 4])),
        output=0,
        multiplier=0,
        shift=0,
        batches=draw(st.integers(1, 3)),
        input_height=ih,
        input_width=iw,
        input_channels=input_channels,
        output_height=oh,
        output_width=ow,
        output_channels=output_channels,
        kernel_height=kh,
        kernel_width=kw,
        stride_height=sh,
        stride_width=sw,
        dilation_height=dh,
        dilation_width=dw,
        pad_top=pt,
        pad_left=pl,
        input_offset=draw(st.integers(-127, 128)),
        output_offset=draw(st.integers(-128, 127)),
        activation_min=low,
        activation_max=draw(st.integers(low, 127)),
    )


HUGE = st.sampled_from([2**16, 2**30, 2**31 - 1])


@st.composite
def _side(
    draw: st.DrawFn, small: st.SearchStrategy[int], pool: bool, extreme: bool
) -> tuple[int, int, int, int, int, int]:
    large = HUGE if extreme else st.nothing()
    size, stride = draw(small), draw(st.integers(1, 3) | large)
    kernel = draw(st.integers(1, 4) | (st.integers(9, 2**11) if extreme and pool else st.nothing()))
    dilation = 1 if pool else draw(st.integers(1, 3) | large)
    window = (kernel - 1) * dilation + 1
    pad = draw(st.integers(0, min(window - 1, 2**31 - 1)))
    least = max(0, size + pad - window) // stride + 1
    most = (size + pad - 1) // stride + 1
    return size, draw(st.integers(least, min(most, least + size))), kernel, stride, dilation, pad


@st.composite
def parameters(draw: st.DrawFn, largest_side: int = 64) -> ConvParameters:
    """Draw a coprocessor that can be built."""
    side = st.integers(1, largest_side)
    drawn = ConvParameters(
        kind="conv",
        pe_rows=draw(side),
        pe_columns=draw(side),
        dataflow=draw(st.sampled_from(["ws", "os", "is"])),
        depthwise_mapping=draw(st.sampled_from(["packed", "taps", "single"])),
        fold_overlap=draw(st.booleans()),
        double_buffering=draw(st.booleans()),
        accumulator_bits=draw(st.sampled_from([16, 24, 32, 64])),
        bus_width_bytes=draw(st.sampled_from([1, 2, 4, 8, 16, 32, 64])),
        burst_bytes=draw(st.sampled_from([64, 128, 4096])),
        outstanding_bursts=draw(st.integers(1, 8)),
        memory_latency_cycles=draw(st.integers(0, 99)),
        input_buffer_kib=1 << 20,
        weight_buffer_kib=1 << 20,
        output_buffer_kib=1 << 20,
        requantise_per_cycle=draw(st.integers(1, 16)),
        issue_latency_cycles=draw(st.integers(0, 9)),
        memory=draw(st.sampled_from(["private", "shared"])),
        memory_banks=draw(st.integers(1, 8)),
        clock_multiplier=draw(st.integers(1, 4)),
        clock_divider=draw(st.integers(1, 4)),
        interface=draw(st.sampled_from(["blocking", "cv-x-if", "queued"])),
        queue_depth=draw(st.integers(1, 4)),
        operations=tuple(operation.name for operation in Operation),
    )
    return msgspec.structs.replace(
        drawn, **{key: -(-size // 1024) + draw(st.integers(0, 3)) for key, size in smallest_buffers(drawn).items()}
    )
