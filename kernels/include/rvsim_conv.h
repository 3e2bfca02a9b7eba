/* The convolution coprocessor as a guest sees it: descriptor, status, capability word and instructions (docs/architecture.md). */
#ifndef RVSIM_CONV_H
#define RVSIM_CONV_H

#include <stddef.h>
#include <stdint.h>

#define RVSIM_CONV_MAGIC 0x31564e43u /* the bytes "CNV1" */

enum rvsim_conv_operation {
  RVSIM_CONV_2D = 0,
  RVSIM_DEPTHWISE_CONV_2D = 1,
  RVSIM_FULLY_CONNECTED = 2,
  RVSIM_AVERAGE_POOL_2D = 3,
  RVSIM_MAX_POOL_2D = 4,
  RVSIM_ADD = 5,
};

/* Most taps that the window of a pool may have. */
#define RVSIM_CONV_MAX_POOL_TAPS (1 << 23)


enum rvsim_conv_status {
  RVSIM_CONV_DONE = 0,
  RVSIM_CONV_BAD_MAGIC = 1,
  RVSIM_CONV_UNKNOWN_OPERATION = 2,
  RVSIM_CONV_MISALIGNED = 3,
  RVSIM_CONV_BAD_SHAPE = 4,
  RVSIM_CONV_SHAPE_MISMATCH = 5,
  RVSIM_CONV_BAD_RANGE = 6,
  RVSIM_CONV_ACCESS_FAULT = 7,
};

/* One layer. Addresses are words, so that the layout does not depend on the compiler's pointer size.
   Pools ignore weights, bias, multiplier and shift. RVSIM_ADD ignores bias, and takes weights as the address of the second
   input, multiplier and shift as those of int32[3] (first input, second, output), and pad_top as minus the second input's
   zero point. */
struct rvsim_conv_layer {
  uint32_t magic;
  uint32_t operation;
  uint32_t input;      /* int8 NHWC */
  uint32_t weights;    /* int8: OHWI (conv), 1HWO (depthwise), OI (fully connected) */
  uint32_t bias;       /* int32[output_channels], or 0 */
  uint32_t output;     /* int8 NHWC */
  uint32_t multiplier; /* int32[output_channels], Q0.31 */
  uint32_t shift;      /* int32[output_channels]; positive shifts left */
  int32_t batches;
  int32_t input_height, input_width, input_channels;
  int32_t output_height, output_width, output_channels;
  int32_t kernel_height, kernel_width;
  int32_t stride_height, stride_width;
  int32_t dilation_height, dilation_width;
  int32_t pad_top, pad_left;
  int32_t input_offset;  /* minus the input's zero point */
  int32_t output_offset; /* the output's zero point */
  int32_t activation_min, activation_max;
  uint32_t status; /* written by the coprocessor when the command ends */
};

#define RVSIM_CONV_WORD(field, word) \
  _Static_assert(offsetof(struct rvsim_conv_layer, field) == 4 * (word), #field " is not word " #word " of the descriptor")
RVSIM_CONV_WORD(magic, 0);
RVSIM_CONV_WORD(operation, 1);
RVSIM_CONV_WORD(input, 2);
RVSIM_CONV_WORD(weights, 3);
RVSIM_CONV_WORD(bias, 4);
RVSIM_CONV_WORD(output, 5);
RVSIM_CONV_WORD(multiplier, 6);
RVSIM_CONV_WORD(shift, 7);
RVSIM_CONV_WORD(batches, 8);
RVSIM_CONV_WORD(input_height, 9);
RVSIM_CONV_WORD(input_width, 10);
RVSIM_CONV_WORD(input_channels, 11);
RVSIM_CONV_WORD(output_height, 12);
RVSIM_CONV_WORD(output_width, 13);
RVSIM_CONV_WORD(output_channels, 14);
RVSIM_CONV_WORD(kernel_height, 15);
RVSIM_CONV_WORD(kernel_width, 16);
RVSIM_CONV_WORD(stride_height, 17);
RVSIM_CONV_WORD(stride_width, 18);
RVSIM_CONV_WORD(dilation_height, 19);
RVSIM_CONV_WORD(dilation_width, 20);
RVSIM_CONV_WORD(pad_top, 21);
RVSIM_CONV_WORD(pad_left, 22);
RVSIM_CONV_WORD(input_offset, 23);
RVSIM_CONV_WORD(output_offset, 24);
RVSIM_CONV_WORD(activation_min, 25);
RVSIM_CONV_WORD(activation_max, 26);
RVSIM_CONV_WORD(status, 27);
_Static_assert(sizeof(struct rvsim_conv_layer) == 4 * 28, "the descriptor is 28 words");
#undef RVSIM_CONV_WORD

/* Run one layer on the coprocessor if there is one that can, else on the hart. Returns an rvsim_conv_status. */
int rvsim_layer(const struct rvsim_conv_layer *layer);

/* The capability word, CSR 0xFC0. Without a coprocessor the CSR does not exist, hence the look at misa.X first.
   RVSIM_NO_PROBE is for user-mode emulators, which have no misa. */
static inline uint32_t conv_capability(void) {
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

static inline uint32_t conv_capability_rows(uint32_t capability) { return capability >> 8 & 0xff; }
static inline uint32_t conv_capability_columns(uint32_t capability) { return capability >> 16 & 0xff; }
static inline uint32_t conv_capability_version(uint32_t capability) { return capability >> 24; }

/* Whether a coprocessor with this capability word runs `operation` and reads this header's descriptor. */
static inline int conv_supports(uint32_t capability, uint32_t operation) {
  return conv_capability_version(capability) == 1 && operation < 8 && (capability >> operation & 1);
}

/* conv.start: 0 if the command was taken, else its status. Waits first for a running command. */
static inline uint32_t conv_start(const struct rvsim_conv_layer *layer) {
  uint32_t status;
  __asm__ volatile(".insn r 0x0b, 0, 0, %0, %1, x0" : "=r"(status) : "r"(layer) : "memory");
  return status;
}

/* conv.wait: stall until the coprocessor is idle; the status of the last command. */
static inline uint32_t conv_wait(void) {
  uint32_t status;
  __asm__ volatile(".insn r 0x0b, 0, 1, %0, x0, x0" : "=r"(status) : : "memory");
  return status;
}

/* conv.status: bit 0 is set while a command runs. Never stalls. */
static inline uint32_t conv_status(void) {
  uint32_t busy;
  __asm__ volatile(".insn r 0x0b, 0, 2, %0, x0, x0" : "=r"(busy) : : "memory");
  return busy;
}

#endif
