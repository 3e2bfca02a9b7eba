/* CONV_2D on int8: NHWC input, OHWI weights, per-channel requantisation. */
#include "kernels.h"
#include "requantise.h"

void conv_2d_s8(const struct rvsim_conv_layer *layer) {
  const int8_t *input = (const int8_t *)layer->input;
  const int32_t *bias = (const int32_t *)layer->bias;
  const int32_t *multiplier = (const int32_t *)layer->multiplier;
  const int32_t *shift = (const int32_t *)layer->shift;
  int8_t *output = (int8_t *)layer->output;
  const int32_t channels = layer->input_channels, offset = layer->input_offset;
  const int32_t row_bytes = layer->input_width * channels, kernel_row_bytes = layer->kernel_width * channels;

  for (int32_t batch = 0; batch < layer->batches; batch++, input += layer->input_height * row_bytes) {
    for (int32_t y = 0; y < layer->output_height; y++) {
      const int32_t top = window_origin(y, layer->stride_height, layer->pad_top);
      const struct taps rows = clip_taps(top, layer->dilation_height, layer->kernel_height, layer->input_height);
      for (int32_t x = 0; x < layer->output_width; x++) {
        const int32_t left = window_origin(x, layer->stride_width, layer->pad_left);
        const struct taps columns = clip_taps(left, layer->dilation_width, layer->kernel_width, layer->input_width);
        /* Neighbouring taps of an undilated row are neighbours in memory: one dot product a row. */
        const int dense = layer->dilation_width == 1;
        const int32_t dots = dense ? 1 : columns.end - columns.first;
        const int32_t length = dense ? (columns.end - columns.first) * channels : channels;
        const int32_t step = layer->dilation_width * channels;
        const int32_t first_column = (left + columns.first * layer->dilation_width) * channels;
        const int8_t *weights = (const int8_t *)layer->weights + columns.first * channels;

        for (int32_t channel = 0; channel < layer->output_channels; channel++) {
          int32_t acc = bias ? bias[channel] : 0;
          for (int32_t row = rows.first; row < rows.end; row++) {
            const int8_t *pixel = input + (top + row * layer->dilation_height) * row_bytes + first_column;
            const int8_t *weight = weights + row * kernel_row_bytes;
            for (int32_t dot = 0; dot < dots; dot++, pixel += step, weight += channels)
              acc = dot_product(acc, pixel, weight, length, offset);
          }
          acc = requantise(acc, multiplier[channel], shift[channel]) + layer->output_offset;
          *output++ = (int8_t)clamp(acc, layer->activation_min, layer->activation_max);
          weights += layer->kernel_height * kernel_row_bytes;
        }
      }
    }
  }
}
