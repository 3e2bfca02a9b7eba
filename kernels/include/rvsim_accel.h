/* Which coprocessor a hart has: the capability word, whose bits 31:24 are the family (docs/coprocessor.md). */
#ifndef RVSIM_ACCEL_H
#define RVSIM_ACCEL_H

#include <stdint.h>

/* Families from RVSIM_OWN on are left to coprocessors of your own. */
enum { RVSIM_NONE = 0, RVSIM_CONV = 1, RVSIM_SIMD = 2, RVSIM_XCV = 3, RVSIM_OWN = 128 };

/* CSR 0xFC0; 0 without a coprocessor, when the CSR does not exist: hence the look at misa.X first.
   RVSIM_NO_PROBE is for user-mode emulators, which have no misa. */
static inline uint32_t rvsim_capability(void) {
#ifdef RVSIM_NO_PROBE
  return 0;
#else
  uint32_t misa, capability;
  __asm__ volatile("csrr %0, 0x301" : "=r"(misa));
  if (!(misa >> 23 & 1)) return 0;
  __asm__ volatile("csrr %0, 0xfc0" : "=r"(capability));
  return capability;
#endif
}

static inline uint32_t rvsim_family(void) { return rvsim_capability() >> 24; }

#endif
