/* CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED on the SIMD unit (docs/simd.md): each says whether it ran the layer. */
#include "packed.h"
#include "rvsim_simd.h"

static void configure(const struct rvsim_conv_layer *layer) {
  simd_offsets(layer->input_offset, layer->output_offset);
  simd_range(layer->activation_min, layer->activation_max);
}

/* Accumulators 0 and 1: a channel of the first and of the second pixel; 2 and 3: another channel, if there is one. Each word that
   is loaded serves twice. */
static inline __attribute__((always_inline)) void two_by_two(const word *x, const word *y, const word *v,
                                                             const word *w, int32_t words, int other) {
  for (; words >= 4; words -= 4, x += 4, y += 4, v += 4, w += 4) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      uint32_t input = x[i], second = y[i], weight = v[i], next = other ? w[i] : 0;
      simd_mac(input, weight, 0);
      simd_mac(second, weight, 1);
      if (other) simd_mac(input, next, 2);
      if (other) simd_mac(second, next, 3);
    }
  }
  for (; words > 0; words--, x++, y++, v++, w++) {
    uint32_t input = *x, second = *y, weight = *v, next = other ? *w : 0;
    simd_mac(input, weight, 0);
    simd_mac(second, weight, 1);
    if (other) simd_mac(input, next, 2);
    if (other) simd_mac(second, next, 3);
  }
}

static void simd_pair(const struct packed *packed, const int8_t *first, const int8_t *second, int8_t *first_output,
                      int8_t *second_output) {
  const struct rvsim_conv_layer *layer = packed->layer;
  const int32_t *bias = (const int32_t *)layer->bias;
  const int32_t *multiplier = (const int32_t *)layer->multiplier, *shift = (const int32_t *)layer->shift;
  const int32_t outputs = layer->output_channels, step = packed->step;
  for (int32_t base = 0; base < outputs; base += 2 * step) {
    for (int32_t row = 0; row < step && base + row < outputs; row++) {
      const int32_t channel = base + row, next = channel + step, words = packed_words(packed, channel);
      const word *x = (const word *)(first + row * packed->row_bytes), *y = (const word *)(second + row * packed->row_bytes);
      const word *v = packed_filter(packed, channel);
      const int32_t sum = bias ? bias[channel] : 0;
      simd_set(sum, sum, 0);
      if (next < outputs) {
        const int32_t other = bias ? bias[next] : 0;
        simd_set(other, other, 1);
        two_by_two(x, y, v, packed_filter(packed, next), words, 1);
        first_output[next] = (int8_t)simd_requantise(multiplier[next], shift[next], 2);
        second_output[next] = (int8_t)simd_requantise(multiplier[next], shift[next], 3);
      } else {
        two_by_two(x, y, v, v, words, 0);
      }
      first_output[channel] = (int8_t)simd_requantise(multiplier[channel], shift[channel], 0);
      second_output[channel] = (int8_t)simd_requantise(multiplier[channel], shift[channel], 1);
    }
  }
}

int simd_conv_2d(const struct rvsim_conv_layer *layer) {
  const struct packed packed = pack_filters(layer, layer->kernel_height * layer->kernel_width * layer->input_channels);
  if (!packed_fits(&packed)) return 0;
  configure(layer);
  packed_convolution(&packed, simd_pair);
  return 1;
}

/* One row of inputs: four units at once share its words. Rows and filters that do not begin at whole words are the scalar kernel's. */
int simd_fully_connected(const struct rvsim_conv_layer *layer) {
  const int32_t depth = layer->input_channels, units = layer->output_channels;
  if ((layer->input | layer->weights | (uint32_t)depth) & 3) return 0;
  const int32_t *bias = (const int32_t *)layer->bias;
  const int32_t *multiplier = (const int32_t *)layer->multiplier, *shift = (const int32_t *)layer->shift;
  const int32_t words = depth >> 2;
  const word *input = (const word *)layer->input;
  int8_t *output = (int8_t *)layer->output;
  configure(layer);
  for (int32_t batch = 0; batch < layer->batches; batch++, input += words) {
    const word *weights = (const word *)layer->weights;
    int32_t unit = 0;
    for (; unit + 4 <= units; unit += 4, weights += 4 * words) {
      const word *x = input, *a = weights, *b = a + words, *c = b + words, *d = c + words;
      simd_set(bias ? bias[unit] : 0, bias ? bias[unit + 1] : 0, 0);
      simd_set(bias ? bias[unit + 2] : 0, bias ? bias[unit + 3] : 0, 1);
      int32_t left = words;
      for (; left >= 4; left -= 4, x += 4, a += 4, b += 4, c += 4, d += 4) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
          uint32_t inputs = x[i], first = a[i], second = b[i], third = c[i], fourth = d[i];
          simd_mac(inputs, first, 0);
          simd_mac(inputs, second, 1);
          simd_mac(inputs, third, 2);
          simd_mac(inputs, fourth, 3);
        }
      }
      for (; left > 0; left--) {
        uint32_t inputs = *x++;
        simd_mac(inputs, *a++, 0);
        simd_mac(inputs, *b++, 1);
        simd_mac(inputs, *c++, 2);
        simd_mac(inputs, *d++, 3);
      }
      *output++ = (int8_t)simd_requantise(multiplier[unit], shift[unit], 0);
      *output++ = (int8_t)simd_requantise(multiplier[unit + 1], shift[unit + 1], 1);
      *output++ = (int8_t)simd_requantise(multiplier[unit + 2], shift[unit + 2], 2);
      *output++ = (int8_t)simd_requantise(multiplier[unit + 3], shift[unit + 3], 3);
    }
    for (; unit < units; unit++, weights += words) {
      simd_set(bias ? bias[unit] : 0, 0, 0);
      for (int32_t i = 0; i < words; i++) simd_mac(input[i], weights[i], 0);
      *output++ = (int8_t)simd_requantise(multiplier[unit], shift[unit], 0);
    }
  }
  return 1;
}

static inline uint32_t four_channels(const int8_t *pixel, int shared) {
  return shared ? (uint32_t)(uint8_t)*pixel * 0x01010101u : *(const word *)pixel;
}

/* Four channels of one output pixel. `weights` has the group's taps as words in order; `shared`: all four see one input channel. */
static inline __attribute__((always_inline)) void lanes(const int8_t *pixel, const word *weights, struct taps rows, struct taps columns,
                                                        int32_t kernel_width, int32_t row_step, int32_t step, int shared) {
  for (int32_t row = rows.first; row < rows.end; row++, pixel += row_step) {
    const int8_t *tap = pixel;
    const word *weight = weights + row * kernel_width + columns.first;
    int32_t left = columns.end - columns.first;
    for (; left >= 3; left -= 3, weight += 3) {
#pragma GCC unroll 3
      for (int i = 0; i < 3; i++, tap += step) simd_lanes(four_channels(tap, shared), weight[i]);
    }
    for (; left > 0; left--, weight++, tap += step) simd_lanes(four_channels(tap, shared), *weight);
  }
}

/* Channels lie beside each other, so that a word of a pixel and a word of a tap are four channels. Weights are put in the order
   [group of four channels][tap] first. */
int simd_depthwise_conv_2d(const struct rvsim_conv_layer *layer) {
  const int32_t inputs = layer->input_channels, outputs = layer->output_channels, depth_multiplier = outputs / inputs;
  const int32_t taps = layer->kernel_height * layer->kernel_width;
  const int shared = depth_multiplier % 4 == 0;
  if (outputs & 3 || !(shared || (depth_multiplier == 1 && !(layer->input & 3)))) return 0;
  if (taps > PACKED_BYTES / outputs) return 0;
  word weights[taps * outputs / 4];
  const int8_t *from = (const int8_t *)layer->weights;
  for (int32_t tap = 0; tap < taps; tap++) {
    for (int32_t group = 0; group < outputs / 4; group++, from += 4) {
      uint32_t four;
      if ((layer->weights & 3) == 0)
        four = *(const word *)from;
      else
        four = (uint8_t)from[0] | (uint32_t)(uint8_t)from[1] << 8 | (uint32_t)(uint8_t)from[2] << 16 | (uint32_t)(uint8_t)from[3] << 24;
      weights[group * taps + tap] = four;
    }
  }

  const int32_t *bias = (const int32_t *)layer->bias;
  const int32_t *multiplier = (const int32_t *)layer->multiplier, *shift = (const int32_t *)layer->shift;
  const int8_t *input = (const int8_t *)layer->input;
  int8_t *output = (int8_t *)layer->output;
  const int32_t row_bytes = layer->input_width * inputs, row_step = layer->dilation_height * row_bytes;
  const int32_t step = layer->dilation_width * inputs;
  configure(layer);
  for (int32_t batch = 0; batch < layer->batches; batch++, input += layer->input_height * row_bytes) {
    for (int32_t y = 0; y < layer->output_height; y++) {
      const int32_t top = y * layer->stride_height - layer->pad_top;
      const struct taps rows = clip_taps(top, layer->dilation_height, layer->kernel_height, layer->input_height);
      for (int32_t x = 0; x < layer->output_width; x++) {
        const int32_t left = x * layer->stride_width - layer->pad_left;
        const struct taps columns = clip_taps(left, layer->dilation_width, layer->kernel_width, layer->input_width);
        const int8_t *pixel = input + (top + rows.first * layer->dilation_height) * row_bytes +
                              (left + columns.first * layer->dilation_width) * inputs;
        const word *group = weights;
        int32_t within = 0; /* of the channels that see one input channel */
        for (int32_t channel = 0; channel < outputs; channel += 4, group += taps) {
          simd_set(bias ? bias[channel] : 0, bias ? bias[channel + 1] : 0, 0);
          simd_set(bias ? bias[channel + 2] : 0, bias ? bias[channel + 3] : 0, 1);
          if (shared) {
            lanes(pixel, group, rows, columns, layer->kernel_width, row_step, step, 1);
            within += 4;
            if (within == depth_multiplier) pixel++, within = 0;
          } else {
            lanes(pixel, group, rows, columns, layer->kernel_width, row_step, step, 0);
            pixel += 4;
          }
          *output++ = (int8_t)simd_requantise(multiplier[channel], shift[channel], 0);
          *output++ = (int8_t)simd_requantise(multiplier[channel + 1], shift[channel + 1], 1);
          *output++ = (int8_t)simd_requantise(multiplier[channel + 2], shift[channel + 2], 2);
          *output++ = (int8_t)simd_requantise(multiplier[channel + 3], shift[channel + 3], 3);
        }
      }
    }
  }
  return 1;
}
