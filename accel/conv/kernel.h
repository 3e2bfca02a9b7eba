/* The inner loops of the convolution coprocessor's function: im2row, dot products, requantisation.
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

/* TFLite's MultiplyByQuantizedMultiplier with double rounding (tensorflow/lite/kernels/internal/common.h), then
 * zero point and clamp.
 *
 * The truncating division (x*M + nudge) / 2^31, nudge = 2^30 or 1 - 2^30 by sign, equals floor((x*M + 2^30) / 2^31)
 * for both signs. Clamping before the zero point is added keeps a saturated h from wrapping. */
CONV_CLONES static void conv_requantise(const uint32_t *restrict acc, int64_t n, const int32_t *restrict multiplier,
                                        const int32_t *restrict shift, int32_t offset, int32_t low, int32_t high,
                                        int8_t *restrict out)
{
    low -= offset, high -= offset;
    for (int64_t i = 0; i < n; i++) {
        const int32_t left = shift[i] > 0 ? shift[i] : 0, right = shift[i] < 0 ? -shift[i] : 0;
        const int32_t x = (int32_t)(acc[i] << left);
        const int32_t h = (int32_t)(uint32_t)((uint64_t)((int64_t)x * multiplier[i] + (1 << 30)) >> 31);
        const int32_t mask = (int32_t)((1u << right) - 1);
        int32_t y = (h >> right) + ((h & mask) > (mask >> 1) + (h < 0));
        y = y < low ? low : y;
        y = y > high ? high : y;
        out[i] = (int8_t)(y + offset);
    }
}

#endif
