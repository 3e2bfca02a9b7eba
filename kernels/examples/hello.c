/* Prints a greeting and its arguments: the smallest program. */
#include "rvsim_host.h"

int main(int argc, char **argv) {
  rvsim_print("Hello from RV32IMC");
  for (int i = 1; i < argc; i++) {
    rvsim_print(i == 1 ? ": " : " ");
    rvsim_print(argv[i]);
  }
  rvsim_print("\n");
  return 0;
}
