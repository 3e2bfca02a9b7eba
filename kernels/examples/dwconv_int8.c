/* DEPTHWISE_CONV_2D as in MobileNet: 3x3, stride 2, SAME (of an even side: no padding before), RELU. */
#include "example.h"

#define GOLDEN 0x980bd4aau /* tests/kernels/test_examples.py holds it against a numpy statement of the arithmetic */

#define HEIGHT 24
#define WIDTH 24
#define OUTPUT_HEIGHT 12
#define OUTPUT_WIDTH 12
#define INPUTS 64
#define OUTPUTS 64
#define KERNEL 3
#define INPUT_BYTES (HEIGHT * WIDTH * INPUTS)
#define OUTPUT_BYTES (OUTPUT_HEIGHT * OUTPUT_WIDTH * OUTPUTS)
#define WEIGHT_BYTES (KERNEL * KERNEL * OUTPUTS)

static int8_t input[INPUT_BYTES] __attribute__((aligned(4), section(".data.input")));
static int8_t output[OUTPUT_BYTES] __attribute__((aligned(4), section(".noinit.output")));
static int8_t weights[WEIGHT_BYTES] __attribute__((aligned(4), section(".noinit.weights")));
static int32_t bias[OUTPUTS], multiplier[OUTPUTS], shift[OUTPUTS];

RVSIM_IO({
  "version": 1,
  "input": {"symbol": "input", "shape": [1, HEIGHT, WIDTH, INPUTS], "dtype": "int8", "scale": 0.0235, "zero_point": 4},
  "output": {"symbol": "output", "shape": [1, OUTPUT_HEIGHT, OUTPUT_WIDTH, OUTPUTS], "dtype": "int8", "scale": 0.0314, "zero_point": -20}
});

int main(void) {
  uint32_t state = 777u;
  int input_given = example_input_given(input, INPUT_BYTES);
  example_fill(weights, WEIGHT_BYTES, &state);
  example_fill_channels(bias, multiplier, shift, OUTPUTS, -9, &state);
  if (!input_given) example_fill(input, INPUT_BYTES, &state);

  struct rvsim_conv_layer layer = {
    .magic = RVSIM_CONV_MAGIC, .operation = RVSIM_DEPTHWISE_CONV_2D,
    .input = (uint32_t)input, .weights = (uint32_t)weights, .bias = (uint32_t)bias, .output = (uint32_t)output,
    .multiplier = (uint32_t)multiplier, .shift = (uint32_t)shift,
    .batches = 1,
    .input_height = HEIGHT, .input_width = WIDTH, .input_channels = INPUTS,
    .output_height = OUTPUT_HEIGHT, .output_width = OUTPUT_WIDTH, .output_channels = OUTPUTS,
    .kernel_height = KERNEL, .kernel_width = KERNEL, .stride_height = 2, .stride_width = 2,
    .dilation_height = 1, .dilation_width = 1, .pad_top = 0, .pad_left = 0,
    .input_offset = -4, .output_offset = -20, .activation_min = -20, .activation_max = 127,
  };
  int status = rvsim_layer(&layer);
  return example_result("dwconv_int8 24x24x64 -> 12x12x64, 3x3, stride 2", status, example_checksum(output, OUTPUT_BYTES), GOLDEN, input_given);
}
