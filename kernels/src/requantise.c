/* The one copy of requantise() that scalar kernels call. */
#include "requantise.h"

int32_t requantise(int32_t accumulator, int32_t multiplier, int32_t shift) { return requantise_inline(accumulator, multiplier, shift); }
