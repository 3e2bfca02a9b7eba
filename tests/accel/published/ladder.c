/* A network's layers, one behind the other, by kernels of the steps that CFU-Playground went (google/CFU-Playground at 7f8ec414:
   docs/source/step-by-step.rst, proj/kws_micro_accel/DESIGN.md). LADDER_CONV and LADDER_DEPTHWISE choose them. Written anew after
   the loops that those pages and TensorFlow Lite's reference kernels describe. Prints each layer's cycles. */
#include "rvsim_conv.h"
#include "rvsim_host.h"
#include "rvsim_simd.h"
#include "../../../kernels/src/kernels.h"

enum { REFERENCE, SPECIALISED, UNROLLED, SIMD_POINTWISE, SIMD_MAC, SIMD_REQUANTISE, SIMD_SPECIALISED };

extern const struct rvsim_conv_layer ladder_layers[], ladder_layers_end[];

struct shape {
  int32_t size[4];
};

/* The element's index, worked out anew at each access as TensorFlow Lite's Offset() does. */
static inline int32_t offset(const struct shape *shape, int32_t a, int32_t b, int32_t c, int32_t d) {
  return ((a * shape->size[1] + b) * shape->size[2] + c) * shape->size[3] + d;
}

/* MultiplyByQuantizedMultiplier as common.h and gemmlowp's fixedpoint.h state it, saturation included. */
static __attribute__((noinline)) int32_t multiply_by_quantised_multiplier(int32_t value, int32_t multiplier, int32_t shift) {
  const int32_t left = shift > 0 ? shift : 0, right = shift > 0 ? 0 : -shift;
  const int32_t a = value * (1 << left);
  const int saturates = a == multiplier && a == INT32_MIN;
  const int64_t product = (int64_t)a * multiplier;
  const int32_t nudge = product >= 0 ? 1 << 30 : 1 - (1 << 30);
  int32_t high = (int32_t)((product + nudge) / (1ll << 31));
  if (saturates) high = INT32_MAX;
  const int32_t mask = (int32_t)((1ll << right) - 1), remainder = high & mask;
  const int32_t threshold = (mask >> 1) + (high < 0);
  return (high >> right) + (remainder > threshold);
}

static inline int8_t finish(const struct rvsim_conv_layer *layer, int32_t acc, int32_t channel) {
  const int32_t multiplier = ((const int32_t *)layer->multiplier)[channel], shift = ((const int32_t *)layer->shift)[channel];
  acc = multiply_by_quantised_multiplier(acc, multiplier, shift) + layer->output_offset;
  if (acc < layer->activation_min) acc = layer->activation_min;
  if (acc > layer->activation_max) acc = layer->activation_max;
  return (int8_t)acc;
}

/* The same on the unit; its offsets and bounds are set before a layer. */
static inline int8_t finish_on_unit(const struct rvsim_conv_layer *layer, int32_t acc, int32_t channel) {
  const int32_t multiplier = ((const int32_t *)layer->multiplier)[channel], shift = ((const int32_t *)layer->shift)[channel];
  return (int8_t)simd_clamp(simd_round(simd_high(acc, multiplier), -shift));
}

static inline int32_t bias_of(const struct rvsim_conv_layer *layer, int32_t channel) {
  return layer->bias ? ((const int32_t *)layer->bias)[channel] : 0;
}

/* TensorFlow Lite's loops. `mac`: one product a time on the unit; four where the input has many channels. */
static inline __attribute__((always_inline)) void conv_loops(const struct rvsim_conv_layer *layer, int mac, int requantise_on_unit) {
  const int8_t *input = (const int8_t *)layer->input, *filter = (const int8_t *)layer->weights;
  int8_t *output = (int8_t *)layer->output;
  struct shape in = {{layer->batches, layer->input_height, layer->input_width, layer->input_channels}};
  struct shape kernel = {{layer->output_channels, layer->kernel_height, layer->kernel_width, layer->input_channels}};
  struct shape out = {{layer->batches, layer->output_height, layer->output_width, layer->output_channels}};
  __asm__ volatile("" : "+m"(in), "+m"(kernel), "+m"(out)); /* known when the program runs, not before */
  for (int32_t batch = 0; batch < layer->batches; batch++)
    for (int32_t out_y = 0; out_y < out.size[1]; out_y++)
      for (int32_t out_x = 0; out_x < out.size[2]; out_x++)
        for (int32_t channel = 0; channel < out.size[3]; channel++) {
          const int32_t top = out_y * layer->stride_height - layer->pad_top, left = out_x * layer->stride_width - layer->pad_left;
          int32_t acc = 0;
          if (mac) simd_set(0, 0, 0);
          for (int32_t y = 0; y < kernel.size[1]; y++)
            for (int32_t x = 0; x < kernel.size[2]; x++) {
              const int32_t in_y = top + y * layer->dilation_height, in_x = left + x * layer->dilation_width;
              if (in_x < 0 || in_x >= in.size[2] || in_y < 0 || in_y >= in.size[1]) continue;
              if (mac && (in.size[3] & 3) == 0) {
                for (int32_t c = 0; c < in.size[3]; c += 4)
                  acc = simd_mac_sum(*(const uint32_t *)(input + offset(&in, batch, in_y, in_x, c)),
                                     *(const uint32_t *)(filter + offset(&kernel, channel, y, x, c)), 0);
              } else {
                for (int32_t c = 0; c < in.size[3]; c++) {
                  const int32_t value = input[offset(&in, batch, in_y, in_x, c)], weight = filter[offset(&kernel, channel, y, x, c)];
                  if (mac) acc = simd_mac_sum((uint8_t)value, (uint8_t)weight, 0);
                  else acc += weight * (value + layer->input_offset);
                }
              }
            }
          acc += bias_of(layer, channel);
          output[offset(&out, batch, out_y, out_x, channel)] =
              requantise_on_unit ? finish_on_unit(layer, acc, channel) : finish(layer, acc, channel);
        }
}

/* Constants put in: 1x1, stride 1, no padding, input offset 128. */
static inline __attribute__((always_inline)) void pointwise(const struct rvsim_conv_layer *layer, int kind) {
  const int8_t *input = (const int8_t *)layer->input, *filter = (const int8_t *)layer->weights;
  int8_t *output = (int8_t *)layer->output;
  struct shape in = {{layer->batches, layer->input_height, layer->input_width, layer->input_channels}};
  struct shape kernel = {{layer->output_channels, 1, 1, layer->input_channels}};
  struct shape out = {{layer->batches, layer->output_height, layer->output_width, layer->output_channels}};
  __asm__ volatile("" : "+m"(in), "+m"(kernel), "+m"(out));
  for (int32_t batch = 0; batch < layer->batches; batch++)
    for (int32_t y = 0; y < out.size[1]; y++)
      for (int32_t x = 0; x < out.size[2]; x++)
        for (int32_t channel = 0; channel < out.size[3]; channel++) {
          int32_t acc = 0;
          if (x >= in.size[2] || y >= in.size[1]) continue;
          if (kind >= SIMD_POINTWISE) simd_set(0, 0, 0);
          for (int32_t c = 0; c < in.size[3]; c += kind == SPECIALISED ? 1 : 4) {
            const int8_t *value = input + offset(&in, batch, y, x, c), *weight = filter + offset(&kernel, channel, 0, 0, c);
            if (kind >= SIMD_POINTWISE) {
              acc = simd_mac_sum(*(const uint32_t *)value, *(const uint32_t *)weight, 0);
            } else {
              acc += *weight * (*value + 128);
              if (kind == UNROLLED) {
                acc += weight[1] * (value[1] + 128);
                acc += weight[2] * (value[2] + 128);
                acc += weight[3] * (value[3] + 128);
              }
            }
          }
          acc += bias_of(layer, channel);
          output[offset(&out, batch, y, x, channel)] =
              kind == SIMD_SPECIALISED ? finish_on_unit(layer, acc, channel) : finish(layer, acc, channel);
        }
}

/* kws_micro_accel's last step: 64 channels, and a kernel of its own for the first layer of one channel. */
static inline __attribute__((always_inline)) void pointwise_64(const struct rvsim_conv_layer *layer) {
  const int8_t *pixel = (const int8_t *)layer->input;
  int8_t *output = (int8_t *)layer->output;
  for (int32_t left = layer->output_height * layer->output_width; left > 0; left--, pixel += 64) {
    const int8_t *filter = (const int8_t *)layer->weights;
    for (int32_t channel = 0; channel < layer->output_channels; channel++, filter += 64) {
      int32_t acc = 0;
      simd_set(0, 0, 0);
      for (int32_t c = 0; c < 64; c += 4) acc = simd_mac_sum(*(const uint32_t *)(pixel + c), *(const uint32_t *)(filter + c), 0);
      *output++ = finish_on_unit(layer, acc + bias_of(layer, channel), channel);
    }
  }
}

static inline __attribute__((always_inline)) void one_channel(const struct rvsim_conv_layer *layer) {
  const int8_t *input = (const int8_t *)layer->input;
  int8_t *output = (int8_t *)layer->output;
  const int32_t width = layer->input_width, height = layer->input_height;
  for (int32_t out_y = 0; out_y < layer->output_height; out_y++)
    for (int32_t out_x = 0; out_x < layer->output_width; out_x++) {
      const int8_t *filter = (const int8_t *)layer->weights;
      const int32_t top = out_y * layer->stride_height - layer->pad_top, left = out_x * layer->stride_width - layer->pad_left;
      for (int32_t channel = 0; channel < layer->output_channels; channel++) {
        int32_t acc = 0;
        simd_set(0, 0, 0);
        for (int32_t y = top; y < top + layer->kernel_height; y++)
          for (int32_t x = left; x < left + layer->kernel_width; x++, filter++)
            if (x >= 0 && x < width && y >= 0 && y < height) acc = simd_mac_sum((uint8_t)input[y * width + x], (uint8_t)*filter, 0);
        *output++ = finish_on_unit(layer, acc + bias_of(layer, channel), channel);
      }
    }
}

static void conv(const struct rvsim_conv_layer *layer) {
  const int plain = layer->kernel_height == 1 && layer->kernel_width == 1 && layer->stride_height == 1 && layer->stride_width == 1;
  if (plain && layer->input_offset == 128 && LADDER_CONV >= SPECIALISED && LADDER_CONV <= SIMD_POINTWISE)
    pointwise(layer, LADDER_CONV);
  else if (LADDER_CONV == SIMD_SPECIALISED && plain && layer->input_channels == 64)
    pointwise_64(layer);
  else if (LADDER_CONV == SIMD_SPECIALISED && layer->input_channels == 1)
    one_channel(layer);
  else
    conv_loops(layer, LADDER_CONV >= SIMD_MAC, LADDER_CONV >= SIMD_REQUANTISE);
}

static inline __attribute__((always_inline)) void depthwise_loops(const struct rvsim_conv_layer *layer, int mac, int requantise_on_unit) {
  const int8_t *input = (const int8_t *)layer->input, *filter = (const int8_t *)layer->weights;
  int8_t *output = (int8_t *)layer->output;
  struct shape in = {{layer->batches, layer->input_height, layer->input_width, layer->input_channels}};
  struct shape kernel = {{1, layer->kernel_height, layer->kernel_width, layer->output_channels}};
  struct shape out = {{layer->batches, layer->output_height, layer->output_width, layer->output_channels}};
  __asm__ volatile("" : "+m"(in), "+m"(kernel), "+m"(out));
  const int32_t times = layer->output_channels / layer->input_channels;
  for (int32_t batch = 0; batch < layer->batches; batch++)
    for (int32_t out_y = 0; out_y < out.size[1]; out_y++)
      for (int32_t out_x = 0; out_x < out.size[2]; out_x++)
        for (int32_t in_channel = 0; in_channel < in.size[3]; in_channel++)
          for (int32_t m = 0; m < times; m++) {
            const int32_t channel = m + in_channel * times;
            const int32_t top = out_y * layer->stride_height - layer->pad_top, left = out_x * layer->stride_width - layer->pad_left;
            int32_t acc = 0;
            if (mac) simd_set(0, 0, 0);
            for (int32_t y = 0; y < kernel.size[1]; y++)
              for (int32_t x = 0; x < kernel.size[2]; x++) {
                const int32_t in_y = top + y * layer->dilation_height, in_x = left + x * layer->dilation_width;
                if (in_x < 0 || in_x >= in.size[2] || in_y < 0 || in_y >= in.size[1]) continue;
                const int32_t value = input[offset(&in, batch, in_y, in_x, in_channel)], weight = filter[offset(&kernel, 0, y, x, channel)];
                if (mac) acc = simd_mac_sum((uint8_t)value, (uint8_t)weight, 0);
                else acc += weight * (value + layer->input_offset);
              }
            acc += bias_of(layer, channel);
            output[offset(&out, batch, out_y, out_x, channel)] =
                requantise_on_unit ? finish_on_unit(layer, acc, channel) : finish(layer, acc, channel);
          }
}

/* Constants put in: width 5, 3x3, a multiplier of 1, 64 channels. */
static void depthwise_5_wide(const struct rvsim_conv_layer *layer) {
  const int8_t *input = (const int8_t *)layer->input, *filter = (const int8_t *)layer->weights;
  int8_t *output = (int8_t *)layer->output;
  for (int32_t out_y = 0; out_y < layer->output_height; out_y++)
    for (int32_t out_x = 0; out_x < 5; out_x++)
      for (int32_t channel = 0; channel < 64; channel++) {
        int32_t acc = 0;
        simd_set(0, 0, 0);
        for (int32_t y = 0; y < 3; y++) {
          const int32_t in_y = out_y - 1 + y;
          if (in_y < 0 || in_y >= layer->input_height) continue;
          for (int32_t x = 0; x < 3; x++) {
            const int32_t in_x = out_x - 1 + x;
            if (in_x >= 0 && in_x < 5)
              acc = simd_mac_sum((uint8_t)input[(in_y * 5 + in_x) * 64 + channel], (uint8_t)filter[(y * 3 + x) * 64 + channel], 0);
          }
        }
        *output++ = finish_on_unit(layer, acc + bias_of(layer, channel), channel);
      }
}

static void depthwise(const struct rvsim_conv_layer *layer) {
  if (LADDER_DEPTHWISE == SIMD_SPECIALISED && layer->input_width == 5 && layer->kernel_width == 3 && layer->kernel_height == 3 &&
      layer->input_channels == 64 && layer->output_channels == 64 && layer->stride_height == 1)
    depthwise_5_wide(layer);
  else
    depthwise_loops(layer, LADDER_DEPTHWISE >= SIMD_MAC, LADDER_DEPTHWISE >= SIMD_REQUANTISE);
}

int main(void) {
  for (const struct rvsim_conv_layer *layer = ladder_layers; layer != ladder_layers_end; layer++) {
    const uint64_t before = rvsim_cycle();
    if (LADDER_CONV >= SIMD_POINTWISE || LADDER_DEPTHWISE >= SIMD_MAC) {
      simd_offsets(layer->input_offset, layer->output_offset);
      simd_range(layer->activation_min, layer->activation_max);
    }
    switch (layer->operation) {
      case RVSIM_CONV_2D: conv(layer); break;
      case RVSIM_DEPTHWISE_CONV_2D: depthwise(layer); break;
      case RVSIM_FULLY_CONNECTED: fully_connected_s8(layer); break;
      default: pool_2d_s8(layer); break;
    }
    const uint64_t after = rvsim_cycle();
    rvsim_print_decimal(layer->operation);
    rvsim_print(" ");
    rvsim_print_decimal(after - before);
    rvsim_print("\n");
  }
  return 0;
}
