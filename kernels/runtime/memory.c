/* memcpy, memmove, memset, memcmp: a compiler may call them even in freestanding code. Words where both sides are aligned. */
#include <stddef.h>
#include <stdint.h>

typedef uint32_t __attribute__((may_alias)) word;

static inline int aligned(const void *a, const void *b) { return (((uintptr_t)a | (uintptr_t)b) & 3) == 0; }

void *memcpy(void *restrict destination, const void *restrict source, size_t size) {
  uint8_t *to = destination;
  const uint8_t *from = source;
  if (aligned(to, from))
    for (; size >= 4; size -= 4, to += 4, from += 4) *(word *)to = *(const word *)from;
  while (size--) *to++ = *from++;
  return destination;
}

void *memmove(void *destination, const void *source, size_t size) {
  uint8_t *to = destination;
  const uint8_t *from = source;
  if ((uintptr_t)to - (uintptr_t)from >= size) return memcpy(destination, source, size);
  while (size--) to[size] = from[size];
  return destination;
}

void *memset(void *destination, int value, size_t size) {
  uint8_t *to = destination;
  if (aligned(to, to))
    for (word filled = (uint8_t)value * 0x01010101u; size >= 4; size -= 4, to += 4) *(word *)to = filled;
  while (size--) *to++ = (uint8_t)value;
  return destination;
}

int memcmp(const void *first, const void *second, size_t size) {
  const uint8_t *a = first, *b = second;
  for (; size; size--, a++, b++)
    if (*a != *b) return *a - *b;
  return 0;
}
