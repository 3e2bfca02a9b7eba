/* AVERAGE_POOL_2D and MAX_POOL_2D on int8: NHWC, only the taps inside the input, clamp. */
#include "kernels.h"
#include "requantise.h"

/* Sum of one channel over a clipped window. */
static int32_t window_sum(const int8_t *pixel, int32_t rows, int32_t columns, int32_t row_bytes, int32_t step) {
  int32_t sum = 0;
  for (int32_t row = 0; row < rows; row++, pixel += row_bytes) {
    const int8_t *tap = pixel;
    for (int32_t column = 0; column < columns; column++, tap += step) sum += *tap;
  }
  return sum;
}

static int32_t window_maximum(const int8_t *pixel, int32_t rows, int32_t columns, int32_t row_bytes, int32_t step) {
  int32_t maximum = -128;
  for (int32_t row = 0; row < rows; row++, pixel += row_bytes) {
    const int8_t *tap = pixel;
    for (int32_t column = 0; column < columns; column++, tap += step)
      if (*tap > maximum) maximum = *tap;
  }
  return maximum;
}

/* To nearest, ties away from zero. */
static int32_t rounding_divide(int32_t sum, int32_t count) {
  return (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
}

void pool_2d_s8(const struct rvsim_conv_layer *layer) {
  const int8_t *input = (const int8_t *)layer->input;
  int8_t *output = (int8_t *)layer->output;
  const int32_t channels = layer->input_channels, row_bytes = layer->input_width * channels;

  for (int32_t batch = 0; batch < layer->batches; batch++, input += layer->input_height * row_bytes) {
    for (int32_t y = 0; y < layer->output_height; y++) {
      const int32_t top = window_origin(y, layer->stride_height, layer->pad_top);
      const struct taps rows = clip_taps(top, 1, layer->kernel_height, layer->input_height);
      for (int32_t x = 0; x < layer->output_width; x++) {
        const int32_t left = window_origin(x, layer->stride_width, layer->pad_left);
        const struct taps columns = clip_taps(left, 1, layer->kernel_width, layer->input_width);
        const int32_t height = rows.end - rows.first, width = columns.end - columns.first;
        const int8_t *pixel = input + (top + rows.first) * row_bytes + (left + columns.first) * channels;

        for (int32_t channel = 0; channel < channels; channel++, pixel++) {
          const int32_t value = layer->operation == RVSIM_MAX_POOL_2D
                                    ? window_maximum(pixel, height, width, row_bytes, channels)
                                    : rounding_divide(window_sum(pixel, height, width, row_bytes, channels), height * width);
          *output++ = (int8_t)clamp(value, layer->activation_min, layer->activation_max);
        }
      }
    }
  }
}
