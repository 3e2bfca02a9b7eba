# Base integer instructions and M: every destination, x0 as one, corner values, taken and untaken branches, jumps.
    .include "golden.inc"
    begin
    .option norvc
    li s11, 0
    # x0 as destination: no register appears in the log.
    addi x0, x1, 5
    lui x0, 0xfffff
    add x0, x1, x2
    nop
    lui a0, 0x80000
    auipc a1, 0xfffff
    li a2, -1
    li a3, 0x7fffffff
    .macro table op
    \op t0, a0, a2
    \op t1, a2, a0
    \op t2, a3, a2
    \op x31, a3, x0
    .endm
    .irp op, add, sub, sll, slt, sltu, xor, srl, sra, or, and, mul, mulh, mulhsu, mulhu, div, divu, rem, remu
    table \op
    .endr
    .irp op, addi, slti, sltiu, xori, ori, andi
    \op s2, a0, -2048
    \op s3, a2, 2047
    .endr
    .irp op, slli, srli, srai
    \op s4, a0, 31
    \op s5, a2, 1
    .endr
    .irp op, beq, bne, blt, bge, bltu, bgeu
    \op a0, a2, 1f
    nop
1:  \op a2, a0, 1f
    nop
1:  \op a2, a2, 1f
    nop
1:
    .endr
    li s6, 3
2:  addi s6, s6, -1
    bnez s6, 2b
    jal s7, 3f
    nop
3:  la s8, 4f + 1
    jalr s9, s8, 0
    nop
4:  jal x0, 5f
    nop
5:  la s8, 6f - 8
    jalr x0, 8(s8)
    nop
6:  fence
    fence rw, w
    fence.i
    finish
