/* Runs the layers that come on standard input: each a size, a descriptor whose addresses count from itself, and its tensors.
   Answers with the status and the tensors after the run. */
#include "rvsim_conv.h"
#include "rvsim_host.h"

static uint32_t arena[1 << 18] __attribute__((section(".noinit.arena")));

static int read_all(void *to, uint32_t size) {
  uint32_t done = 0;
  while (done < size) {
    long got = rvsim_read(0, (char *)to + done, size - done);
    if (got <= 0) return 0;
    done += (uint32_t)got;
  }
  return 1;
}

int main(void) {
  uint32_t size;
  while (read_all(&size, sizeof size)) {
    if (size > sizeof arena || !read_all(arena, size)) return 1;
    for (int word = 2; word < 8; word++)
      if (arena[word]) arena[word] += (uint32_t)arena;
    uint32_t status = (uint32_t)rvsim_layer((struct rvsim_conv_layer *)arena);
    rvsim_write(1, &status, sizeof status);
    rvsim_write(1, (char *)arena + sizeof(struct rvsim_conv_layer), size - sizeof(struct rvsim_conv_layer));
  }
  return 0;
}
