# Loads and stores of each size, signed and unsigned, at each place in a word; code that is replaced; access faults.
    .include "golden.inc"
    .data
words: .word 0x80ff7f01, 0x0123cdef, 0, 0, 0, 0, 0, 0
place: .word 0, 0
    begin
    .option norvc
    li s11, 0
    la a0, words + 8
    .irp at, -8, -7, -6, -5
    lb a1, \at(a0)
    lbu a2, \at(a0)
    .endr
    .irp at, -8, -6, -4, -2
    lh a1, \at(a0)
    lhu a2, \at(a0)
    .endr
    lw a3, -8(a0)
    lw x0, -8(a0)
    lb x0, -5(a0)
    li a4, 0xdeadbeef
    .irp at, 0, 1, 2, 3
    sb a4, \at(a0)
    lw a5, 0(a0)
    .endr
    sh a4, 4(a0)
    sh a4, 6(a0)
    lw a5, 4(a0)
    sw a4, 8(a0)
    sw x0, 12(a0)
    sb x0, 8(a0)
    lw a5, 8(a0)
    # Copied into the data page and run there: an instruction, then another in its place.
    la a0, place
    la a1, 7f
    lw a2, 0(a1)
    lw a3, 4(a1)
    lw a4, 8(a1)
    sw a2, 0(a0)
    sw a4, 4(a0)
    fence.i
    jalr ra, 0(a0)
    sw a3, 0(a0)
    fence.i
    jalr ra, 0(a0)
    # No memory at 0x40000000: load and store access faults leave no line.
    li a6, 0x40000000
    lw a7, 0(a6)
    lbu a7, 3(a6)
    sw a7, 4(a6)
    sh a7, 2(a6)
    la s11, 8f
    jalr ra, a6, 0
    nop
8:  li s11, 0
    finish
7:  li s2, 1
    li s2, 2
    ret
