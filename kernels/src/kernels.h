/* The scalar kernels. Each runs a layer that check_layer() of dispatch.c has accepted. */
#ifndef RVSIM_KERNELS_H
#define RVSIM_KERNELS_H

#include "rvsim_conv.h"

void conv_2d_s8(const struct rvsim_conv_layer *layer);
void depthwise_conv_2d_s8(const struct rvsim_conv_layer *layer);
void fully_connected_s8(const struct rvsim_conv_layer *layer);
void pool_2d_s8(const struct rvsim_conv_layer *layer);
void add_s8(const struct rvsim_conv_layer *layer);

/* On added instructions: 0 for a layer that they do not suit, which the scalar kernel then runs. */
int simd_conv_2d(const struct rvsim_conv_layer *layer);
int simd_depthwise_conv_2d(const struct rvsim_conv_layer *layer);
int simd_fully_connected(const struct rvsim_conv_layer *layer);
int xcv_conv_2d(const struct rvsim_conv_layer *layer);
int xcv_depthwise_conv_2d(const struct rvsim_conv_layer *layer);
int xcv_fully_connected(const struct rvsim_conv_layer *layer);

/* The taps [first, end) of one window axis that lie inside the input: padded taps contribute nothing, so the loops
   over a window are clipped once an output pixel and need no test inside. */
struct taps {
  int32_t first, end;
};

static inline struct taps clip_taps(int32_t origin, int32_t dilation, int32_t kernel, int32_t size) {
  struct taps taps = {0, kernel};
  while (taps.first < taps.end && origin + taps.first * dilation < 0) taps.first++;
  while (taps.end > taps.first && origin + (taps.end - 1) * dilation >= size) taps.end--;
  return taps;
}

/* acc + sum of (input + offset) * weight. */
static inline int32_t dot_product(int32_t acc, const int8_t *input, const int8_t *weights, int32_t count, int32_t offset) {
  for (const int8_t *end = input + count; input != end; input++, weights++) acc += (*input + offset) * *weights;
  return acc;
}

#endif
