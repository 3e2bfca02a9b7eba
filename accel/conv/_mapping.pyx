# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Tiles of a layer on a PE array behind three buffers: what one mapping costs, and the search for the cheapest.

docs/coprocessor.md has the model in words. A mapping cuts a layer into tiles of m pixels, n output channels and k
products of a sum, and puts the three loops over them in an order. Every tile is a *step*: the port loads what the
buffers lack, the array works, sums are requantised, outputs are stored. `_walk` plays the steps one after another;
durations enter it only through sums and maxima in a fixed order, so a shorter one never makes the whole longer.
"""

from libc.stdint cimport int64_t

cdef enum:
    DENSE = 0      # CONV_2D, FULLY_CONNECTED
    DEPTHWISE = 1
    POOL = 2
    ADD = 3

cdef enum:
    WS = 0
    OS = 1
    IS = 2

cdef enum:
    SINGLE = 0
    TAPS = 1
    PACKED = 2

cdef enum:
    M = 0  # loops, and the dimensions they cut
    N = 1
    K = 2

# Steps that are played; a mapping of more is charged as if nothing overlapped, which is never less.
cdef int64_t MOST_STEPS = 4096
cdef int64_t HUGE = <int64_t>1 << 61

cdef int[6][3] ORDERS = [[M, N, K], [M, K, N], [N, M, K], [N, K, M], [K, M, N], [K, N, M]]
ORDER_NAMES = ("mnk", "mkn", "nmk", "nkm", "kmn", "knm")

cdef struct Hardware:
    int64_t rows, columns, dataflow, depthwise, fold_overlap, double_buffering
    int64_t accumulator_bytes, input_buffer, weight_buffer, output_buffer
    int64_t bus, burst, outstanding, latency, requantise

cdef struct Layer:
    int64_t kind, batches, output_height, output_width, output_channels, input_channels, multiplier
    int64_t kernel_height, kernel_width, stride_height, stride_width, dilation_height, dilation_width
    int64_t pad_top, pad_left, input_height, input_width, channel_bytes

cdef struct Mapping:
    int64_t batches, height, width, channels_out, channels_in, kernel_height, kernel_width, order

# What one mapping costs: cycles first, then what crosses the port, then what the buffers see.
cdef struct Cost:
    int64_t cycles, compute, fill_drain, requantise, stall
    int64_t input_bytes, input_beats, weight_bytes, weight_beats, channel_bytes, channel_beats
    int64_t output_bytes, output_beats, spilled_bytes, spilled_beats, refilled_bytes, refilled_beats
    int64_t input_reads, weight_reads, sums  # elements; a sum is written once and read once
    int64_t folds, mapped, steps

# The buffers' side of a mapping: which operands stay while the loop that does not concern them turns.
cdef struct Plan:
    int64_t[3] trips
    int64_t batch_tiles, height_tiles, width_tiles, channel_tiles, kernel_row_tiles, kernel_column_tiles
    int64_t steps
    bint input_stays, weights_stay, sums_stay
    bint share_halo  # the input is in the buffer as a whole, so that a tile loads only what its neighbours did not

# One tile on the array.
cdef struct Work:
    int64_t compute, fill_drain, window, folds, mapped
    int64_t input_reads, weight_reads, sums


cdef inline int64_t up(int64_t a, int64_t b) noexcept nogil:
    return (a + b - 1) // b


cdef inline int64_t least(int64_t a, int64_t b) noexcept nogil:
    return a if a < b else b


cdef inline int64_t most(int64_t a, int64_t b) noexcept nogil:
    return a if a > b else b


cdef inline int64_t tile(int64_t index, int64_t size, int64_t whole) noexcept nogil:
    """Size of a tile, less for the last."""
    return least(size, whole - index * size)


cdef inline int64_t before(int64_t line, int64_t count, int64_t window, int64_t stride) noexcept nogil:
    """Count lines below `line` that windows with gaps between them cover, from 0 on."""
    if line <= 0:
        return 0
    cdef int64_t full = least(count, (line - window) // stride + 1) if line >= window else 0
    return full * window + (least(window, most(0, line - full * stride)) if full < count else 0)


cdef inline int64_t touched(int64_t first, int64_t count, int64_t tap, int64_t taps, int64_t stride, int64_t dilation,
                            int64_t pad, int64_t size, int64_t *end) noexcept nogil:
    """Count input lines that `taps` taps of `count` windows cover, and where they end."""
    cdef int64_t window = (taps - 1) * dilation + 1
    cdef int64_t begin = first * stride + tap * dilation - pad
    cdef int64_t last = begin + (count - 1) * stride + window
    end[0] = most(0, least(last, size))
    if stride <= window:
        return most(0, end[0] - most(begin, 0))
    return before(size - begin, count, window, stride) - before(-begin, count, window, stride)


cdef int64_t least_common_multiple(int64_t a, int64_t b) noexcept nogil:
    cdef int64_t x = a, y = b
    while y:
        x, y = y, x % y
    return a // x * b


cdef void work(const Hardware *h, const Layer *l, int64_t row, int64_t m, int64_t n, int64_t channels,
               int64_t kernel_height, int64_t kernel_width, Work *w) noexcept nogil:
    """Put one tile of m pixels (`row` of them beside one another), n output channels and some taps on the array."""
    cdef int64_t taps = kernel_height * kernel_width
    cdef int64_t k = taps * channels if l.kind == DENSE else taps
    cdef int64_t groups = 1, across = n, reduce = 1, blocks, steps, fold, window, line
    cdef bint outputs_stay = h.dataflow == OS and (l.kind == DENSE or h.depthwise == SINGLE)
    w.sums = m * n
    if l.kind >= POOL:
        # A lane behind each column, one element a cycle.
        w.compute = m * up(n, h.columns) * taps
        w.fill_drain = 0
        w.window = w.compute
        w.folds = 0
        w.mapped = 0
        w.input_reads = m * n * taps
        w.weight_reads = m * n if l.kind == ADD else 0
        return
    if l.kind == DEPTHWISE and h.depthwise == SINGLE:
        groups, across = n, 1  # a product of its own for each channel, one column wide
    if l.kind == DEPTHWISE and h.depthwise == PACKED:
        # The taps of channel after channel, down one column and on in the next; each PE can hand out its sum.
        blocks = up(k * n, h.rows * h.columns)
        steps = m
        w.mapped = k * n
        w.weight_reads = k * n
        w.sums = m * (n + (k * n - 1) // h.rows - (k * n - 1) // least_common_multiple(k, h.rows))
    elif outputs_stay:
        blocks = up(m, h.rows) * up(across, h.columns)
        steps = k
        w.mapped = groups * m * across
        w.input_reads = groups * m * k * up(across, h.columns)
        w.weight_reads = groups * k * across * up(m, h.rows)
    elif h.dataflow == IS and (l.kind == DENSE or h.depthwise == SINGLE):
        reduce = up(k, h.rows)
        blocks = up(m, h.columns)
        steps = across
        w.mapped = groups * k * m
        w.input_reads = groups * m * k
        w.weight_reads = groups * k * across * blocks
    else:
        reduce = up(k, h.rows)
        blocks = up(across, h.columns)
        steps = m
        w.mapped = groups * k * across
        w.input_reads = groups * m * k * blocks
        w.weight_reads = groups * k * across
    if l.kind == DEPTHWISE and h.depthwise != SINGLE:
        # Taps of a kernel row hand the input on to one another: a row of pixels is read once for each kernel row.
        window = (kernel_width - 1) * l.dilation_width + 1
        line = (row - 1) * l.stride_width + window if l.stride_width <= window else row * window
        w.input_reads = n * kernel_height * (m // row) * least(row * kernel_width, line)
    w.folds = groups * reduce * blocks
    w.compute = w.folds * steps
    # A fold: R steps to load or unload the PEs (outputs leave while the next come), R + C - 2 for the diagonal wave.
    fold = h.rows + h.columns - 2 + (0 if outputs_stay else h.rows)
    if h.fold_overlap:
        w.fill_drain = fold + (w.folds - 1) * least(fold, most(0, h.rows - steps))
    else:
        w.fill_drain = w.folds * fold
    # From the first finished sum to the end of the tile.
    if outputs_stay:
        w.window = (w.compute + w.fill_drain) - (w.compute + w.fill_drain) // w.folds
    else:
        w.window = (w.compute + w.fill_drain) - (w.compute + w.fill_drain) // w.folds * (reduce - 1)
    if l.kind == DENSE or h.depthwise != PACKED:
        w.sums = m * n * reduce


cdef inline int64_t port_time(const Hardware *h, int64_t beats, int64_t bursts) noexcept nogil:
    """Cycles of transfers asked for together: the bus, or the latency that too few outstanding bursts leave open."""
    if not bursts:
        return 0
    return most(h.latency + beats, up(beats + h.latency * bursts, h.outstanding))


cdef inline void add_runs(const Hardware *h, int64_t runs, int64_t size, int64_t *bytes_, int64_t *beats,
                          int64_t *bursts) noexcept nogil:
    """Count runs of neighbouring bytes."""
    if runs > 0 and size > 0:
        bytes_[0] += runs * size
        beats[0] += runs * up(size, h.bus)
        bursts[0] += runs * up(size, h.burst)


cdef bint plan(const Hardware *h, const Layer *l, const Mapping *g, Plan *p) noexcept nogil:
    """Decide what stays in the buffers; false if a tile does not fit."""
    cdef int64_t slots = 2 if h.double_buffering else 1
    cdef int64_t end, scope, need, pixels, lines, i
    cdef bint whole, inside_m, inside_n, inside_k
    cdef int[3] place
    cdef bint grouped = l.kind != DENSE
    for i in range(3):
        place[ORDERS[g.order][i]] = i
    p.batch_tiles = up(l.batches, g.batches)
    p.height_tiles = up(l.output_height, g.height)
    p.width_tiles = up(l.output_width, g.width)
    p.channel_tiles = up(l.input_channels, g.channels_in) if not grouped else 1
    p.kernel_row_tiles = up(l.kernel_height, g.kernel_height)
    p.kernel_column_tiles = up(l.kernel_width, g.kernel_width)
    p.trips[M] = p.batch_tiles * p.height_tiles * p.width_tiles
    p.trips[N] = up(l.output_channels, g.channels_out)
    p.trips[K] = p.channel_tiles * p.kernel_row_tiles * p.kernel_column_tiles
    p.steps = p.trips[M] * p.trips[N] * p.trips[K]
    cdef bint taps_cut = p.kernel_row_tiles * p.kernel_column_tiles > 1

    # Input: concerned by M and K, of a grouped layer by N as well.
    cdef int64_t in_tile = g.channels_in if not grouped else least(up(g.channels_out, l.multiplier) + 1,
                                                                  l.input_channels)
    if grouped and g.channels_out % l.multiplier == 0:
        in_tile = g.channels_out // l.multiplier
    pixels = g.batches * \
        least(l.input_height, touched(0, g.height, 0, g.kernel_height, l.stride_height, l.dilation_height, 0, HUGE,
                                      &end)) * \
        least(l.input_width, touched(0, g.width, 0, g.kernel_width, l.stride_width, l.dilation_width, 0, HUGE, &end))
    cdef int64_t all_pixels = l.batches * \
        touched(0, l.output_height, 0, l.kernel_height, l.stride_height, l.dilation_height, l.pad_top,
                l.input_height, &end) * \
        touched(0, l.output_width, 0, l.kernel_width, l.stride_width, l.dilation_width, l.pad_left,
                l.input_width, &end)
    pixels = least(pixels, all_pixels) if not taps_cut else pixels
    cdef int64_t irrelevant = p.trips[N] if not grouped else 1
    p.input_stays = False
    p.share_halo = False
    if irrelevant > 1:
        inside_m, inside_k = place[M] > place[N], place[K] > place[N]
        whole = (inside_m or p.trips[M] == 1) and (inside_k or p.trips[K] == 1)
        scope = (all_pixels if inside_m else pixels) * (l.input_channels if inside_k else in_tile)
        if taps_cut and inside_m:
            scope *= p.trips[K]
        if inside_k and taps_cut and not inside_m:
            scope = least(scope * p.trips[K], l.input_channels * g.batches * l.input_height * l.input_width)
        if scope * (1 if whole else slots) <= h.input_buffer:
            p.input_stays = True
            p.share_halo = inside_m and not taps_cut
    elif not taps_cut and all_pixels * l.input_channels <= h.input_buffer:
        p.share_halo = True
    if not p.input_stays and not p.share_halo:
        whole = p.trips[M] == 1 and p.trips[K] == 1 and (not grouped or p.trips[N] == 1)
        if pixels * in_tile * (1 if whole else slots) > h.input_buffer:
            return False

    # Weights: concerned by N and K; the second input of ADD by M and N.
    p.weights_stay = False
    if l.kind == ADD:
        whole = p.trips[M] == 1 and p.trips[N] == 1
        if g.batches * g.height * g.width * g.channels_out * (1 if whole else slots) > h.weight_buffer:
            return False
    elif l.kind != POOL:
        lines = (g.channels_in if not grouped else 1) * g.kernel_height * g.kernel_width
        inside_n, inside_k = place[N] > place[M], place[K] > place[M]
        if p.trips[M] > 1:
            scope = (l.output_channels if inside_n else g.channels_out) * \
                ((l.input_channels if not grouped else 1) * l.kernel_height * l.kernel_width if inside_k else lines)
            whole = (inside_n or p.trips[N] == 1) and (inside_k or p.trips[K] == 1)
            p.weights_stay = scope * (1 if whole else slots) <= h.weight_buffer
        if not p.weights_stay:
            whole = p.trips[N] == 1 and p.trips[K] == 1
            if lines * g.channels_out * (1 if whole else slots) > h.weight_buffer:
                return False

    # Sums: concerned by M and N.
    p.sums_stay = True
    need = g.batches * g.height * g.width * g.channels_out * h.accumulator_bytes
    if p.trips[K] > 1:
        inside_m, inside_n = place[M] > place[K], place[N] > place[K]
        scope = (l.batches * l.output_height * l.output_width if inside_m else g.batches * g.height * g.width) * \
            (l.output_channels if inside_n else g.channels_out) * h.accumulator_bytes
        whole = (inside_m or p.trips[M] == 1) and (inside_n or p.trips[N] == 1)
        p.sums_stay = scope * (1 if whole else slots) <= h.output_buffer
    whole = p.trips[M] == 1 and p.trips[N] == 1
    return need * (1 if whole else slots) <= h.output_buffer


cdef void array_total(const Hardware *h, const Layer *l, const Mapping *g, const Plan *p, Cost *c) noexcept nogil:
    """Sum the array's work over all tiles; it does not depend on the order of the loops."""
    cdef int64_t b, y, x, n, ci, ky, kx, count, tb, ty, tx, tn, tc, tky, tkx
    cdef Work w
    # Every dimension has full tiles and at most one that is less: 2 ** 7 kinds of tiles at most, mostly a few.
    for b in range(least(2, p.batch_tiles)):
        for y in range(least(2, p.height_tiles)):
            for x in range(least(2, p.width_tiles)):
                for n in range(least(2, p.trips[N])):
                    for ci in range(least(2, p.channel_tiles)):
                        for ky in range(least(2, p.kernel_row_tiles)):
                            for kx in range(least(2, p.kernel_column_tiles)):
                                count = 1
                                tb = kinds(b, g.batches, l.batches, p.batch_tiles, &count)
                                ty = kinds(y, g.height, l.output_height, p.height_tiles, &count)
                                tx = kinds(x, g.width, l.output_width, p.width_tiles, &count)
                                tn = kinds(n, g.channels_out, l.output_channels, p.trips[N], &count)
                                tc = kinds(ci, g.channels_in, l.input_channels, p.channel_tiles, &count)
                                tky = kinds(ky, g.kernel_height, l.kernel_height, p.kernel_row_tiles, &count)
                                tkx = kinds(kx, g.kernel_width, l.kernel_width, p.kernel_column_tiles, &count)
                                work(h, l, tx, tb * ty * tx, tn, tc, tky, tkx, &w)
                                c.compute += count * w.compute
                                c.fill_drain += count * w.fill_drain
                                c.folds += count * w.folds
                                c.mapped += count * w.mapped
                                c.input_reads += count * w.input_reads
                                c.weight_reads += count * w.weight_reads
                                c.sums += count * w.sums


cdef inline int64_t kinds(int64_t kind, int64_t size, int64_t whole, int64_t tiles, int64_t *count) noexcept nogil:
    """Size of a full tile (kind 0, unless there is but one) or of the last, multiplying how many there are."""
    if tiles == 1:
        return tile(0, size, whole)
    if kind == 0:
        count[0] *= tiles - 1
        return size
    return tile(tiles - 1, size, whole)


cdef int64_t all_touched(int64_t output, int64_t tile_outputs, int64_t tiles, int64_t kernel, int64_t tile_taps,
                         int64_t tap_tiles, int64_t stride, int64_t dilation, int64_t pad, int64_t size) noexcept nogil:
    """Sum the input lines that all tiles touch along one side; at most those of full tiles where there are many."""
    cdef int64_t i, j, end, total = 0
    if tiles * tap_tiles > MOST_STEPS:
        return tiles * tap_tiles * least(size, touched(0, tile_outputs, 0, tile_taps, stride, dilation, 0, HUGE, &end))
    for i in range(tiles):
        for j in range(tap_tiles):
            total += touched(i * tile_outputs, tile(i, tile_outputs, output), j * tile_taps,
                             tile(j, tile_taps, kernel), stride, dilation, pad, size, &end)
    return total


cdef void port_total(const Hardware *h, const Layer *l, const Mapping *g, const Plan *p, Cost *c) noexcept nogil:
    """Sum the bytes that cross the port; beats are a lower bound here."""
    cdef int64_t i, end, height = 0, width = 0, outputs
    cdef bint grouped = l.kind != DENSE
    if p.share_halo:
        height = touched(0, l.output_height, 0, l.kernel_height, l.stride_height, l.dilation_height, l.pad_top,
                         l.input_height, &end)
        width = touched(0, l.output_width, 0, l.kernel_width, l.stride_width, l.dilation_width, l.pad_left,
                        l.input_width, &end)
    else:
        height = all_touched(l.output_height, g.height, p.height_tiles, l.kernel_height, g.kernel_height,
                             p.kernel_row_tiles, l.stride_height, l.dilation_height, l.pad_top, l.input_height)
        width = all_touched(l.output_width, g.width, p.width_tiles, l.kernel_width, g.kernel_width,
                            p.kernel_column_tiles, l.stride_width, l.dilation_width, l.pad_left, l.input_width)
    cdef int64_t channels = l.input_channels
    if grouped and l.multiplier > 1 and p.trips[N] > MOST_STEPS:
        channels = p.trips[N] * (g.channels_out // l.multiplier + 2)
    elif grouped and l.multiplier > 1:
        channels = 0
        for i in range(p.trips[N]):
            channels += input_channels(l, i * g.channels_out, tile(i, g.channels_out, l.output_channels))
    c.input_bytes = l.batches * height * width * channels
    if not grouped and not p.input_stays:
        c.input_bytes *= p.trips[N]
    outputs = l.batches * l.output_height * l.output_width * l.output_channels
    if l.kind == ADD:
        c.weight_bytes = outputs
    elif l.kind != POOL:
        c.weight_bytes = l.output_channels * l.kernel_height * l.kernel_width * (1 if grouped else l.input_channels)
        if not p.weights_stay:
            c.weight_bytes *= p.trips[M]
    c.channel_bytes = l.channel_bytes * l.output_channels
    c.output_bytes = outputs
    if not p.sums_stay:
        c.spilled_bytes = c.refilled_bytes = (p.trips[K] - 1) * outputs * h.accumulator_bytes


cdef inline int64_t input_channels(const Layer *l, int64_t first, int64_t count) noexcept nogil:
    """Input channels that some output channels of a grouped layer need."""
    return (first + count - 1) // l.multiplier - first // l.multiplier + 1


cdef int64_t _walk(const Hardware *h, const Layer *l, const Mapping *g, const Plan *p, Cost *c,
                   int64_t limit) noexcept nogil:
    """Play the steps; gives up beyond `limit` cycles. Fills all of `c` but the array's totals."""
    cdef int64_t[3] index
    cdef int64_t step, i, b, y, x, ci, ky, kx, tb, ty, tx, n, tc, tky, tkx, m, rows, columns, channels, end, before
    cdef int64_t load_beats, load_bursts, store_beats, store_bursts, outputs, quantised, tail
    cdef int64_t port = 0, array = 0, array_before = 0, start, loaded, begun
    cdef int64_t done = 0, done_before = 0  # requantised: the last tile that was, and the one before
    cdef int64_t pending_beats = 0, pending_bursts = 0, pending_ready = 0
    cdef bint grouped = l.kind != DENSE, last_k, pending = False
    cdef int64_t window
    cdef bint gaps  # between the rows of a tile
    cdef Work w
    cdef int *order = ORDERS[g.order]
    cdef int64_t slots = 2 if h.double_buffering else 1
    index[0] = index[1] = index[2] = 0
    for step in range(p.steps):
        b = index[M] // (p.height_tiles * p.width_tiles)
        y = index[M] // p.width_tiles % p.height_tiles
        x = index[M] % p.width_tiles
        ci = index[K] // (p.kernel_row_tiles * p.kernel_column_tiles)
        ky = index[K] // p.kernel_column_tiles % p.kernel_row_tiles
        kx = index[K] % p.kernel_column_tiles
        tb = tile(b, g.batches, l.batches)
        ty = tile(y, g.height, l.output_height)
        tx = tile(x, g.width, l.output_width)
        n = tile(index[N], g.channels_out, l.output_channels)
        tc = tile(ci, g.channels_in, l.input_channels) if not grouped else 1
        tky = tile(ky, g.kernel_height, l.kernel_height)
        tkx = tile(kx, g.kernel_width, l.kernel_width)
        m = tb * ty * tx
        last_k = index[K] == p.trips[K] - 1
        load_beats = load_bursts = 0

        if grouped or not p.input_stays or index[N] == 0:
            rows = touched(y * g.height, ty, ky * g.kernel_height, tky, l.stride_height, l.dilation_height,
                           l.pad_top, l.input_height, &end)
            if p.share_halo and y:
                touched((y - 1) * g.height, g.height, 0, l.kernel_height, l.stride_height, l.dilation_height,
                        l.pad_top, l.input_height, &before)
                rows = least(rows, end - before)
            columns = touched(x * g.width, tx, kx * g.kernel_width, tkx, l.stride_width, l.dilation_width,
                              l.pad_left, l.input_width, &end)
            if p.share_halo and x:
                touched((x - 1) * g.width, g.width, 0, l.kernel_width, l.stride_width, l.dilation_width,
                        l.pad_left, l.input_width, &before)
                columns = least(columns, end - before)
            channels = tc if not grouped else input_channels(l, index[N] * g.channels_out, n)
            before = c.input_beats
            window = (tkx - 1) * l.dilation_width + 1
            gaps = (tky - 1) * l.dilation_height + 1 < least(l.stride_height, rows)
            if channels < l.input_channels:
                add_runs(h, tb * rows * columns, channels, &c.input_bytes, &c.input_beats, &load_bursts)
            elif window < l.stride_width and columns > window:
                add_runs(h, tb * rows * (columns // window), window * channels, &c.input_bytes, &c.input_beats,
                         &load_bursts)
                add_runs(h, tb * rows, columns % window * channels, &c.input_bytes, &c.input_beats, &load_bursts)
            elif columns < l.input_width or gaps:
                add_runs(h, tb * rows, columns * channels, &c.input_bytes, &c.input_beats, &load_bursts)
            elif rows < l.input_height:
                add_runs(h, tb, rows * columns * channels, &c.input_bytes, &c.input_beats, &load_bursts)
            else:
                add_runs(h, 1, tb * rows * columns * channels, &c.input_bytes, &c.input_beats, &load_bursts)
            load_beats += c.input_beats - before
        if l.kind == ADD:
            before = c.weight_beats
            add_output_runs(h, l, tb, ty, tx, n, &c.weight_bytes, &c.weight_beats, &load_bursts)
            load_beats += c.weight_beats - before
        elif l.kind != POOL and (not p.weights_stay or index[M] == 0):
            before = c.weight_beats
            if grouped:  # 1HWO
                if n < l.output_channels:
                    add_runs(h, tky * tkx, n, &c.weight_bytes, &c.weight_beats, &load_bursts)
                elif tkx < l.kernel_width:
                    add_runs(h, tky, tkx * n, &c.weight_bytes, &c.weight_beats, &load_bursts)
                else:
                    add_runs(h, 1, tky * tkx * n, &c.weight_bytes, &c.weight_beats, &load_bursts)
            elif tc < l.input_channels:  # OHWI
                add_runs(h, n * tky * tkx, tc, &c.weight_bytes, &c.weight_beats, &load_bursts)
            elif tkx < l.kernel_width:
                add_runs(h, n * tky, tkx * tc, &c.weight_bytes, &c.weight_beats, &load_bursts)
            elif tky < l.kernel_height:
                add_runs(h, n, tky * tkx * tc, &c.weight_bytes, &c.weight_beats, &load_bursts)
            else:
                add_runs(h, 1, n * tky * tkx * tc, &c.weight_bytes, &c.weight_beats, &load_bursts)
            load_beats += c.weight_beats - before
        if l.channel_bytes and index[M] == 0 and index[K] == 0:
            before = c.channel_beats
            add_runs(h, l.channel_bytes // 4, 4 * n, &c.channel_bytes, &c.channel_beats, &load_bursts)
            load_beats += c.channel_beats - before
        if not p.sums_stay and index[K] > 0:
            before = c.refilled_beats
            add_runs(h, 1, m * n * h.accumulator_bytes, &c.refilled_bytes, &c.refilled_beats, &load_bursts)
            load_beats += c.refilled_beats - before

        # The port, in this order: the loads of this step, then the stores of the one before.
        if slots == 1:
            port = most(port, most(array, done))
        loaded = port
        if load_bursts:
            loaded = port = most(port, array_before if slots == 2 else array) + port_time(h, load_beats, load_bursts)
        if pending:
            port = most(port, pending_ready) + port_time(h, pending_beats, pending_bursts)
            pending = False

        work(h, l, tx, m, n, tc, tky, tkx, &w)
        # The port has stored the tile before the last by now: the half of the output buffer is free.
        start = most(array, loaded)
        if start > array:
            # Up to the requantisation that the port or the output buffer waited for; the rest is the port's.
            quantised = most(0, least(start, done_before if slots == 2 else done) - array)
            c.requantise += quantised
            c.stall += start - array - quantised
        array_before, array = array, start + w.compute + w.fill_drain

        store_beats = store_bursts = 0
        if last_k:
            outputs = m * n * (3 if l.kind == ADD else 1)
            tail = up(least(outputs, h.columns), h.requantise)
            begun = most(done, array - w.window)
            done_before, done = done, most(array + tail, begun + up(outputs, h.requantise))
            before = c.output_beats
            add_output_runs(h, l, tb, ty, tx, n, &c.output_bytes, &c.output_beats, &store_bursts)
            store_beats = c.output_beats - before
            pending_ready = done
        elif not p.sums_stay:
            before = c.spilled_beats
            add_runs(h, 1, m * n * h.accumulator_bytes, &c.spilled_bytes, &c.spilled_beats, &store_bursts)
            store_beats = c.spilled_beats - before
            pending_ready = array
        if store_bursts:
            pending, pending_beats, pending_bursts = True, store_beats, store_bursts
            if slots == 1:
                port = most(port, pending_ready) + port_time(h, store_beats, store_bursts)
                pending = False
        if array > limit:
            return HUGE

        for i in range(2, -1, -1):
            index[order[i]] += 1
            if index[order[i]] < p.trips[order[i]]:
                break
            index[order[i]] = 0
    if pending:
        port = most(port, pending_ready) + port_time(h, pending_beats, pending_bursts)
    c.cycles = most(array, most(port, done))
    quantised = most(0, done - array)
    c.requantise += quantised
    c.stall += c.cycles - array - quantised
    return c.cycles


cdef inline void add_output_runs(const Hardware *h, const Layer *l, int64_t tb, int64_t ty, int64_t tx, int64_t n,
                                 int64_t *bytes_, int64_t *beats, int64_t *bursts) noexcept nogil:
    """Count the runs of a tile of the output, or of what has its shape."""
    if n < l.output_channels:
        add_runs(h, tb * ty * tx, n, bytes_, beats, bursts)
    elif tx < l.output_width:
        add_runs(h, tb * ty, tx * n, bytes_, beats, bursts)
    elif ty < l.output_height:
        add_runs(h, tb, ty * tx * n, bytes_, beats, bursts)
    else:
        add_runs(h, 1, tb * ty * tx * n, bytes_, beats, bursts)


cdef void clear(Cost *c) noexcept nogil:
    c.cycles = c.compute = c.fill_drain = c.requantise = c.stall = 0
    c.input_bytes = c.input_beats = c.weight_bytes = c.weight_beats = c.channel_bytes = c.channel_beats = 0
    c.output_bytes = c.output_beats = c.spilled_bytes = c.spilled_beats = c.refilled_bytes = c.refilled_beats = 0
    c.input_reads = c.weight_reads = c.sums = c.folds = c.mapped = c.steps = 0


cdef int64_t evaluate(const Hardware *h, const Layer *l, const Mapping *g, const Plan *p, const Cost *array,
                      int64_t best, Cost *c) noexcept nogil:
    """Cost of one mapping, or HUGE if it cannot be below `best`."""
    cdef Cost bytes_
    cdef int64_t outputs = l.batches * l.output_height * l.output_width * l.output_channels
    cdef int64_t busy = array.compute + array.fill_drain
    if busy > best:
        return HUGE
    clear(&bytes_)
    port_total(h, l, g, p, &bytes_)
    cdef int64_t moved = bytes_.input_bytes + bytes_.weight_bytes + bytes_.channel_bytes + bytes_.output_bytes \
        + bytes_.spilled_bytes + bytes_.refilled_bytes
    if up(moved, h.bus) > best:
        return HUGE
    clear(c)
    if p.steps <= MOST_STEPS:
        if _walk(h, l, g, p, c, best) == HUGE:
            return HUGE
    else:
        # Every byte a beat and a burst of its own.
        c[0] = bytes_
        c.input_beats, c.weight_beats, c.channel_beats = c.input_bytes, c.weight_bytes, c.channel_bytes
        c.output_beats, c.spilled_beats, c.refilled_beats = c.output_bytes, c.spilled_bytes, c.refilled_bytes
        c.requantise = up(outputs * (3 if l.kind == ADD else 1), h.requantise)
        c.stall = moved * (1 + h.latency)
        c.cycles = busy + c.requantise + c.stall
    c.compute = array.compute
    c.fill_drain = array.fill_drain
    c.folds = array.folds
    c.mapped = array.mapped
    c.input_reads = array.input_reads
    c.weight_reads = array.weight_reads
    c.sums = array.sums
    c.steps = p.steps
    return c.cycles


cdef bint repeats(const Plan *p, int order) noexcept nogil:
    """Whether an earlier order turns the loops of more than one trip in the same way."""
    cdef int earlier, i, j
    cdef bint same
    for earlier in range(order):
        same = True
        j = 0
        for i in range(3):
            if p.trips[ORDERS[order][i]] == 1:
                continue
            while p.trips[ORDERS[earlier][j]] == 1:
                j += 1
            if ORDERS[earlier][j] != ORDERS[order][i]:
                same = False
                break
            j += 1
        if same:
            return True
    return False


cdef bint halve(int64_t *size) noexcept nogil:
    if size[0] == 1:
        return False
    size[0] = up(size[0], 2)
    return True


cdef int64_t _search(const Hardware *h, const Layer *l, const int64_t *fixed, Mapping *chosen, Cost *cheapest) noexcept nogil:
    """Try every tile on the way from the whole layer to one element; `fixed` holds -1 where the search is free."""
    cdef Mapping g, pixels, products
    cdef Plan p
    cdef Cost array, c
    cdef int64_t best = HUGE, moved, fewest = HUGE, out, blocks
    cdef int order
    cdef bint array_known
    cdef bint grouped = l.kind != DENSE
    pixels.batches, pixels.height, pixels.width = l.batches, l.output_height, l.output_width
    while True:
        g.batches = pixels.batches
        g.height = least(fixed[0], l.output_height) if fixed[0] > 0 else pixels.height
        g.width = least(fixed[1], l.output_width) if fixed[1] > 0 else pixels.width
        out = l.output_channels
        while True:
            g.channels_out = least(fixed[2], l.output_channels) if fixed[2] > 0 else out
            products.channels_in = l.input_channels
            products.kernel_height, products.kernel_width = l.kernel_height, l.kernel_width
            if grouped:
                products.channels_in = 1
            while True:
                g.channels_in = least(fixed[3], l.input_channels) if fixed[3] > 0 and not grouped else products.channels_in
                g.kernel_height, g.kernel_width = products.kernel_height, products.kernel_width
                array_known = False
                for order in range(6):
                    if fixed[4] >= 0 and order != fixed[4]:
                        continue
                    g.order = order
                    if not plan(h, l, &g, &p):
                        continue
                    if fixed[4] < 0 and repeats(&p, order):
                        continue
                    if not array_known:
                        clear(&array)
                        array_total(h, l, &g, &p, &array)
                        array_known = True
                    if evaluate(h, l, &g, &p, &array, best, &c) == HUGE:
                        continue
                    moved = c.input_bytes + c.weight_bytes + c.channel_bytes + c.output_bytes + c.spilled_bytes \
                        + c.refilled_bytes
                    if c.cycles < best or (c.cycles == best and moved < fewest):
                        best, fewest = c.cycles, moved
                        chosen[0] = g
                        cheapest[0] = c
                if fixed[3] > 0 and not grouped:
                    if g.channels_in > 1:
                        break
                    products.channels_in = 1
                if products.channels_in > 1:
                    products.channels_in = up(products.channels_in, 2)
                elif not halve(&products.kernel_height) and not halve(&products.kernel_width):
                    break
            if fixed[2] > 0:
                break
            blocks = up(out, h.columns)
            if blocks > 1:
                out = up(blocks, 2) * h.columns
            elif not halve(&out):
                break
        if not halve(&pixels.batches):
            if fixed[0] > 0 or not halve(&pixels.height):
                if fixed[1] > 0 or not halve(&pixels.width):
                    break
    return best


def search(parameters, layer, kind, fixed):
    """Find the mapping of least cycles, and of those the one of least traffic.

    Parameters
    ----------
    parameters : ConvParameters
    layer : ConvLayer
        One that `accel.conv.descriptor.check` passed.
    kind : int
        0 CONV_2D and FULLY_CONNECTED, 1 DEPTHWISE_CONV_2D, 2 pooling, 3 ADD.
    fixed : tuple of int
        Tile height, width, output channels, input channels (0: search), index into `ORDER_NAMES` (-1: search).

    Returns
    -------
    tuple of (dict, dict) or None
        The mapping and its cost, by the names of the structs above; None if no tile fits the buffers.
    """
    cdef Hardware h
    cdef Layer l
    cdef Mapping g
    cdef Cost c
    cdef int64_t[5] f
    h.rows, h.columns = parameters.pe_rows, parameters.pe_columns
    h.dataflow = ("ws", "os", "is").index(parameters.dataflow)
    h.depthwise = ("single", "taps", "packed").index(parameters.depthwise_mapping)
    h.fold_overlap, h.double_buffering = parameters.fold_overlap, parameters.double_buffering
    h.accumulator_bytes = parameters.accumulator_bits // 8
    h.input_buffer = parameters.input_buffer_kib * 1024
    h.weight_buffer = parameters.weight_buffer_kib * 1024
    h.output_buffer = parameters.output_buffer_kib * 1024
    h.bus, h.burst = parameters.bus_width_bytes, parameters.burst_bytes
    h.outstanding, h.latency = parameters.outstanding_bursts, parameters.memory_latency_cycles
    h.requantise = parameters.requantise_per_cycle
    l.kind = kind
    l.batches, l.output_height, l.output_width = layer.batches, layer.output_height, layer.output_width
    l.output_channels, l.input_channels = layer.output_channels, layer.input_channels
    l.multiplier = layer.output_channels // layer.input_channels if kind == DEPTHWISE else 1
    l.kernel_height, l.kernel_width = layer.kernel_height, layer.kernel_width
    l.stride_height, l.stride_width = layer.stride_height, layer.stride_width
    l.dilation_height, l.dilation_width = layer.dilation_height, layer.dilation_width
    l.pad_top, l.pad_left = layer.pad_top, layer.pad_left
    l.input_height, l.input_width = layer.input_height, layer.input_width
    l.channel_bytes = 0 if kind >= POOL else 12 if layer.bias else 8
    for i in range(5):
        f[i] = fixed[i]
    cdef int64_t best
    with nogil:
        best = _search(&h, &l, f, &g, &c)
    if best == HUGE:
        return None
    return g, c
