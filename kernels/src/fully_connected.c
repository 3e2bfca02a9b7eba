/* FULLY_CONNECTED on int8: OI weights, double rounding, one multiplier a unit. */
#include "kernels.h"
#include "requantise.h"

void fully_connected_s8(const struct rvsim_conv_layer *layer) {
  const int8_t *input = (const int8_t *)layer->input;
  const int32_t *bias = (const int32_t *)layer->bias;
  const int32_t *multiplier = (const int32_t *)layer->multiplier;
  const int32_t *shift = (const int32_t *)layer->shift;
  int8_t *output = (int8_t *)layer->output;
  const int32_t depth = layer->input_channels;

  for (int32_t batch = 0; batch < layer->batches; batch++, input += depth) {
    const int8_t *weights = (const int8_t *)layer->weights;
    for (int32_t unit = 0; unit < layer->output_channels; unit++, weights += depth) {
      int32_t acc = dot_product(bias ? bias[unit] : 0, input, weights, depth, layer->input_offset);
      acc = requantise(acc, multiplier[unit], shift[unit]) + layer->output_offset;
      *output++ = (int8_t)clamp(acc, layer->activation_min, layer->activation_max);
    }
  }
}
