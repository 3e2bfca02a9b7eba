/* Requantises the triples (accumulator, multiplier, shift) that come on standard input. */
#include "../../kernels/src/requantise.h"
#include "rvsim_host.h"

int main(void) {
  int32_t triple[3];
  while (rvsim_read(0, triple, sizeof triple) == sizeof triple) {
    int32_t result = requantise(triple[0], triple[1], triple[2]);
    rvsim_write(1, &result, sizeof result);
  }
  return 0;
}
