/* DEPTHWISE_CONV_2D on int8: NHWC input, 1HWO weights, per-channel requantisation, any depth multiplier. */
#include "kernels.h"
#include "requantise.h"

void depthwise_conv_2d_s8(const struct rvsim_conv_layer *layer) {
  const int8_t *input = (const int8_t *)layer->input;
  const int8_t *weights = (const int8_t *)layer->weights;
  const int32_t *bias = (const int32_t *)layer->bias;
  const int32_t *multiplier = (const int32_t *)layer->multiplier;
  const int32_t *shift = (const int32_t *)layer->shift;
  int8_t *output = (int8_t *)layer->output;
  const int32_t inputs = layer->input_channels, outputs = layer->output_channels, offset = layer->input_offset;
  const int32_t depth_multiplier = outputs / inputs;
  const int32_t row_bytes = layer->input_width * inputs;
  const int32_t pixel_step = layer->dilation_width * inputs;

  for (int32_t batch = 0; batch < layer->batches; batch++, input += layer->input_height * row_bytes) {
    for (int32_t y = 0; y < layer->output_height; y++) {
      const int32_t top = window_origin(y, layer->stride_height, layer->pad_top);
      const struct taps rows = clip_taps(top, layer->dilation_height, layer->kernel_height, layer->input_height);
      for (int32_t x = 0; x < layer->output_width; x++) {
        const int32_t left = window_origin(x, layer->stride_width, layer->pad_left);
        const struct taps columns = clip_taps(left, layer->dilation_width, layer->kernel_width, layer->input_width);
        const int32_t first_column = (left + columns.first * layer->dilation_width) * inputs;

        for (int32_t channel = 0, input_channel = 0; input_channel < inputs; input_channel++) {
          for (int32_t end = channel + depth_multiplier; channel < end; channel++) {
            int32_t acc = bias ? bias[channel] : 0;
            for (int32_t row = rows.first; row < rows.end; row++) {
              const int8_t *pixel =
                  input + (top + row * layer->dilation_height) * row_bytes + first_column + input_channel;
              const int8_t *weight = weights + (row * layer->kernel_width + columns.first) * outputs + channel;
              for (int32_t column = columns.first; column < columns.end; column++) {
                acc += (*pixel + offset) * *weight;
                pixel += pixel_step;
                weight += outputs;
              }
            }
            acc = requantise(acc, multiplier[channel], shift[channel]) + layer->output_offset;
            *output++ = (int8_t)clamp(acc, layer->activation_min, layer->activation_max);
          }
        }
      }
    }
  }
}
