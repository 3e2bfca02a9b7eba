# Misaligned loads and stores of each size and offset; within a page, across its edge.
    .include "golden.inc"
    .data
    .balign 4096
low: .zero 4088
edge: .word 0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c
    begin
    .option norvc
    li s11, 0
    la a0, edge
    li a1, 0xcafef00d
    .irp at, 1, 2, 3, 5, 6, 7
    lw a2, \at(a0)
    sw a1, \at(a0)
    .endr
    .irp at, 1, 3, 7, 9
    lh a2, \at(a0)
    lhu a3, \at(a0)
    sh a1, \at(a0)
    .endr
    lw a4, 0(a0)
    lw a5, 4(a0)
    lw a6, 8(a0)
    finish
