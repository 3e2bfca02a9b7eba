# isa: rv32imac_zba_zbb_zbs
# Every instruction of RVC: operands at both ends of what they may be, and between.
    .text
back:
    c.add    x31, a3
    c.add    a5, a3
    c.add    ra, t3
    c.addi   s0, 31
    c.addi   s1, -32
    c.addi   s0, 20
    c.addi16sp sp, 496
    c.addi16sp sp, -512
    c.addi16sp sp, 352
    c.addi4spn a0, sp, 1020
    c.addi4spn s0, sp, 4
    c.addi4spn s1, sp, 428
    c.and    s1, a5
    c.and    fp, fp
    c.and    a0, s1
    c.andi   a5, 31
    c.andi   a3, -32
    c.andi   s0, -9
    c.beqz   a3, .+8
    c.beqz   x9, back
    c.beqz   a0, .+8
    c.bnez   a5, back
    c.bnez   x9, back
    c.bnez   a0, back
    c.ebreak
    c.j      .+8
    c.j      back
    c.jal    .+8
    c.jal    .-4
    c.jalr   ra
    c.jalr   fp
    c.jalr   s1
    c.jr     a0
    c.jr     a5
    c.li     x31, 31
    c.li     x31, -32
    c.li     s0, 28
    c.lui    fp, 1
    c.lui    a0, 0x1f
    c.lui    a0, 0xfffff
    c.lw     s1, 124(x9)
    c.lw     x9, 4(s0)
    c.lw     x9, 72(fp)
    c.lwsp   x9, 252(sp)
    c.lwsp   x9, 4(sp)
    c.lwsp   a5, 4(sp)
    c.mv     ra, ra
    c.mv     a0, t3
    c.nop
    c.or     a5, s1
    c.or     a5, x9
    c.or     s1, s0
    c.slli   s1, 31
    c.slli   a5, 1
    c.slli   ra, 12
    c.srai   a5, 31
    c.srai   s0, 1
    c.srai   a5, 1
    c.srli   fp, 31
    c.srli   x9, 1
    c.srli   x9, 29
    c.sub    a0, a0
    c.sub    fp, s0
    c.sub    a0, s0
    c.sw     s1, 124(fp)
    c.sw     a0, 4(x9)
    c.sw     s0, 120(a5)
    c.swsp   x9, 252(sp)
    c.swsp   t3, 4(sp)
    c.swsp   a5, 16(sp)
    c.unimp
    c.xor    a5, a3
    c.xor    a0, a0
    c.xor    s1, x9
