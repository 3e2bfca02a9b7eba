/* Layers by dot products of whole words: what the kernels of the SIMD unit and of XCV share. */
#ifndef RVSIM_PACKED_H
#define RVSIM_PACKED_H

#include "kernels.h"

/* Four int8 of a tensor. */
typedef uint32_t __attribute__((may_alias)) word;

/* A window of the input is made a row of words that begin as the filter's do: where a filter begins within a word, the row has
   as many bytes before it, and others behind it up to a whole word. They and padded taps hold the input's zero point, which
   contributes nothing whatever the weight beside. Filters of odd length begin at four different bytes: then there are four rows. */
struct packed {
  const struct rvsim_conv_layer *layer;
  const int8_t *weights;
  int32_t filter_bytes;
  int32_t step;      /* from one channel to the next whose filter begins at the same byte of a word: 1, 2 or 4 */
  int32_t row_bytes; /* of one row of a window */
};

/* Bytes that a kernel may take from the stack for rows and repacked weights. */
#define PACKED_BYTES 8192

/* Outputs of two pixels, all channels; windows are `step` rows each, and may be the same. */
typedef void packed_pair(const struct packed *packed, const int8_t *first, const int8_t *second, int8_t *first_output,
                         int8_t *second_output);

struct packed pack_filters(const struct rvsim_conv_layer *layer, int32_t filter_bytes);

/* Whether windows of the layer fit into PACKED_BYTES. */
int packed_fits(const struct packed *packed);

/* Run a CONV_2D, two pixels at a time. */
void packed_convolution(const struct packed *packed, packed_pair *pair);

/* Words from the one in which a channel's filter begins to the one in which it ends. */
static inline int32_t packed_words(const struct packed *packed, int32_t channel) {
  return ((int32_t)((uintptr_t)(packed->weights + channel * packed->filter_bytes) & 3) + packed->filter_bytes + 3) >> 2;
}

static inline const word *packed_filter(const struct packed *packed, int32_t channel) {
  return (const word *)((uintptr_t)(packed->weights + channel * packed->filter_bytes) & ~(uintptr_t)3);
}

#endif
