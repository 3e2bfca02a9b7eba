/* What the three layer examples share: test data, the checksum, and how a result is judged. */
#ifndef RVSIM_EXAMPLE_H
#define RVSIM_EXAMPLE_H

#include "rvsim_conv.h"
#include "rvsim_host.h"
#include "rvsim_io.h"

/* Pseudo-random words: the linear congruential generator of Numerical Recipes, its low bits stirred, as they repeat soon. */
static inline uint32_t example_random(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  return *state ^ *state >> 15;
}

/* Fill whole words: making the data must stay small beside the layer that is measured. */
__attribute__((noinline)) static void example_fill(void *tensor, uint32_t bytes, uint32_t *state) {
  for (uint32_t *word = tensor, *end = word + bytes / 4; word != end; word++) *word = example_random(state);
}

/* Per-channel multipliers in [0.5, 1) and shifts of `shift` or one more, biases in [-8192, 8191]. */
static inline void example_fill_channels(int32_t *bias, int32_t *multiplier, int32_t *shifts, int32_t channels,
                                         int32_t shift, uint32_t *state) {
  for (int32_t channel = 0; channel < channels; channel++) {
    bias[channel] = (int32_t)(example_random(state) & 0x3fff) - 0x2000;
    multiplier[channel] = (int32_t)(0x40000000u | (example_random(state) & 0x3fffffff));
    shifts[channel] = shift + (int32_t)(example_random(state) & 1);
  }
}

/* Whether `rvsim run --input` has left another tensor than the zeros of the ELF. */
static inline int example_input_given(const void *tensor, uint32_t bytes) {
  for (const uint32_t *word = tensor, *end = word + bytes / 4; word != end; word++)
    if (*word) return 1;
  return 0;
}

__attribute__((noinline)) static uint32_t example_checksum(const void *tensor, uint32_t bytes) {
  uint32_t hash = 2166136261u;
  for (const uint32_t *word = tensor, *end = word + bytes / 4; word != end; word++) {
    hash = (hash ^ *word) * 16777619u;
    hash = hash << 7 | hash >> 25;
  }
  return hash;
}

/* Print the line of the example; the exit status. A given input has no golden checksum. */
static inline int example_result(const char *title, int status, uint32_t checksum, uint32_t golden, int input_given) {
  rvsim_print(title);
  if (status) {
    rvsim_print(": status ");
    rvsim_print_decimal((uint32_t)status);
    rvsim_print("\n");
    return 1 + status;
  }
  rvsim_print(": checksum 0x");
  rvsim_print_hex(checksum);
  rvsim_print("\n");
  return input_given || checksum == golden ? 0 : 1;
}

#endif
