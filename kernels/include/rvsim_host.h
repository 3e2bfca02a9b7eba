/* What a guest asks of its host (ecall with the numbers of RISC-V Linux), tiny printing, and the counters. */
#ifndef RVSIM_HOST_H
#define RVSIM_HOST_H

#include <stddef.h>
#include <stdint.h>

static inline long rvsim_host_call(long number, long first, long second, long third) {
  register long a0 __asm__("a0") = first;
  register long a1 __asm__("a1") = second;
  register long a2 __asm__("a2") = third;
  register long a7 __asm__("a7") = number;
  __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a7) : "memory");
  return a0;
}

/* Bytes moved, or minus an errno. File descriptor 0 is standard input, 1 output, 2 error. */
static inline long rvsim_write(int file, const void *bytes, size_t size) {
  return rvsim_host_call(64, file, (long)bytes, (long)size);
}
static inline long rvsim_read(int file, void *bytes, size_t size) {
  return rvsim_host_call(63, file, (long)bytes, (long)size);
}
__attribute__((noreturn)) static inline void rvsim_exit(int status) {
  for (;;) rvsim_host_call(93, status, 0, 0);
}

static inline void rvsim_print(const char *text) {
  size_t size = 0;
  while (text[size]) size++;
  rvsim_write(1, text, size);
}

/* Eight lower-case digits, without a prefix. */
static inline void rvsim_print_hex(uint32_t value) {
  char digits[8];
  for (int i = 0; i < 8; i++) digits[i] = "0123456789abcdef"[value >> (28 - 4 * i) & 15];
  rvsim_write(1, digits, sizeof digits);
}

static inline void rvsim_print_decimal(uint64_t value) {
  char digits[20];
  size_t first = sizeof digits;
  do {
    digits[--first] = (char)('0' + value % 10);
    value /= 10;
  } while (value);
  rvsim_write(1, digits + first, sizeof digits - first);
}

/* A 64-bit counter in two CSRs: read again when the high half moved in between. */
#define RVSIM_COUNTER(name, low_csr, high_csr)                                  \
  static inline uint64_t name(void) {                                           \
    uint32_t high, low, again;                                                  \
    do {                                                                        \
      __asm__ volatile("csrr %0, " #high_csr : "=r"(high) : : "memory");        \
      __asm__ volatile("csrr %0, " #low_csr : "=r"(low) : : "memory");          \
      __asm__ volatile("csrr %0, " #high_csr : "=r"(again) : : "memory");       \
    } while (high != again);                                                    \
    return (uint64_t)high << 32 | low;                                          \
  }
RVSIM_COUNTER(rvsim_cycle, 0xc00, 0xc80)
RVSIM_COUNTER(rvsim_instret, 0xc02, 0xc82)
#undef RVSIM_COUNTER

#endif
