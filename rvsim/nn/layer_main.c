/* Runs the one layer that layer.S holds and prints a checksum of its output. Exit status: 0, or 1 + the layer's status. */
#include <rvsim_conv.h>
#include <rvsim_host.h>

extern struct rvsim_conv_layer layer_descriptor;
extern const int8_t layer_output[], layer_output_end[];
extern const char layer_title[];

/* FNV-1a, 32 bits. Not inlined, so that a profile shows its cost apart from the layer's. */
__attribute__((noinline)) static uint32_t layer_checksum(const int8_t *byte, const int8_t *end) {
  uint32_t hash = 0x811c9dc5u;
  while (byte != end) hash = (hash ^ (uint8_t)*byte++) * 0x01000193u;
  return hash;
}

int main(void) {
  int status = rvsim_layer(&layer_descriptor);
  rvsim_print(layer_title);
  if (status) {
    rvsim_print(": status ");
    rvsim_print_decimal((uint32_t)status);
    rvsim_print("\n");
    return 1 + status;
  }
  rvsim_print(": checksum 0x");
  rvsim_print_hex(layer_checksum(layer_output, layer_output_end));
  rvsim_print("\n");
  return 0;
}
