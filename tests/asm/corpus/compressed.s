# isa: rv32imac
# What compresses, what nearly does, and what never does.
    .text
start:
    addi sp, sp, 16
    addi sp, sp, -512
    addi sp, sp, 496
    addi sp, sp, 512
    addi sp, sp, 8
    addi sp, sp, 0
    addi a0, sp, 4
    addi a0, sp, 1020
    addi a0, sp, 1024
    addi a0, sp, 6
    addi t0, sp, 4
    addi a0, sp, 0
    addi a0, a0, 31
    addi a0, a0, 32
    addi a0, a0, -32
    addi a0, a0, -33
    addi a0, a0, 0
    addi a0, a1, 0
    addi a0, zero, 31
    addi a0, zero, 0
    addi zero, zero, 0
    addi zero, zero, 1
    addi zero, a0, 0
    addi a0, a0, 0xffffffff
    add a0, a0, a1
    add a0, a1, a0
    add a0, a1, a2
    add a0, zero, a1
    add a0, a1, zero
    add zero, a0, a1
    sub a0, a0, a1
    sub a0, a1, a0
    sub t0, t0, a0
    and a0, a1, a0
    or a0, a0, a1
    xor a0, a0, t0
    andi a0, a0, -32
    andi a0, a0, 32
    andi t0, t0, 1
    slli t0, t0, 31
    slli t0, t0, 0
    slli a0, a1, 1
    srli a0, a0, 31
    srli t0, t0, 1
    srai a0, a0, 1
    srai a0, a0, 0
    lui a0, 1
    lui a0, 31
    lui a0, 32
    lui a0, 0xfffe0
    lui a0, 0xfffdf
    lui sp, 1
    lui zero, 1
    lui a0, 0
    lui a0, %hi(0x1000)
    addi a0, a0, %lo(1)
    lw a0, 0(sp)
    lw t0, 252(sp)
    lw a0, 256(sp)
    lw zero, 0(sp)
    lw a0, (a1)
    lw a0, 124(a1)
    lw a0, 128(a1)
    lw a0, 2(a1)
    lw t0, 0(a1)
    sw zero, 0(sp)
    sw t0, 252(sp)
    sw a0, 124(a1)
    sw a0, 0(t0)
    sw a0, -4(a1)
    beq a0, zero, start
    beq zero, a0, start
    bne s1, zero, start
    bne t0, zero, start
    jal zero, start
    jal ra, start
    jalr zero, 0(ra)
    jalr ra, 0(a0)
    jr ra
    jalr ra
    ebreak
    .option push
    .option norvc
    addi a0, a0, 1
    ret
    .option pop
    addi a0, a0, 1
