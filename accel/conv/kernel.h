/* The inner loops of the convolution coprocessor's function: im2row, dot products, requantisation, pools, sums.
 *
 * Kept in C because gcc vectorises `sum += (int32)int16 * (int32)int16` into pmaddwd/vpdpwssd only from plain loops,
 * and because one function is compiled for several instruction sets with target_clones, which Cython cannot express.
 *
 * Every accumulator is uint32_t: TFLite's int32 sum, with the wrap-around that C leaves undefined for signed types. */
#ifndef RVSIM_CONV_KERNEL_H
#define RVSIM_CONV_KERNEL_H

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define CONV_CLONES __attribute__((target_clones("arch=icelake-server", "avx2", "default")))
#else
#define CONV_CLONES
#endif

#define CONV_QUAD 4   /* output channels computed together: each input load feeds four dot products */
#define CONV_LANES 32 /* int16 lanes of the widest vector; rows are padded with zeros to a multiple of it */
/* Reduction steps taken at once: 4 x 2048 widened weights stay in the L1 cache. Also keeps the signed partial sums
 * inside int32: 2048 x 255 x 128 < 2^31. */
#define CONV_CHUNK 2048

typedef struct conv_shape {
    int64_t input_height, input_width, input_channels;
    int64_t output_height, output_width, output_channels;
    int64_t kernel_height, kernel_width;
    int64_t stride_height, stride_width, dilation_height, dilation_width, pad_top, pad_left;
    int32_t input_offset, output_offset, activation_min, activation_max;
} conv_shape;

static inline int64_t conv_round_up(int64_t n) { return (n + CONV_LANES - 1) / CONV_LANES * CONV_LANES; }

static inline int32_t conv_load_le32(const uint8_t *p)
{
    return (int32_t)((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
}

static inline void conv_widen(int16_t *restrict to, const int8_t *restrict from, int64_t n, int32_t offset)
{
    for (int64_t i = 0; i < n; i++) to[i] = (int16_t)(from[i] + offset);
}

/* The window of output pixel `pixel` (flattened batch, row, column) as one row of x + input_offset; padded taps are
 * 0, as their product must be. */
CONV_CLONES static void conv_im2row(const conv_shape *s, const int8_t *input, int64_t pixel, int16_t *row,
                                    int64_t pitch)
{
    const int64_t channels = s->input_channels, run = s->kernel_width * channels;
    const int64_t x0 = pixel % s->output_width * s->stride_width - s->pad_left;
    const int64_t y0 = pixel / s->output_width % s->output_height * s->stride_height - s->pad_top;
    const int8_t *image =
        input + pixel / s->output_width / s->output_height * s->input_height * s->input_width * channels;
    int16_t *to = row;

    for (int64_t ky = 0; ky < s->kernel_height; ky++, to += run) {
        const int64_t y = y0 + ky * s->dilation_height;
        if (y < 0 || y >= s->input_height) {
            memset(to, 0, (size_t)run * sizeof *to);
            continue;
        }
        const int8_t *line = image + y * s->input_width * channels;
        if (s->dilation_width == 1 && x0 >= 0 && x0 + s->kernel_width <= s->input_width) {
            conv_widen(to, line + x0 * channels, run, s->input_offset);
            continue;
        }
        for (int64_t kx = 0; kx < s->kernel_width; kx++) {
            const int64_t x = x0 + kx * s->dilation_width;
            if (x < 0 || x >= s->input_width)
                memset(to + kx * channels, 0, (size_t)channels * sizeof *to);
            else
                conv_widen(to + kx * channels, line + x * channels, channels, s->input_offset);
        }
    }
    memset(to, 0, (size_t)(pitch - s->kernel_height * run) * sizeof *to);
}

/* acc[pixel][channel] += rows[pixel] . weights[channel]. `wide` is scratch for CONV_QUAD x CONV_CHUNK int16. */
CONV_CLONES static void conv_multiply(const int16_t *restrict rows, int64_t pitch, int64_t pixels, const int8_t *restrict weights,
                          int64_t depth, int64_t channels, int16_t *restrict wide, uint32_t *restrict acc)
{
    for (int64_t k = 0; k < depth; k += CONV_CHUNK) {
        const int64_t n = depth - k < CONV_CHUNK ? depth - k : CONV_CHUNK;
        const int64_t padded = (n + CONV_LANES - 1) / CONV_LANES * CONV_LANES;
        const int16_t *w0 = wide, *w1 = w0 + padded, *w2 = w1 + padded, *w3 = w2 + padded;
        for (int64_t c = 0; c < channels; c += CONV_QUAD) {
            const int64_t some = channels - c < CONV_QUAD ? channels - c : CONV_QUAD;
            for (int64_t i = 0; i < some; i++) {
                conv_widen(wide + i * padded, weights + (c + i) * depth + k, n, 0);
                memset(wide + i * padded + n, 0, (size_t)(padded - n) * sizeof *wide);
            }
            for (int64_t p = 0; p < pixels; p++) {
                const int16_t *x = rows + p * pitch + k;
                int32_t sum[CONV_QUAD], s0 = 0, s1 = 0, s2 = 0, s3 = 0;
                if (some == CONV_QUAD)
                    for (int64_t i = 0; i < padded; i++) {
                        s0 += (int32_t)x[i] * w0[i];
                        s1 += (int32_t)x[i] * w1[i];
                        s2 += (int32_t)x[i] * w2[i];
                        s3 += (int32_t)x[i] * w3[i];
                    }
                else
                    for (int64_t i = 0; i < padded; i++) {
                        s0 += (int32_t)x[i] * w0[i];
                        if (some > 1) s1 += (int32_t)x[i] * w1[i];
                        if (some > 2) s2 += (int32_t)x[i] * w2[i];
                    }
                sum[0] = s0, sum[1] = s1, sum[2] = s2, sum[3] = s3;
                for (int64_t i = 0; i < some; i++) acc[p * channels + c + i] += (uint32_t)sum[i];
            }
        }
    }
}

/* One output pixel of a depthwise convolution: acc[channel] += (x + input_offset) * w over the taps in the input. */
CONV_CLONES static void conv_depthwise(const conv_shape *s, const int8_t *input, int64_t pixel, const int8_t *weights,
                                       uint32_t *restrict acc)
{
    const int64_t channels = s->input_channels, outputs = s->output_channels, multiplier = outputs / channels;
    const int32_t offset = s->input_offset;
    const int64_t x0 = pixel % s->output_width * s->stride_width - s->pad_left;
    const int64_t y0 = pixel / s->output_width % s->output_height * s->stride_height - s->pad_top;
    const int8_t *image =
        input + pixel / s->output_width / s->output_height * s->input_height * s->input_width * channels;

    for (int64_t ky = 0; ky < s->kernel_height; ky++) {
        const int64_t y = y0 + ky * s->dilation_height;
        if (y < 0 || y >= s->input_height) continue;
        for (int64_t kx = 0; kx < s->kernel_width; kx++) {
            const int64_t x = x0 + kx * s->dilation_width;
            if (x < 0 || x >= s->input_width) continue;
            const int8_t *restrict from = image + (y * s->input_width + x) * channels;
            const int8_t *restrict w = weights + (ky * s->kernel_width + kx) * outputs;
            if (multiplier == 1)
                for (int64_t c = 0; c < channels; c++) acc[c] += (uint32_t)((from[c] + offset) * w[c]);
            else
                for (int64_t c = 0; c < channels; c++)
                    for (int64_t m = 0; m < multiplier; m++)
                        acc[c * multiplier + m] += (uint32_t)((from[c] + offset) * w[c * multiplier + m]);
        }
    }
}

/* Weights of a depthwise layer, each tap's repeated for every pixel of an output row, for conv_depthwise_row. */
static inline void conv_repeat(const conv_shape *s, const int8_t *weights, int16_t *wide)
{
    const int64_t channels = s->input_channels, taps = s->kernel_height * s->kernel_width;
    for (int64_t t = 0; t < taps; t++)
        for (int64_t x = 0; x < s->output_width; x++, wide += channels)
            conv_widen(wide, weights + t * channels, channels, 0);
}

/* One output row of a depthwise convolution with stride 1 across and one output channel for each input channel: the
 * pixels of a row are one run, so that few channels fill a vector too. `pixel` is the row's first. */
CONV_CLONES static void conv_depthwise_row(const conv_shape *s, const int8_t *input, int64_t pixel,
                                           const int16_t *restrict wide, uint32_t *restrict acc)
{
    const int64_t channels = s->input_channels, run = s->output_width * channels;
    const int32_t offset = s->input_offset;
    const int64_t y0 = pixel / s->output_width % s->output_height * s->stride_height - s->pad_top;
    const int8_t *image =
        input + pixel / s->output_width / s->output_height * s->input_height * s->input_width * channels;

    for (int64_t ky = 0; ky < s->kernel_height; ky++) {
        const int64_t y = y0 + ky * s->dilation_height;
        if (y < 0 || y >= s->input_height) continue;
        for (int64_t kx = 0; kx < s->kernel_width; kx++) {
            const int64_t shift = kx * s->dilation_width - s->pad_left; /* input column of output column 0 */
            const int64_t first = shift < 0 ? -shift : 0;
            const int64_t beyond = s->input_width - shift < s->output_width ? s->input_width - shift : s->output_width;
            if (first >= beyond) continue;
            const int8_t *restrict from = image + (y * s->input_width + first + shift) * channels;
            const int16_t *restrict w = wide + (ky * s->kernel_width + kx) * run;
            uint32_t *restrict to = acc + first * channels;
            const int64_t n = (beyond - first) * channels;
            for (int64_t i = 0; i < n; i++) to[i] += (uint32_t)((from[i] + offset) * w[i]);
        }
    }
}

/* TFLite's MultiplyByQuantizedMultiplier with double rounding (tensorflow/lite/kernels/internal/common.h).
 *
 * The truncating division (x*M + nudge) / 2^31, nudge = 2^30 or 1 - 2^30 by sign, equals floor((x*M + 2^30) / 2^31)
 * for both signs. */
static inline int32_t conv_scale(uint32_t acc, int32_t multiplier, int32_t shift)
{
    const int32_t left = shift > 0 ? shift : 0, right = shift < 0 ? -shift : 0;
    const int32_t x = (int32_t)(acc << left);
    const int32_t h = (int32_t)(uint32_t)((uint64_t)((int64_t)x * multiplier + (1 << 30)) >> 31);
    const int32_t mask = (int32_t)((1u << right) - 1);
    return (h >> right) + ((h & mask) > (mask >> 1) + (h < 0));
}

static inline int32_t conv_clamp(int32_t y, int32_t low, int32_t high)
{
    y = y < low ? low : y;
    return y > high ? high : y;
}

/* From accumulators to outputs. Clamping before the zero point is added keeps a saturated value from wrapping. */
CONV_CLONES static void conv_requantise(const uint32_t *restrict acc, int64_t n, const int32_t *restrict multiplier,
                                        const int32_t *restrict shift, int32_t offset, int32_t low, int32_t high,
                                        int8_t *restrict out)
{
    low -= offset, high -= offset;
    for (int64_t i = 0; i < n; i++)
        out[i] = (int8_t)(conv_clamp(conv_scale(acc[i], multiplier[i], shift[i]), low, high) + offset);
}

/* TFLite's int8 ADD (reference/integer_ops/add.h): both operands shifted left by 20 and scaled, their sum scaled
 * again. `multiplier` and `shift` are the first operand's, the second's and the sum's. */
CONV_CLONES static void conv_add(const conv_shape *s, const int8_t *restrict first, const int8_t *restrict second,
                                 int64_t n, const int32_t *multiplier, const int32_t *shift, int32_t second_offset,
                                 int8_t *restrict out)
{
    const int32_t m0 = multiplier[0], m1 = multiplier[1], m2 = multiplier[2], e0 = shift[0], e1 = shift[1], e2 = shift[2];
    const int32_t offset = s->output_offset, low = s->activation_min - offset, high = s->activation_max - offset;
    for (int64_t i = 0; i < n; i++) {
        const int32_t a = conv_scale((uint32_t)(first[i] + s->input_offset) << 20, m0, e0);
        const int32_t b = conv_scale((uint32_t)(second[i] + second_offset) << 20, m1, e1);
        out[i] = (int8_t)(conv_clamp(conv_scale((uint32_t)a + (uint32_t)b, m2, e2), low, high) + offset);
    }
}

/* Output pixels `pixel` to `pixel + count`, all of one row, of an average or a maximum over windows. Columns of the
 * rows in reach first, then windows of those columns: a tap costs a part of a vector operation, whatever the number of
 * channels. Callers give whole rows only if the windows leave no gaps, so that no column is reduced in vain.
 *
 * `columns` is scratch for an int32_t an input element of the columns in reach, `acc` for one an input channel. A window
 * that conv_pool gets has an element inside the input (accel/conv/descriptor.py). */
CONV_CLONES static void conv_pool(const conv_shape *s, const int8_t *input, int64_t pixel, int64_t count, int maximum,
                                  int32_t *restrict columns, int32_t *restrict acc, int8_t *restrict out)
{
    const int64_t channels = s->input_channels, row = pixel / s->output_width;
    const int64_t y0 = row % s->output_height * s->stride_height - s->pad_top;
    const int64_t y_first = y0 < 0 ? 0 : y0;
    const int64_t y_end = s->input_height - y0 < s->kernel_height ? s->input_height : y0 + s->kernel_height;
    const int64_t x0 = pixel % s->output_width * s->stride_width - s->pad_left;
    const int64_t last = x0 + (count - 1) * s->stride_width;
    const int64_t x_first = x0 < 0 ? 0 : x0;
    const int64_t x_end = s->input_width - last < s->kernel_width ? s->input_width : last + s->kernel_width;
    const int64_t run = (x_end - x_first) * channels, pitch = s->input_width * channels;
    const int8_t *from = input + (row / s->output_height * s->input_height + y_first) * pitch + x_first * channels;

    for (int64_t i = 0; i < run; i++) columns[i] = from[i];
    for (int64_t y = y_first + 1; y < y_end; y++) {
        from += pitch;
        if (maximum)
            for (int64_t i = 0; i < run; i++) columns[i] = columns[i] < from[i] ? from[i] : columns[i];
        else
            for (int64_t i = 0; i < run; i++) columns[i] += from[i];
    }
    for (int64_t p = 0; p < count; p++, out += channels) {
        const int64_t x = x0 + p * s->stride_width, begin = x < 0 ? 0 : x;
        const int64_t end = s->input_width - x < s->kernel_width ? s->input_width : x + s->kernel_width;
        const int32_t *restrict column = columns + (begin - x_first) * channels;
        memcpy(acc, column, (size_t)channels * sizeof *acc);
        for (int64_t k = begin + 1; k < end; k++) {
            column += channels;
            if (maximum)
                for (int64_t c = 0; c < channels; c++) acc[c] = acc[c] < column[c] ? column[c] : acc[c];
            else
                for (int64_t c = 0; c < channels; c++) acc[c] += column[c];
        }
        const int32_t taps = (int32_t)((y_end - y_first) * (end - begin)), half = taps / 2;
        for (int64_t c = 0; c < channels; c++) {
            /* A truncating division of integers (reference/integer_ops/pooling.h): exact in double, whose error near a
             * quotient of 128 is 2^-46 where the quotient of integers is 1 / taps >= 2^-23 off a whole number. */
            const int32_t sum = acc[c] > 0 ? acc[c] + half : acc[c] - half;
            const int32_t y = maximum ? acc[c] : (int32_t)((double)sum / taps);
            out[c] = (int8_t)conv_clamp(y, s->activation_min, s->activation_max);
        }
    }
}

#endif
