/* Entry: stack and global pointer, clear .bss, main(argc, argv), exit by host call. mtvec stays 0: an ecall is a host call. */
  .section .text.init, "ax", %progbits
  .globl _start
  .type _start, %function
_start:
  .option push
  .option norelax
  la gp, __global_pointer$
  .option pop
  /* The simulator starts with a Linux stack (argc, argv...) at the top of RAM. Elsewhere sp may hold anything,
     so it is believed only if it points into the free RAM above the program. */
  mv s0, sp
  la sp, __stack_top
  la t0, __bss_start
  la t1, __bss_end
1:
  bgeu t0, t1, 2f
  sw zero, 0(t0)
  addi t0, t0, 4
  j 1b
2:
  li a0, 0
  la a1, no_arguments
  la t0, _end
  la t1, __ram_end
  bltu s0, t0, 3f
  bgeu s0, t1, 3f
  lw a0, 0(s0)
  addi a1, s0, 4
3:
  call main
  li a7, 93
  ecall
4:
  j 4b
  .size _start, . - _start

  .section .rodata.no_arguments, "a", %progbits
  .balign 4
no_arguments:
  .word 0

  /* The linker script gives the stack its size; this gives it its permissions. */
  .section .stack, "aw", %nobits
