/* Windows of the input as rows of words (im2col of a pixel), and a convolution over pairs of them. */
#include "packed.h"

struct packed pack_filters(const struct rvsim_conv_layer *layer, int32_t filter_bytes) {
  struct packed packed = {
    .layer = layer, .weights = (const int8_t *)layer->weights, .filter_bytes = filter_bytes,
    .step = filter_bytes & 1 ? 4 : filter_bytes & 2 ? 2 : 1, .row_bytes = (filter_bytes + 6) & ~3,
  };
  return packed;
}

int packed_fits(const struct packed *packed) { return packed->row_bytes <= PACKED_BYTES / 2 / packed->step; }

static void copy(int8_t *to, const int8_t *from, int32_t bytes) {
  if ((((uintptr_t)to | (uintptr_t)from) & 3) == 0) {
    for (; bytes >= 16; bytes -= 16, to += 16, from += 16) {
      const word *source = (const word *)from;
      word *target = (word *)to, a = source[0], b = source[1], c = source[2], d = source[3];
      target[0] = a, target[1] = b, target[2] = c, target[3] = d;
    }
    for (; bytes >= 4; bytes -= 4, to += 4, from += 4) *(word *)to = *(const word *)from;
  }
  for (; bytes >= 4; bytes -= 4, to += 4, from += 4) {
    int8_t a = from[0], b = from[1], c = from[2], d = from[3];
    to[0] = a, to[1] = b, to[2] = c, to[3] = d;
  }
  for (; bytes > 0; bytes--) *to++ = *from++;
}

static void fill(int8_t *to, int32_t bytes, int8_t value) {
  for (; bytes > 0 && (uintptr_t)to & 3; bytes--) *to++ = value;
  for (; bytes >= 4; bytes -= 4, to += 4) *(word *)to = (uint8_t)value * 0x01010101u;
  for (; bytes > 0; bytes--) *to++ = value;
}

/* The window of one output pixel, its other rows included. */
static void gather(const struct packed *packed, const int8_t *input, int32_t top, int32_t left, int8_t *rows) {
  const struct rvsim_conv_layer *layer = packed->layer;
  const int32_t channels = layer->input_channels, width = layer->input_width;
  const int32_t kernel_row_bytes = layer->kernel_width * channels;
  const int8_t zero = (int8_t)-layer->input_offset;
  const int32_t lead = (int32_t)((uintptr_t)packed->weights & 3);
  int8_t *to = rows + lead;
  fill(rows, lead, zero);
  const struct taps rows_inside = clip_taps(top, layer->dilation_height, layer->kernel_height, layer->input_height);
  const struct taps columns = clip_taps(left, layer->dilation_width, layer->kernel_width, width);
  const int32_t before = columns.first * channels, inside = (columns.end - columns.first) * channels;
  for (int32_t row = 0; row < layer->kernel_height; row++, to += kernel_row_bytes) {
    if (row < rows_inside.first || row >= rows_inside.end) {
      fill(to, kernel_row_bytes, zero);
      continue;
    }
    const int8_t *from = input + ((top + row * layer->dilation_height) * width + left) * channels;
    fill(to, before, zero);
    if (layer->dilation_width == 1) {
      copy(to + before, from + before, inside);
    } else {
      for (int32_t column = columns.first; column < columns.end; column++)
        copy(to + column * channels, from + column * layer->dilation_width * channels, channels);
    }
    fill(to + before + inside, kernel_row_bytes - before - inside, zero);
  }
  fill(to, packed->row_bytes - lead - packed->filter_bytes, zero);

  /* The other rows are the first, moved by up to three bytes either way. */
  for (int32_t other = 1; other < packed->step; other++) {
    const int32_t at = (int32_t)((uintptr_t)(packed->weights + other * packed->filter_bytes) & 3);
    const word *from = (const word *)rows;
    word *row = (word *)(rows + other * packed->row_bytes);
    const int32_t words = packed->row_bytes >> 2;
    if (at > lead) {
      const int up = (at - lead) * 8;
      uint32_t last = (uint8_t)zero * 0x01010101u;
      for (int32_t i = 0; i < words; i++) {
        row[i] = from[i] << up | last >> (32 - up);
        last = from[i];
      }
    } else {
      const int down = (lead - at) * 8; /* not 0: step channels begin at step different bytes */
      for (int32_t i = 0; i + 1 < words; i++) row[i] = from[i] >> down | from[i + 1] << (32 - down);
      row[words - 1] = from[words - 1] >> down | (uint8_t)zero * 0x01010101u << (32 - down);
    }
  }
}

void packed_convolution(const struct packed *packed, packed_pair *pair) {
  const struct rvsim_conv_layer *layer = packed->layer;
  const int8_t *input = (const int8_t *)layer->input;
  int8_t *output = (int8_t *)layer->output;
  const int32_t channels = layer->input_channels, outputs = layer->output_channels;
  /* Where a window is one pixel that begins as its filter does, it is its own row. */
  const int whole = layer->kernel_height == 1 && layer->kernel_width == 1 && packed->step == 1 &&
                    (((uintptr_t)input | (uintptr_t)packed->weights) & 3) == 0;
  const int32_t size = whole ? 0 : packed->step * packed->row_bytes;
  word rows[2 * size / 4 + 1];
  const int8_t *waiting = 0;

  for (int32_t batch = 0; batch < layer->batches; batch++, input += layer->input_height * layer->input_width * channels) {
    for (int32_t y = 0; y < layer->output_height; y++) {
      const int32_t top = y * layer->stride_height - layer->pad_top;
      for (int32_t x = 0, left = -layer->pad_left; x < layer->output_width; x++, left += layer->stride_width) {
        const int8_t *window = input + (top * layer->input_width + left) * channels;
        if (!whole) {
          int8_t *own = (int8_t *)rows + (waiting ? size : 0);
          gather(packed, input, top, left, own);
          window = own;
        }
        if (!waiting) {
          waiting = window;
          continue;
        }
        pair(packed, waiting, window, output, output + outputs);
        output += 2 * outputs;
        waiting = 0;
      }
    }
  }
  if (waiting) pair(packed, waiting, waiting, output, output);
}
