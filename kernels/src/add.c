/* ADD of two int8 tensors of one shape, each with its own scale and zero point. */
#include "kernels.h"
#include "requantise.h"

/* Bits that TensorFlow Lite adds below the operands before it scales them (kernels/add.cc, int8). */
#define LEFT_SHIFT 20

void add_s8(const struct rvsim_conv_layer *layer) {
  const int8_t *first = (const int8_t *)layer->input, *second = (const int8_t *)layer->weights;
  const int32_t *multiplier = (const int32_t *)layer->multiplier, *shift = (const int32_t *)layer->shift;
  int8_t *output = (int8_t *)layer->output;
  const int32_t first_offset = layer->input_offset, second_offset = layer->pad_top;
  const int8_t *end = first + layer->batches * layer->input_height * layer->input_width * layer->input_channels;

  while (first != end) {
    /* Sums as unsigned: a left shift of the operands, which TensorFlow Lite never asks for, may make them wrap. */
    uint32_t sum = (uint32_t)requantise((int32_t)((uint32_t)(*first++ + first_offset) << LEFT_SHIFT), multiplier[0], shift[0]);
    sum += (uint32_t)requantise((int32_t)((uint32_t)(*second++ + second_offset) << LEFT_SHIFT), multiplier[1], shift[1]);
    const int32_t value = requantise((int32_t)sum, multiplier[2], shift[2]) + layer->output_offset;
    *output++ = (int8_t)clamp(value, layer->activation_min, layer->activation_max);
  }
}
