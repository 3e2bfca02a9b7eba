/* FULLY_CONNECTED as at the end of a keyword spotter: one row, no reuse of weights, so bound by memory. */
#include "example.h"

#define GOLDEN 0x87ed48b0u /* tests/kernels/test_examples.py holds it against a numpy statement of the arithmetic */

#define INPUTS 512
#define OUTPUTS 128
#define INPUT_BYTES INPUTS
#define OUTPUT_BYTES OUTPUTS
#define WEIGHT_BYTES (OUTPUTS * INPUTS)

static int8_t input[INPUT_BYTES] __attribute__((aligned(4), section(".data.input")));
static int8_t output[OUTPUT_BYTES] __attribute__((aligned(4), section(".noinit.output")));
static int8_t weights[WEIGHT_BYTES] __attribute__((aligned(4), section(".noinit.weights")));
static int32_t bias[OUTPUTS], multiplier[OUTPUTS], shift[OUTPUTS];

RVSIM_IO({
  "version": 1,
  "input": {"symbol": "input", "shape": [1, INPUTS], "dtype": "int8", "scale": 0.0471, "zero_point": 11},
  "output": {"symbol": "output", "shape": [1, OUTPUTS], "dtype": "int8", "scale": 0.125, "zero_point": 5}
});

int main(void) {
  uint32_t state = 99u;
  int input_given = example_input_given(input, INPUT_BYTES);
  example_fill(weights, WEIGHT_BYTES, &state);
  example_fill_channels(bias, multiplier, shift, OUTPUTS, -11, &state);
  if (!input_given) example_fill(input, INPUT_BYTES, &state);

  struct rvsim_conv_layer layer = {
    .magic = RVSIM_CONV_MAGIC, .operation = RVSIM_FULLY_CONNECTED,
    .input = (uint32_t)input, .weights = (uint32_t)weights, .bias = (uint32_t)bias, .output = (uint32_t)output,
    .multiplier = (uint32_t)multiplier, .shift = (uint32_t)shift,
    .batches = 1,
    .input_height = 1, .input_width = 1, .input_channels = INPUTS,
    .output_height = 1, .output_width = 1, .output_channels = OUTPUTS,
    .kernel_height = 1, .kernel_width = 1, .stride_height = 1, .stride_width = 1,
    .dilation_height = 1, .dilation_width = 1, .pad_top = 0, .pad_left = 0,
    .input_offset = -11, .output_offset = 5, .activation_min = -128, .activation_max = 127,
  };
  int status = rvsim_layer(&layer);
  return example_result("fc_int8 512 -> 128", status, example_checksum(output, OUTPUT_BYTES), GOLDEN, input_given);
}
