/* The skeleton unit for C: its instructions, and whether the hart has it. */
#ifndef SKELETON_H
#define SKELETON_H

#include "rvsim_accel.h"

static inline int skeleton_present(void) { return rvsim_capability() == ((uint32_t)RVSIM_OWN << 24 | 1); }

/* skeleton.length: elements of the vectors that follow. */
static inline void skeleton_length(uint32_t length) {
  __asm__ volatile(".insn r 0x0b, 0, 0, x0, %0, x0" : : "r"(length));
}

/* skeleton.dot: the sum of products of two int8 vectors. */
static inline int32_t skeleton_dot(const int8_t *x, const int8_t *y) {
  int32_t sum;
  __asm__ volatile(".insn r 0x0b, 0, 1, %0, %1, %2" : "=r"(sum) : "r"(x), "r"(y) : "memory");
  return sum;
}

#endif
