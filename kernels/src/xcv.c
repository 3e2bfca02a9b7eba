/* CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED on CORE-V's XCV instructions (docs/xcv.md): each says whether it ran the layer.

   cv.sdotsp.b knows no input offset: sum (x + offset) w = sum x w + offset sum w, whose second part is added to the bias once a layer. */
#include "packed.h"
#include "requantise.h"
#include "rvsim_xcv.h"

#define ONES 0x01010101u
#define MAX_CHANNELS 1024 /* whose sums lie on the stack */

static inline int8_t finish(const struct rvsim_conv_layer *layer, int32_t sum, int32_t channel) {
  int32_t value = requantise_inline(sum, ((const int32_t *)layer->multiplier)[channel], ((const int32_t *)layer->shift)[channel]);
  value = (int32_t)cv_max((uint32_t)(value + layer->output_offset), (uint32_t)layer->activation_min);
  return (int8_t)cv_min((uint32_t)value, (uint32_t)layer->activation_max);
}

/* ------------------------------------------------------------------------------------------------------------ CONV_2D */

struct windows {
  struct packed packed;
  const int32_t *start; /* what each channel's sum begins with */
};

/* PULP-NN's shape (arXiv 1908.11263): four channels of two pixels, eight sums in registers. */
static __attribute__((noinline)) void four_by_two(const word *x, const word *y, const word *const filter[4], int32_t words,
                                                              uint32_t sums[8]) {
  const word *a = filter[0], *b = filter[1], *c = filter[2], *d = filter[3];
  uint32_t a0 = sums[0], b0 = sums[1], c0 = sums[2], d0 = sums[3], a1 = sums[4], b1 = sums[5], c1 = sums[6], d1 = sums[7];
  /* A hardware loop of 14 instructions. Opcode 0x0b: cv.lw with post-increment; 0x7b: cv.sdotsp.b. */
  __asm__ volatile(
      ".balign 4\n.option push\n.option norvc\n"
      CV_SETUP_0(%[words], 15)
      ".insn i 0x0b, 2, t0, %[a], 4\n.insn i 0x0b, 2, t1, %[b], 4\n.insn i 0x0b, 2, t2, %[c], 4\n"
      ".insn i 0x0b, 2, t3, %[d], 4\n.insn i 0x0b, 2, t4, %[x], 4\n.insn i 0x0b, 2, t5, %[y], 4\n"
      ".insn r 0x7b, 1, 0x54, %[a0], t4, t0\n.insn r 0x7b, 1, 0x54, %[b0], t4, t1\n"
      ".insn r 0x7b, 1, 0x54, %[c0], t4, t2\n.insn r 0x7b, 1, 0x54, %[d0], t4, t3\n"
      ".insn r 0x7b, 1, 0x54, %[a1], t5, t0\n.insn r 0x7b, 1, 0x54, %[b1], t5, t1\n"
      ".insn r 0x7b, 1, 0x54, %[c1], t5, t2\n.insn r 0x7b, 1, 0x54, %[d1], t5, t3\n"
      ".option pop"
      : [a0] "+r"(a0), [b0] "+r"(b0), [c0] "+r"(c0), [d0] "+r"(d0), [a1] "+r"(a1), [b1] "+r"(b1), [c1] "+r"(c1), [d1] "+r"(d1),
        [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), [x] "+r"(x), [y] "+r"(y)
      : [words] "r"(words)
      : "memory", "t0", "t1", "t2", "t3", "t4", "t5");
  sums[0] = a0, sums[1] = b0, sums[2] = c0, sums[3] = d0, sums[4] = a1, sums[5] = b1, sums[6] = c1, sums[7] = d1;
}

static void xcv_pair(const struct packed *packed, const int8_t *first, const int8_t *second, int8_t *first_output, int8_t *second_output) {
  const struct rvsim_conv_layer *layer = packed->layer;
  const int32_t *start = ((const struct windows *)packed)->start;
  const int32_t outputs = layer->output_channels, step = packed->step;
  for (int32_t base = 0; base < outputs; base += 4 * step) {
    for (int32_t row = 0; row < step && base + row < outputs; row++) {
      const int32_t channel = base + row, words = packed_words(packed, channel);
      const word *x = (const word *)(first + row * packed->row_bytes), *y = (const word *)(second + row * packed->row_bytes);
      if (channel + 3 * step < outputs) {
        const word *const filters[4] = {packed_filter(packed, channel), packed_filter(packed, channel + step),
                                        packed_filter(packed, channel + 2 * step), packed_filter(packed, channel + 3 * step)};
        uint32_t sums[8];
        for (int i = 0; i < 4; i++) sums[i] = sums[i + 4] = (uint32_t)start[channel + i * step];
        four_by_two(x, y, filters, words, sums);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
          first_output[channel + i * step] = finish(layer, (int32_t)sums[i], channel + i * step);
          second_output[channel + i * step] = finish(layer, (int32_t)sums[i + 4], channel + i * step);
        }
        continue;
      }
      for (int32_t one = channel; one < outputs; one += step) {
        const word *filter = packed_filter(packed, one);
        uint32_t sum = (uint32_t)start[one], other = sum;
        for (int32_t i = 0; i < words; i++) sum = cv_sdotsp_b(sum, x[i], filter[i]), other = cv_sdotsp_b(other, y[i], filter[i]);
        first_output[one] = finish(layer, (int32_t)sum, one);
        second_output[one] = finish(layer, (int32_t)other, one);
      }
    }
  }
}

int xcv_conv_2d(const struct rvsim_conv_layer *layer) {
  const int32_t outputs = layer->output_channels;
  const int32_t *bias = (const int32_t *)layer->bias;
  struct windows windows = {pack_filters(layer, layer->kernel_height * layer->kernel_width * layer->input_channels), 0};
  if (!packed_fits(&windows.packed) || outputs > MAX_CHANNELS) return 0;
  int32_t start[outputs];
  for (int32_t channel = 0; channel < outputs; channel++) {
    /* Neighbours' bytes in the first and last word count as well: the window has the input's zero point there, which is -offset. */
    const word *filter = packed_filter(&windows.packed, channel);
    uint32_t sum = 0;
    for (int32_t words = packed_words(&windows.packed, channel); words > 0; words--) sum = cv_sdotsp_b(sum, ONES, *filter++);
    start[channel] = (int32_t)((uint32_t)(bias ? bias[channel] : 0) + sum * (uint32_t)layer->input_offset);
  }
  windows.start = start;
  packed_convolution(&windows.packed, xcv_pair);
  return 1;
}

/* ---------------------------------------------------------------------------------------------------- FULLY_CONNECTED */

int xcv_fully_connected(const struct rvsim_conv_layer *layer) {
  const int32_t depth = layer->input_channels, units = layer->output_channels, words = depth >> 2;
  if ((layer->input | layer->weights | (uint32_t)depth) & 3) return 0;
  const int32_t *bias = (const int32_t *)layer->bias;
  const uint32_t offset = (uint32_t)layer->input_offset, ones = ONES;
  int8_t *output = (int8_t *)layer->output;
  const word *input = (const word *)layer->input;
  for (int32_t batch = 0; batch < layer->batches; batch++, input += words) {
    const word *weights = (const word *)layer->weights;
    int32_t unit = 0;
    for (; unit + 4 <= units; unit += 4, weights += 4 * words) {
      const word *x = input, *a = weights, *b = a + words, *c = b + words, *d = c + words;
      uint32_t sums[4] = {0, 0, 0, 0}, offsets[4] = {0, 0, 0, 0};
      __asm__ volatile(
          ".balign 4\n.option push\n.option norvc\n"
          CV_SETUP_0(%[words], 14)
          ".insn i 0x0b, 2, t0, %[x], 4\n.insn i 0x0b, 2, t1, %[a], 4\n.insn i 0x0b, 2, t2, %[b], 4\n"
          ".insn i 0x0b, 2, t3, %[c], 4\n.insn i 0x0b, 2, t4, %[d], 4\n"
          ".insn r 0x7b, 1, 0x54, %[a0], t0, t1\n.insn r 0x7b, 1, 0x54, %[b0], t0, t2\n"
          ".insn r 0x7b, 1, 0x54, %[c0], t0, t3\n.insn r 0x7b, 1, 0x54, %[d0], t0, t4\n"
          ".insn r 0x7b, 1, 0x54, %[a1], %[ones], t1\n.insn r 0x7b, 1, 0x54, %[b1], %[ones], t2\n"
          ".insn r 0x7b, 1, 0x54, %[c1], %[ones], t3\n.insn r 0x7b, 1, 0x54, %[d1], %[ones], t4\n"
          ".option pop"
          : [a0] "+r"(sums[0]), [b0] "+r"(sums[1]), [c0] "+r"(sums[2]), [d0] "+r"(sums[3]), [a1] "+r"(offsets[0]), [b1] "+r"(offsets[1]),
            [c1] "+r"(offsets[2]), [d1] "+r"(offsets[3]), [x] "+r"(x), [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d)
          : [words] "r"(words), [ones] "r"(ones)
          : "memory", "t0", "t1", "t2", "t3", "t4");
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) {
        const uint32_t start = bias ? (uint32_t)bias[unit + i] : 0;
        *output++ = finish(layer, (int32_t)(start + sums[i] + offsets[i] * offset), unit + i);
      }
    }
    for (; unit < units; unit++, weights += words) {
      uint32_t sum = 0, all = 0;
      for (int32_t i = 0; i < words; i++) sum = cv_sdotsp_b(sum, input[i], weights[i]), all = cv_sdotsp_b(all, ones, weights[i]);
      *output++ = finish(layer, (int32_t)((bias ? (uint32_t)bias[unit] : 0) + sum + all * offset), unit);
    }
  }
  return 1;
}

/* -------------------------------------------------------------------------------------------------- DEPTHWISE_CONV_2D */

/* Four bytes of each of four words, the first bytes into the first word and so on. */
static inline __attribute__((always_inline)) void transpose(uint32_t four[4]) {
  const uint32_t low = 0x05010400u, high = 0x07030602u; /* bytes of rd: 0 to 3, of rs1: 4 to 7 */
  const uint32_t a = cv_shuffle2_b(four[0], four[1], low), b = cv_shuffle2_b(four[0], four[1], high);
  const uint32_t c = cv_shuffle2_b(four[2], four[3], low), d = cv_shuffle2_b(four[2], four[3], high);
  four[0] = cv_pack(c, a), four[1] = cv_pack_h(c, a), four[2] = cv_pack(d, b), four[3] = cv_pack_h(d, b);
}

/* Taps as words of four, a channel's beside each other. The weights are put so once, the pixels' words of four channels are transposed
   with the others of four taps. Of one to three last taps the word of four channels is taken as it is, beside a weight whose other
   bytes are 0. Taps in the padding point to zero points. */
int xcv_depthwise_conv_2d(const struct rvsim_conv_layer *layer) {
  const int32_t channels = layer->input_channels, taps = layer->kernel_height * layer->kernel_width;
  const int32_t quads = taps >> 2, last = taps & 3, group_words = 4 * (quads + last);
  if (layer->output_channels != channels || (layer->input | (uint32_t)channels) & 3 || channels > MAX_CHANNELS) return 0;
  if (taps > 64 || channels * (quads + last) > PACKED_BYTES / 4) return 0;
  const int8_t *from = (const int8_t *)layer->weights, *taps_of[taps];
  const int32_t *bias = (const int32_t *)layer->bias;
  word weights[channels * (quads + last)], zeros[channels / 4];
  int32_t start[channels];
  for (int32_t i = 0; i < channels / 4; i++) zeros[i] = (uint8_t)-layer->input_offset * ONES;
  for (int32_t channel = 0; channel < channels; channel++) {
    word *group = weights + (channel >> 2) * group_words, sum = 0;
    for (int32_t quad = 0; quad < quads; quad++) {
      const int8_t *tap = from + 4 * quad * channels + channel;
      uint32_t four = (uint8_t)tap[0] | (uint32_t)(uint8_t)tap[channels] << 8 | (uint32_t)(uint8_t)tap[2 * channels] << 16 |
                      (uint32_t)(uint8_t)tap[3 * channels] << 24;
      group[4 * quad + (channel & 3)] = four;
      sum = cv_sdotsp_b(sum, ONES, four);
    }
    for (int32_t tap = 0; tap < last; tap++) {
      const int8_t weight = from[(4 * quads + tap) * channels + channel];
      group[4 * (quads + tap) + (channel & 3)] = (uint32_t)(uint8_t)weight << 8 * (channel & 3);
      sum += (uint32_t)weight;
    }
    start[channel] = (int32_t)((uint32_t)(bias ? bias[channel] : 0) + sum * (uint32_t)layer->input_offset);
  }

  const int8_t *input = (const int8_t *)layer->input;
  int8_t *output = (int8_t *)layer->output;
  const int32_t row_bytes = layer->input_width * channels;
  for (int32_t batch = 0; batch < layer->batches; batch++, input += layer->input_height * row_bytes) {
    for (int32_t y = 0; y < layer->output_height; y++) {
      for (int32_t x = 0; x < layer->output_width; x++) {
        const int32_t top = y * layer->stride_height - layer->pad_top, left = x * layer->stride_width - layer->pad_left;
        const struct taps rows = clip_taps(top, layer->dilation_height, layer->kernel_height, layer->input_height);
        const struct taps columns = clip_taps(left, layer->dilation_width, layer->kernel_width, layer->input_width);
        for (int32_t tap = 0; tap < taps; tap++) taps_of[tap] = (const int8_t *)zeros;
        for (int32_t row = rows.first; row < rows.end; row++) {
          const int8_t *pixel = input + (top + row * layer->dilation_height) * row_bytes + left * channels;
          for (int32_t column = columns.first; column < columns.end; column++)
            taps_of[row * layer->kernel_width + column] = pixel + column * layer->dilation_width * channels;
        }
        const word *weight = weights;
        for (int32_t channel = 0; channel < channels; channel += 4) {
          uint32_t sums[4] = {(uint32_t)start[channel], (uint32_t)start[channel + 1], (uint32_t)start[channel + 2],
                              (uint32_t)start[channel + 3]};
          const int8_t *const *of = taps_of;
          for (int32_t quad = 0; quad < quads; quad++, of += 4) {
            uint32_t four[4] = {CV_LW_SUM(of[0], channel), CV_LW_SUM(of[1], channel), CV_LW_SUM(of[2], channel), CV_LW_SUM(of[3], channel)};
            transpose(four);
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) sums[i] = cv_sdotsp_b(sums[i], four[i], CV_LW_POST(weight, 4));
          }
          for (int32_t rest = 0; rest < last; rest++) {
            uint32_t four = CV_LW_SUM(*of++, channel);
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) sums[i] = cv_sdotsp_b(sums[i], four, CV_LW_POST(weight, 4));
          }
#pragma GCC unroll 4
          for (int i = 0; i < 4; i++) *output++ = finish(layer, (int32_t)sums[i], channel + i);
        }
      }
    }
  }
  return 1;
}
