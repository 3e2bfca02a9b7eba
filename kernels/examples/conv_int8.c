/* CONV_2D as in the middle of a small vision network: 3x3, SAME, per-channel requantisation. */
#include "example.h"

#define GOLDEN 0x01ed8f6cu /* tests/kernels/test_examples.py holds it against a numpy statement of the arithmetic */

#define HEIGHT 16
#define WIDTH 16
#define INPUTS 32
#define OUTPUTS 32
#define KERNEL 3
#define INPUT_BYTES (HEIGHT * WIDTH * INPUTS)
#define OUTPUT_BYTES (HEIGHT * WIDTH * OUTPUTS)
#define WEIGHT_BYTES (OUTPUTS * KERNEL * KERNEL * INPUTS)

static int8_t input[INPUT_BYTES] __attribute__((aligned(4), section(".data.input")));
static int8_t output[OUTPUT_BYTES] __attribute__((aligned(4), section(".noinit.output")));
static int8_t weights[WEIGHT_BYTES] __attribute__((aligned(4), section(".noinit.weights")));
static int32_t bias[OUTPUTS], multiplier[OUTPUTS], shift[OUTPUTS];

RVSIM_IO({
  "version": 1,
  "input": {"symbol": "input", "shape": [1, HEIGHT, WIDTH, INPUTS], "dtype": "int8", "scale": 0.0235, "zero_point": -7},
  "output": {"symbol": "output", "shape": [1, HEIGHT, WIDTH, OUTPUTS], "dtype": "int8", "scale": 0.047, "zero_point": -3}
});

int main(void) {
  uint32_t state = 12345u;
  int input_given = example_input_given(input, INPUT_BYTES);
  example_fill(weights, WEIGHT_BYTES, &state);
  example_fill_channels(bias, multiplier, shift, OUTPUTS, -11, &state);
  if (!input_given) example_fill(input, INPUT_BYTES, &state);

  struct rvsim_conv_layer layer = {
    .magic = RVSIM_CONV_MAGIC, .operation = RVSIM_CONV_2D,
    .input = (uint32_t)input, .weights = (uint32_t)weights, .bias = (uint32_t)bias, .output = (uint32_t)output,
    .multiplier = (uint32_t)multiplier, .shift = (uint32_t)shift,
    .batches = 1,
    .input_height = HEIGHT, .input_width = WIDTH, .input_channels = INPUTS,
    .output_height = HEIGHT, .output_width = WIDTH, .output_channels = OUTPUTS,
    .kernel_height = KERNEL, .kernel_width = KERNEL, .stride_height = 1, .stride_width = 1,
    .dilation_height = 1, .dilation_width = 1, .pad_top = 1, .pad_left = 1,
    .input_offset = 7, .output_offset = -3, .activation_min = -128, .activation_max = 127,
  };
  int status = rvsim_layer(&layer);
  return example_result("conv_int8 16x16x32 -> 16x16x32, 3x3", status, example_checksum(output, OUTPUT_BYTES), GOLDEN, input_given);
}
