/* rvsim_layer(): one layer on the coprocessor, by the kernels for its added instructions, or by the scalar kernels. */
#include "kernels.h"
#include "rvsim_simd.h"
#include "rvsim_xcv.h"

/* Whether windows at -pad, stride - pad, ... fit one side of the input: the first and the last reach into it,
   and no further one fits wholly before its end. */
static int side_follows(int32_t size, int32_t output, int32_t kernel, int32_t stride, int32_t dilation, int32_t pad) {
  int64_t window = (int64_t)(kernel - 1) * dilation + 1;
  int64_t last = (int64_t)(output - 1) * stride - pad;
  return pad < window && last < size && last + stride + window > size;
}

static int in_range(int32_t value, int32_t minimum, int32_t maximum) { return minimum <= value && value <= maximum; }

/* The coprocessor's checks (accel/conv/descriptor.py), so that a bad layer has the same status either way.
   Addresses outside memory need none: a scalar access traps by itself. */
static enum rvsim_conv_status check_layer(const struct rvsim_conv_layer *layer) {
  if (layer->magic != RVSIM_CONV_MAGIC) return RVSIM_CONV_BAD_MAGIC;
  if (layer->operation > RVSIM_ADD) return RVSIM_CONV_UNKNOWN_OPERATION;
  const int pool = layer->operation == RVSIM_AVERAGE_POOL_2D || layer->operation == RVSIM_MAX_POOL_2D;
  const int add = layer->operation == RVSIM_ADD, weights = !pool && !add;
  if (((weights ? layer->bias : 0) | (pool ? 0 : layer->multiplier | layer->shift)) & 3) return RVSIM_CONV_MISALIGNED;

  const int32_t *sizes = &layer->batches; /* words 8 to 20 must be positive, and the pads that follow not negative */
  for (int word = 0; word < 13; word++)
    if (sizes[word] < 1) return RVSIM_CONV_BAD_SHAPE;
  const int32_t pad_top = add ? 0 : layer->pad_top;
  if (pad_top < 0 || layer->pad_left < 0) return RVSIM_CONV_BAD_SHAPE;
  const int point = add || layer->operation == RVSIM_FULLY_CONNECTED; /* a window of one element that does not move */
  if ((layer->operation == RVSIM_FULLY_CONNECTED && (layer->input_height | layer->input_width) != 1) ||
      (point && ((layer->kernel_height | layer->kernel_width | layer->stride_height | layer->stride_width) != 1 || pad_top ||
                 layer->pad_left)) ||
      ((point || pool) && (layer->dilation_height | layer->dilation_width) != 1) ||
      (pool && (int64_t)layer->kernel_height * layer->kernel_width > RVSIM_CONV_MAX_POOL_TAPS))
    return RVSIM_CONV_BAD_SHAPE;

  if ((layer->operation == RVSIM_DEPTHWISE_CONV_2D && layer->output_channels % layer->input_channels) ||
      (!weights && layer->output_channels != layer->input_channels))
    return RVSIM_CONV_SHAPE_MISMATCH;
  if (!side_follows(layer->input_height, layer->output_height, layer->kernel_height, layer->stride_height,
                    layer->dilation_height, pad_top) ||
      !side_follows(layer->input_width, layer->output_width, layer->kernel_width, layer->stride_width,
                    layer->dilation_width, layer->pad_left))
    return RVSIM_CONV_SHAPE_MISMATCH;

  if (!in_range(layer->input_offset, -127, 128) || !in_range(layer->output_offset, -128, 127) ||
      !in_range(layer->activation_min, -128, 127) || !in_range(layer->activation_max, layer->activation_min, 127) ||
      (add && !in_range(layer->pad_top, -127, 128)))
    return RVSIM_CONV_BAD_RANGE;
  const int32_t *multiplier = (const int32_t *)layer->multiplier, *shift = (const int32_t *)layer->shift;
  const int32_t multipliers = pool ? 0 : add ? 3 : layer->output_channels;
  for (int32_t channel = 0; channel < multipliers; channel++)
    if (multiplier[channel] < 0 || !in_range(shift[channel], -31, 30)) return RVSIM_CONV_BAD_RANGE;
  return RVSIM_CONV_DONE;
}

/* Whether kernels for the added instructions of a family have run the layer. */
static int run_added(uint32_t capability, const struct rvsim_conv_layer *layer) {
  const uint32_t needed = RVSIM_XCV_MEM | RVSIM_XCV_MAC | RVSIM_XCV_ALU | RVSIM_XCV_SIMD | RVSIM_XCV_HWLP;
  const int xcv = capability >> 24 == RVSIM_XCV_FAMILY && (capability & needed) == needed;
  if (!xcv && !simd_supports(capability)) return 0;
  switch ((enum rvsim_conv_operation)layer->operation) {
    case RVSIM_CONV_2D: return xcv ? xcv_conv_2d(layer) : simd_conv_2d(layer);
    case RVSIM_DEPTHWISE_CONV_2D: return xcv ? xcv_depthwise_conv_2d(layer) : simd_depthwise_conv_2d(layer);
    case RVSIM_FULLY_CONNECTED: return xcv ? xcv_fully_connected(layer) : simd_fully_connected(layer);
    default: return 0;
  }
}

int rvsim_layer(const struct rvsim_conv_layer *layer) {
  /* A misaligned descriptor cannot even be read on a hart that traps on misaligned loads. */
  if ((uintptr_t)layer & 3) return RVSIM_CONV_MISALIGNED;
  const uint32_t capability = conv_capability();
  if (conv_supports(capability, layer->operation)) {
    uint32_t refused = conv_start(layer);
    return (int)(refused ? refused : conv_wait());
  }

  enum rvsim_conv_status status = check_layer(layer);
  if (status) return status;
  if (run_added(capability, layer)) return RVSIM_CONV_DONE;
  switch ((enum rvsim_conv_operation)layer->operation) {
    case RVSIM_CONV_2D: conv_2d_s8(layer); break;
    case RVSIM_DEPTHWISE_CONV_2D: depthwise_conv_2d_s8(layer); break;
    case RVSIM_FULLY_CONNECTED: fully_connected_s8(layer); break;
    case RVSIM_AVERAGE_POOL_2D:
    case RVSIM_MAX_POOL_2D: pool_2d_s8(layer); break;
    case RVSIM_ADD: add_s8(layer); break;
  }
  return RVSIM_CONV_DONE;
}
