/* From an int32 accumulator to an int8 output, as TensorFlow Lite for Microcontrollers does it. */
#ifndef RVSIM_REQUANTISE_H
#define RVSIM_REQUANTISE_H

#include <stdint.h>

/* Round accumulator * multiplier / 2^31 * 2^shift, twice (MultiplyByQuantizedMultiplier with double rounding).
   multiplier >= 0, -31 <= shift <= 30. A left shift wraps as int32. */
int32_t requantise(int32_t accumulator, int32_t multiplier, int32_t shift);

static inline int32_t clamp(int32_t value, int32_t minimum, int32_t maximum) {
  if (value < minimum) value = minimum;
  return value > maximum ? maximum : value;
}

/* TensorFlow Lite adds a nudge of the product's sign and truncates: (p + 2^30) / 2^31 for p >= 0, (p + 1 - 2^30) / 2^31 below.
   Truncating a negative n is (n + 2^31 - 1) >> 31, which makes both cases (p + 2^30) >> 31.
   Its saturation (both factors -2^31) cannot happen: a multiplier is never negative. */
static inline int32_t rounding_doubling_high_multiply(int32_t value, int32_t multiplier) {
  return (int32_t)(((int64_t)value * multiplier + (1 << 30)) >> 31);
}

/* value / 2^exponent, to nearest, ties away from zero. */
static inline int32_t rounding_divide_by_power_of_two(int32_t value, int32_t exponent) {
  int32_t mask = (int32_t)((1u << exponent) - 1);
  int32_t remainder = value & mask;
  int32_t threshold = (mask >> 1) + (value < 0);
  return (value >> exponent) + (remainder > threshold);
}

/* MultiplyByQuantizedMultiplier of TensorFlow Lite (kernels/internal/common.h), double rounding, without division. */
static inline int32_t requantise_inline(int32_t accumulator, int32_t multiplier, int32_t shift) {
  if (shift > 0) return rounding_doubling_high_multiply((int32_t)((uint32_t)accumulator << shift), multiplier);
  return rounding_divide_by_power_of_two(rounding_doubling_high_multiply(accumulator, multiplier), -shift);
}

#endif
