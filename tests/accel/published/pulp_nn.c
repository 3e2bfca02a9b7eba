/* PULP-NN's published convolution (arXiv 1908.11263, section 4): 16 x 16 x 32 input, 64 filters of 3 x 3, uint8 activations, int8 weights. Its shape
   of the product: windows of two pixels copied (im2col), four filters at a time, eight sums in registers; then multiply, shift, clip to uint8. Written
   anew after the paper's description. PULP_XCV: on XCV instructions, else RV32IMC. Prints the layer's cycles and a checksum. */
#include "rvsim_host.h"
#ifdef PULP_XCV
#include "rvsim_xcv.h"
#endif

#define SIZE 16
#define INPUTS 32
#define OUTPUTS 64
#define WINDOW (9 * INPUTS)

static uint8_t input[SIZE * SIZE * INPUTS] __attribute__((aligned(4))), output[SIZE * SIZE * OUTPUTS];
static int8_t weights[OUTPUTS * WINDOW] __attribute__((aligned(4)));
static uint8_t windows[2 * WINDOW] __attribute__((aligned(4)));
static int32_t bias[OUTPUTS];

typedef uint32_t __attribute__((may_alias)) word;

static inline uint8_t quantise(int32_t sum) {
  const int32_t value = (sum * 3) >> 10;
#ifdef PULP_XCV
  return (uint8_t)cv_clipu(value, 9);
#else
  return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
#endif
}

static __attribute__((noinline)) void gather(int32_t y, int32_t x, word *to) {
  for (int32_t row = y - 1; row <= y + 1; row++)
    for (int32_t column = x - 1; column <= x + 1; column++, to += INPUTS / 4) {
      if (row < 0 || row >= SIZE || column < 0 || column >= SIZE) {
        for (int i = 0; i < INPUTS / 4; i++) to[i] = 0;
      } else {
        const word *from = (const word *)(input + (row * SIZE + column) * INPUTS);
        for (int i = 0; i < INPUTS / 4; i++) to[i] = from[i];
      }
    }
}

/* Two pixels, all filters. */
static __attribute__((noinline)) void product(uint8_t *first, uint8_t *second) {
  const int8_t *filter = weights;
  for (int32_t channel = 0; channel < OUTPUTS; channel += 4, filter += 4 * WINDOW) {
    int32_t a = bias[channel], b = bias[channel + 1], c = bias[channel + 2], d = bias[channel + 3], e = a, f = b, g = c, h = d;
#ifdef PULP_XCV
    const word *w0 = (const word *)filter, *w1 = w0 + WINDOW / 4, *w2 = w1 + WINDOW / 4, *w3 = w2 + WINDOW / 4;
    const word *x = (const word *)windows, *y = x + WINDOW / 4;
    /* A hardware loop of 14 instructions. Opcode 0x0b: cv.lw with post-increment; 0x7b: cv.sdotusp.b. */
    __asm__ volatile(
        ".balign 4\n.option push\n.option norvc\n"
        CV_SETUP_0(%[words], 15)
        ".insn i 0x0b, 2, t0, %[w0], 4\n.insn i 0x0b, 2, t1, %[w1], 4\n.insn i 0x0b, 2, t2, %[w2], 4\n"
        ".insn i 0x0b, 2, t3, %[w3], 4\n.insn i 0x0b, 2, t4, %[x], 4\n.insn i 0x0b, 2, t5, %[y], 4\n"
        ".insn r 0x7b, 1, 0x50, %[a], t4, t0\n.insn r 0x7b, 1, 0x50, %[b], t4, t1\n"
        ".insn r 0x7b, 1, 0x50, %[c], t4, t2\n.insn r 0x7b, 1, 0x50, %[d], t4, t3\n"
        ".insn r 0x7b, 1, 0x50, %[e], t5, t0\n.insn r 0x7b, 1, 0x50, %[f], t5, t1\n"
        ".insn r 0x7b, 1, 0x50, %[g], t5, t2\n.insn r 0x7b, 1, 0x50, %[h], t5, t3\n"
        ".option pop"
        : [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), [e] "+r"(e), [f] "+r"(f), [g] "+r"(g), [h] "+r"(h), [w0] "+r"(w0),
          [w1] "+r"(w1), [w2] "+r"(w2), [w3] "+r"(w3), [x] "+r"(x), [y] "+r"(y)
        : [words] "r"(WINDOW / 4)
        : "memory", "t0", "t1", "t2", "t3", "t4", "t5");
#else
    const int8_t *w0 = filter, *w1 = w0 + WINDOW, *w2 = w1 + WINDOW, *w3 = w2 + WINDOW;
    const uint8_t *x = windows, *y = x + WINDOW;
    for (int32_t left = WINDOW; left > 0; left--) {
      const int32_t p = *w0++, q = *w1++, r = *w2++, s = *w3++, u = *x++, v = *y++;
      a += p * u, b += q * u, c += r * u, d += s * u;
      e += p * v, f += q * v, g += r * v, h += s * v;
    }
#endif
    first[channel] = quantise(a), first[channel + 1] = quantise(b), first[channel + 2] = quantise(c), first[channel + 3] = quantise(d);
    second[channel] = quantise(e), second[channel + 1] = quantise(f), second[channel + 2] = quantise(g), second[channel + 3] = quantise(h);
  }
}

int main(void) {
  uint32_t state = 1;
  for (uint32_t i = 0; i < sizeof input; i++) input[i] = (uint8_t)((state = state * 1664525u + 1013904223u) >> 24);
  for (uint32_t i = 0; i < sizeof weights; i++) weights[i] = (int8_t)((state = state * 1664525u + 1013904223u) >> 24);
  for (uint32_t i = 0; i < OUTPUTS; i++) bias[i] = (int32_t)(i * 512);
  const uint64_t before = rvsim_cycle();
  uint8_t *out = output;
  for (int32_t y = 0; y < SIZE; y++)
    for (int32_t x = 0; x < SIZE; x += 2, out += 2 * OUTPUTS) {
      gather(y, x, (word *)windows);
      gather(y, x + 1, (word *)(windows + WINDOW));
      product(out, out + OUTPUTS);
    }
  const uint64_t after = rvsim_cycle();
  uint32_t hash = 2166136261u;
  for (uint32_t i = 0; i < sizeof output; i++) hash = (hash ^ output[i]) * 16777619u;
  rvsim_print_decimal(after - before);
  rvsim_print(" ");
  rvsim_print_hex(hash);
  rvsim_print("\n");
  return 0;
}
