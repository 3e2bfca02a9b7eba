/* 64-bit division, which RV32IM has no instruction for: what a compiler calls for / and % on 64-bit integers. */
#include <stdint.h>

struct division {
  uint64_t quotient, remainder;
};

static struct division divide(uint64_t dividend, uint64_t divisor) {
  struct division result = {0, 0};
  for (int bit = 63; bit >= 0; bit--) {
    result.remainder = result.remainder << 1 | (dividend >> bit & 1);
    if (result.remainder >= divisor) {
      result.remainder -= divisor;
      result.quotient |= (uint64_t)1 << bit;
    }
  }
  return result;
}

static uint64_t magnitude(int64_t value) { return value < 0 ? -(uint64_t)value : (uint64_t)value; }

uint64_t __udivdi3(uint64_t a, uint64_t b) { return divide(a, b).quotient; }
uint64_t __umoddi3(uint64_t a, uint64_t b) { return divide(a, b).remainder; }
int64_t __divdi3(int64_t a, int64_t b) {
  uint64_t quotient = divide(magnitude(a), magnitude(b)).quotient;
  return (int64_t)((a ^ b) < 0 ? -quotient : quotient);
}
int64_t __moddi3(int64_t a, int64_t b) {
  uint64_t remainder = divide(magnitude(a), magnitude(b)).remainder;
  return (int64_t)(a < 0 ? -remainder : remainder);
}
