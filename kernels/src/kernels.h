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
  int64_t place = origin; /* 64 bits: a tap far out in the padding */
  for (; taps.first < taps.end && place < 0; place += dilation) taps.first++;
  place = origin + (int64_t)(kernel - 1) * dilation;
  for (; taps.end > taps.first && place >= size; place -= dilation) taps.end--;
  return taps;
}

/* Where the window of an output row or column begins. It is an int32, the product may be none. */
static inline int32_t window_origin(int32_t index, int32_t stride, int32_t pad) {
  return (int32_t)((uint32_t)index * (uint32_t)stride - (uint32_t)pad);
}

/* acc + sum of (input + offset) * weight. */
static inline int32_t dot_product(int32_t acc, const int8_t *input, const int8_t *weights, int32_t count, int32_t offset) {
  for (const int8_t *end = input + count; input != end; input++, weights++) acc += (*input + offset) * *weights;
  return acc;
}

#endif
