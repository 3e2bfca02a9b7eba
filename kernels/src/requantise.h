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

#endif
