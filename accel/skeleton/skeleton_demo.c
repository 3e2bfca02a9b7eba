/* A matrix times a vector, on the skeleton unit if the hart has it, else without. */
#include "rvsim_host.h"
#include "skeleton.h"

enum { ROWS = 64, COLUMNS = 256 };
static int8_t matrix[ROWS][COLUMNS], vector[COLUMNS];

static int32_t dot(const int8_t *x, const int8_t *y) {
  int32_t sum = 0;
  for (int i = 0; i < COLUMNS; i++) sum += x[i] * y[i];
  return sum;
}

int main(void) {
  uint32_t noise = 1, hash = 0;
  for (int i = 0; i < ROWS * COLUMNS; i++) matrix[0][i] = (int8_t)((noise = noise * 1664525 + 1013904223) >> 24);
  for (int i = 0; i < COLUMNS; i++) vector[i] = (int8_t)(i * 7);
  const int present = skeleton_present();
  if (present) skeleton_length(COLUMNS);
  for (int row = 0; row < ROWS; row++)
    hash = hash * 31 + (uint32_t)(present ? skeleton_dot(matrix[row], vector) : dot(matrix[row], vector));
  rvsim_print_hex(hash);
  rvsim_print("\n");
  return 0;
}
