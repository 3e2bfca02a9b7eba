# Every compressed instruction of RV32C, and 32-bit ones at odd halfwords.
    .include "golden.inc"
    .data
    .balign 4
area: .zero 256
    begin
    .option rvc
    .balign 4
    c.li s11, 0
    la s0, area
    la sp, area
    c.nop
    c.addi a0, -32
    c.addi a0, 31
    c.li a1, -32
    c.li a1, 31
    c.lui a2, 0xfffe0
    c.lui a2, 31
    c.addi16sp sp, 64
    c.addi16sp sp, -16
    c.addi4spn a3, sp, 4
    c.addi4spn a4, sp, 64
    c.slli a0, 3
    c.srli a0, 5
    c.srai a0, 1
    c.andi a0, -2
    c.mv a5, a0
    c.add a5, a1
    c.sub a5, a0
    c.xor a5, a1
    c.or a5, a2
    c.and a5, a1
    c.sw a1, 0(s0)
    c.sw a2, 124(s0)
    c.lw s1, 0(s0)
    c.lw s1, 124(s0)
    c.swsp ra, 0(sp)
    c.swsp a1, 124(sp)
    c.lwsp ra, 0(sp)
    c.lwsp t0, 124(sp)
    c.j 1f
    c.nop
1:  c.jal 2f
    c.nop
2:  c.li a0, 0
    c.beqz a0, 3f
    c.nop
3:  c.bnez a0, 4f
    c.li a0, 1
4:  c.beqz a0, 5f
    c.bnez a0, 5f
    c.nop
5:  la a1, 6f
    c.jr a1
    c.nop
6:  la a1, 7f
    c.jalr a1
    c.nop
    # A word at an odd halfword.
7:  .balign 4
    c.nop
    .option norvc
    addi a0, a0, 100
    lui a1, 0x12345
    .option rvc
    c.ebreak
    .2byte 0x0000
    c.li a0, 7
    finish
