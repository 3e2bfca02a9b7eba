/* The SIMD unit's instructions for C (docs/simd.md), by .insn. Four int8 lie in a word, the one of the lowest address in its low byte.
   Accumulators, offsets and bounds are registers of the unit: `accumulator` and `pair` are constants. */
#ifndef RVSIM_SIMD_H
#define RVSIM_SIMD_H

#include <stdint.h>

enum { RVSIM_SIMD_FAMILY = 2 };

/* Whether a capability word (CSR 0xFC0) is that of a unit with the instructions of this header. */
static inline int simd_supports(uint32_t capability) { return capability >> 24 == RVSIM_SIMD_FAMILY && (capability & 0xff) >= 1; }

/* Sum of four products; dotx with the input offset added to the lanes of `inputs`. */
static inline int32_t simd_dot(uint32_t inputs, uint32_t weights) {
  int32_t sum;
  __asm__(".insn r 0x0b, 0, 0, %0, %1, %2" : "=r"(sum) : "r"(inputs), "r"(weights));
  return sum;
}
static inline int32_t simd_dotx(uint32_t inputs, uint32_t weights) {
  int32_t sum;
  __asm__ volatile(".insn r 0x0b, 0, 1, %0, %1, %2" : "=r"(sum) : "r"(inputs), "r"(weights));
  return sum;
}

/* accumulator += sum of (input + input offset) * weight; the macro that gives the sum, and the one that only adds. */
#define simd_mac_sum(inputs, weights, accumulator)                                                                                \
  ({                                                                                                                              \
    int32_t simd_rd;                                                                                                              \
    __asm__ volatile(".insn r 0x0b, 1, %3, %0, %1, %2" : "=r"(simd_rd) : "r"((uint32_t)(inputs)), "r"((uint32_t)(weights)), "i"(accumulator)); \
    simd_rd;                                                                                                                      \
  })
#define simd_mac(inputs, weights, accumulator) \
  __asm__ volatile(".insn r 0x0b, 1, %2, x0, %0, %1" : : "r"((uint32_t)(inputs)), "r"((uint32_t)(weights)), "i"(accumulator))

/* Each accumulator += the product of its own lane, with the input offset. */
static inline void simd_lanes(uint32_t inputs, uint32_t weights) {
  __asm__ volatile(".insn r 0x0b, 2, 0, x0, %0, %1" : : "r"(inputs), "r"(weights));
}

/* Accumulators 2 pair and 2 pair + 1. */
#define simd_set(first, second, pair) \
  __asm__ volatile(".insn r 0x0b, 3, %2, x0, %0, %1" : : "r"((int32_t)(first)), "r"((int32_t)(second)), "i"(pair))

/* An accumulator's value; take clears it. */
#define simd_get(accumulator) SIMD_READ_(4 + (accumulator))
#define simd_take(accumulator) SIMD_READ_(8 + (accumulator))
#define SIMD_READ_(funct7)                                                            \
  ({                                                                                  \
    int32_t simd_rd;                                                                  \
    __asm__ volatile(".insn r 0x0b, 3, %1, %0, x0, x0" : "=r"(simd_rd) : "i"(funct7)); \
    simd_rd;                                                                          \
  })

/* Minus the input's zero point, and the output's zero point; the bounds of an output. */
static inline void simd_offsets(int32_t input_offset, int32_t output_offset) {
  __asm__ volatile(".insn r 0x0b, 3, 12, x0, %0, %1" : : "r"(input_offset), "r"(output_offset));
}
static inline void simd_range(int32_t minimum, int32_t maximum) {
  __asm__ volatile(".insn r 0x0b, 3, 13, x0, %0, %1" : : "r"(minimum), "r"(maximum));
}

/* SaturatingRoundingDoublingHighMul, RoundingDivideByPOT, and output offset with clamp. */
static inline int32_t simd_high(int32_t a, int32_t b) {
  int32_t high;
  __asm__(".insn r 0x0b, 4, 0, %0, %1, %2" : "=r"(high) : "r"(a), "r"(b));
  return high;
}
static inline int32_t simd_round(int32_t value, int32_t exponent) {
  int32_t rounded;
  __asm__(".insn r 0x0b, 4, 1, %0, %1, %2" : "=r"(rounded) : "r"(value), "r"(exponent));
  return rounded;
}
static inline int32_t simd_clamp(int32_t value) {
  int32_t clamped;
  __asm__ volatile(".insn r 0x0b, 4, 2, %0, %1, x0" : "=r"(clamped) : "r"(value));
  return clamped;
}

/* The int8 output of an accumulator: multiplier in Q0.31, shift of TensorFlow Lite's sign. */
#define simd_requantise(multiplier, shift, accumulator)                                                                             \
  ({                                                                                                                                \
    int32_t simd_rd;                                                                                                                \
    __asm__ volatile(".insn r 0x0b, 5, %3, %0, %1, %2" : "=r"(simd_rd) : "r"((int32_t)(multiplier)), "r"((int32_t)(shift)), "i"(accumulator)); \
    simd_rd;                                                                                                                        \
  })

#endif
