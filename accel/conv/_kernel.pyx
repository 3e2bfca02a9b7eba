# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The convolution coprocessor's arithmetic on byte buffers, without the GIL (inner loops: kernel.h)."""

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

cdef extern from "kernel.h" nogil:
    const int64_t CONV_QUAD, CONV_CHUNK
    ctypedef struct conv_shape:
        int64_t input_height, input_width, input_channels
        int64_t output_height, output_width, output_channels
        int64_t kernel_height, kernel_width
        int64_t stride_height, stride_width, dilation_height, dilation_width, pad_top, pad_left
        int32_t input_offset, output_offset, activation_min, activation_max
    int64_t conv_round_up(int64_t n)
    int32_t conv_load_le32(const uint8_t *p)
    void conv_im2row(const conv_shape *s, const int8_t *input, int64_t pixel, int16_t *row, int64_t pitch)
    void conv_multiply(const int16_t *rows, int64_t pitch, int64_t pixels, const int8_t *weights, int64_t depth,
                       int64_t channels, int16_t *wide, uint32_t *acc)
    void conv_depthwise(const conv_shape *s, const int8_t *input, int64_t pixel, const int8_t *weights, uint32_t *acc)
    void conv_repeat(const conv_shape *s, const int8_t *weights, int16_t *wide)
    void conv_depthwise_row(const conv_shape *s, const int8_t *input, int64_t pixel, const int16_t *wide, uint32_t *acc)
    void conv_requantise(const uint32_t *acc, int64_t n, const int32_t *multiplier, const int32_t *shift, int32_t
    offset,
                         int32_t low, int32_t high, int8_t *out)
    void conv_add(const conv_shape *s, const int8_t *first, const int8_t *second, int64_t n, const int32_t *multiplier,
                  const int32_t *shift, int32_t second_offset, int8_t *out)
    void conv_pool(const conv_shape *s, const int8_t *input, int64_t pixel, int64_t count, bint maximum,
                   int32_t *columns, int32_t *acc, int8_t *out)

# Elements of a block of rows (or accumulators): 32768 int16 are 64 KiB, inside every L2 cache.
cdef int64_t BLOCK = 32768
# Depthwise layers of fewer channels run by rows, as long as their repeated weights (int16) stay within 128 KiB.
cdef int64_t ROW_CHANNELS = 64
cdef int64_t ROW_WEIGHTS = 1 << 16
# MACs (or steps of a pool or an ADD) between two looks for Ctrl-C: some 50 ms.
cdef int64_t SIGNAL_INTERVAL = 1 << 27

cdef const int8_t *_pointer(const uint8_t[::1] view) noexcept:
    return <const int8_t *>&view[0]


cdef conv_shape _shape(layer):
    cdef conv_shape s
    s.input_height, s.input_width, s.input_channels = layer.input_height, layer.input_width, layer.input_channels
    s.output_height, s.output_width, s.output_channels = layer.output_height, layer.output_width, layer.output_channels
    s.kernel_height, s.kernel_width = layer.kernel_height, layer.kernel_width
    s.stride_height, s.stride_width = layer.stride_height, layer.stride_width
    s.dilation_height, s.dilation_width = layer.dilation_height, layer.dilation_width
    s.pad_top, s.pad_left = layer.pad_top, layer.pad_left
    s.input_offset, s.output_offset = layer.input_offset, layer.output_offset
    s.activation_min, s.activation_max = layer.activation_min, layer.activation_max
    return s


def run(layer, bint depthwise, const uint8_t[::1] input not None, const uint8_t[::1] weights not None,
        const uint8_t[::1] bias, const uint8_t[::1] multiplier not None, const uint8_t[::1] shift not None,
        uint8_t[::1] output not None):
    """Compute one layer with weights; `output` is written last, so it may overlap any other operand.

    Parameters
    ----------
    layer : ConvLayer
        A layer that `accel.conv.descriptor.check_shape` accepted; nothing is checked again.
    depthwise : bool
        Whether the weights are 1HWO and channels stay apart. False is CONV_2D (OHWI) and, as its 1x1 case,
        FULLY_CONNECTED (OI).
    input, weights, output : buffers of int8
    bias : buffer of little-endian int32[output channels], or None
    multiplier, shift : buffers of little-endian int32[output channels]
        In range: 0 <= multiplier, -31 <= shift <= 30 (`accel.conv.function` checks).

    Raises
    ------
    MemoryError
        The host has no memory for the scratch (about the size of the output).
    KeyboardInterrupt
        Ctrl-C was pressed; the output is untouched.
    """
    cdef conv_shape s = _shape(layer)
    cdef int64_t channels = s.output_channels
    cdef int64_t pixels = <int64_t>layer.batches * s.output_height * s.output_width
    cdef int64_t depth = s.kernel_height * s.kernel_width * (1 if depthwise else s.input_channels)
    cdef int64_t pitch = conv_round_up(depth)
    # Few channels do not fill a vector; whole rows do. The repeated weights must stay in the cache.
    cdef int64_t repeated = depth * s.output_width * channels
    cdef bint by_row = (depthwise and channels == s.input_channels and s.stride_width == 1 and channels < ROW_CHANNELS
                        and repeated <= ROW_WEIGHTS)
    cdef int64_t block = (s.output_width if by_row else 1 if depthwise
                          else max(1, min(pixels, BLOCK // max(pitch, channels))))
    cdef int64_t some, first = 0, since_signals = 0, i, p
    cdef const int8_t *x = _pointer(input)
    cdef const int8_t *w = _pointer(weights)

    # One allocation: multiplier, shift, bias; accumulators of a block; rows of a block; widened weights; the whole
    # output.
    cdef int64_t words = channels * (3 + block)
    cdef int64_t halves = repeated if by_row else 0 if depthwise else pitch * block + CONV_QUAD * CONV_CHUNK
    cdef int32_t *m = <int32_t *>malloc(words * 4 + halves * 2 + pixels * channels)
    if m == NULL:
        raise MemoryError(f"no memory for the {pixels * channels} bytes of a layer's output")
    cdef int32_t *e = m + channels
    cdef uint32_t *b = <uint32_t *>(e + channels)
    cdef uint32_t *acc = b + channels
    cdef int16_t *rows = <int16_t *>(acc + channels * block)
    cdef int16_t *wide = rows + pitch * block
    cdef int8_t *result = <int8_t *>(rows + halves)

    try:
        for i in range(channels):
            m[i] = conv_load_le32(&multiplier[4 * i])
            e[i] = conv_load_le32(&shift[4 * i])
            b[i] = <uint32_t>conv_load_le32(&bias[4 * i]) if bias is not None else 0
        if by_row:
            conv_repeat(&s, w, rows)
        with nogil:
            while first < pixels:
                some = min(block, pixels - first)
                for p in range(some):
                    memcpy(acc + p * channels, b, channels * 4)
                if by_row:
                    conv_depthwise_row(&s, x, first, rows, acc)
                elif depthwise:
                    conv_depthwise(&s, x, first, w, acc)
                else:
                    for p in range(some):
                        conv_im2row(&s, x, first + p, rows + p * pitch, pitch)
                    conv_multiply(rows, pitch, some, w, depth, channels, wide, acc)
                for p in range(some):
                    conv_requantise(acc + p * channels, channels, m, e, s.output_offset, s.activation_min,
                                    s.activation_max, result + (first + p) * channels)
                first += some
                since_signals += some * channels * depth
                if since_signals >= SIGNAL_INTERVAL:
                    since_signals = 0
                    with gil:
                        PyErr_CheckSignals()
        memcpy(&output[0], result, pixels * channels)
    finally:
        free(m)


def pool(layer, bint maximum, const uint8_t[::1] input not None, uint8_t[::1] output not None):
    """Compute one AVERAGE_POOL_2D, or MAX_POOL_2D if `maximum`; `output` is written last.

    Parameters
    ----------
    layer : ConvLayer
        A layer that `accel.conv.descriptor.check` accepted; nothing is checked again.
    input, output : buffers of int8

    Raises
    ------
    MemoryError, KeyboardInterrupt
        As `run`.
    """
    cdef conv_shape s = _shape(layer)
    cdef int64_t channels = s.input_channels, size = output.shape[0], pixels = size // channels
    # A row at once, unless that would reduce columns between the windows.
    cdef int64_t block = s.output_width if s.stride_width <= s.kernel_width else 1
    cdef int64_t reach = min(s.input_width, (block - 1) * s.stride_width + s.kernel_width)
    cdef int64_t first = 0, since_signals = 0
    cdef const int8_t *x = _pointer(input)
    cdef int32_t *columns = <int32_t *>malloc((reach + 1) * channels * 4 + size)
    if columns == NULL:
        raise MemoryError(f"no memory for the {size} bytes of a layer's output")
    cdef int32_t *acc = columns + reach * channels
    cdef int8_t *result = <int8_t *>(acc + channels)
    try:
        with nogil:
            while first < pixels:
                conv_pool(&s, x, first, block, maximum, columns, acc, result + first * channels)
                first += block
                since_signals += block * channels * s.kernel_height * s.kernel_width
                if since_signals >= SIGNAL_INTERVAL:
                    since_signals = 0
                    with gil:
                        PyErr_CheckSignals()
        memcpy(&output[0], result, size)
    finally:
        free(columns)


def add(layer, const uint8_t[::1] input not None, const uint8_t[::1] second not None,
        const uint8_t[::1] multiplier not None, const uint8_t[::1] shift not None, uint8_t[::1] output not None):
    """Compute one ADD; `output` is written last.

    Parameters
    ----------
    layer : ConvLayer
        A layer that `accel.conv.descriptor.check` accepted; nothing is checked again.
    input, second, output : buffers of int8
        Of the same size.
    multiplier, shift : buffers of little-endian int32[3]
        In range, as for `run`.

    Raises
    ------
    MemoryError, KeyboardInterrupt
        As `run`.
    """
    cdef conv_shape s = _shape(layer)
    cdef int32_t[3] m, e
    cdef int32_t second_offset = layer.second_input_offset
    cdef int64_t size = output.shape[0], first = 0, some
    cdef const int8_t *x = _pointer(input)
    cdef const int8_t *w = _pointer(second)
    cdef int8_t *result = <int8_t *>malloc(size)
    if result == NULL:
        raise MemoryError(f"no memory for the {size} bytes of a layer's output")
    cdef int64_t i
    try:
        for i in range(3):
            m[i] = conv_load_le32(&multiplier[4 * i])
            e[i] = conv_load_le32(&shift[4 * i])
        with nogil:
            while first < size:
                some = min(size - first, SIGNAL_INTERVAL)
                conv_add(&s, x + first, w + first, some, m, e, second_offset, result + first)
                first += some
                with gil:
                    PyErr_CheckSignals()
        memcpy(&output[0], result, size)
    finally:
        free(result)


def requantisation_in_range(const uint8_t[::1] multiplier not None, const uint8_t[::1] shift not None,
                            int shift_min, int shift_max):
    """Whether every multiplier is at least 0 and every shift lies in [shift_min, shift_max] (little-endian int32)."""
    cdef Py_ssize_t i
    cdef bint good = True
    for i in range(0, multiplier.shape[0], 4):
        good &= conv_load_le32(&multiplier[i]) >= 0 and shift_min <= conv_load_le32(&shift[i]) <= shift_max
    return good
