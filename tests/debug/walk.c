/* What test_gdb.py debugs: a variable that changes in a loop, a structure, a function, no library. */
struct point {
  int x, y;
};
volatile int total = 7;
volatile struct point place = {1, 2};

static __attribute__((noinline)) int add_square(int n) {
  total += n * n; /* the change */
  return total;
}

int main(void) {
  int sum = 0;
  for (int i = 1; i <= 5; i++) {
    sum += add_square(i);
    place.y = sum; /* the store */
  }
  return place.x; /* the end */
}

__attribute__((naked)) void _start(void) {
  __asm__("call main\n li a7, 93\n ecall");
}
