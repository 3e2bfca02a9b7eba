# isa: rv32imac_zba_zbb_zbs
# Every instruction of RV32I: operands at both ends of what they may be, and between.
    .option norvc
    .text
back:
    add      x9, s0, a3
    add      fp, a0, x31
    add      a5, a0, t3
    addi     s1, a3, 2047
    addi     a5, ra, -2048
    addi     x9, a5, -1941
    and      a5, ra, s0
    and      t3, ra, t3
    and      s1, t3, x9
    andi     x9, x31, 2047
    andi     t3, a0, -2048
    andi     a5, a5, -690
    auipc    t3, 1
    auipc    s0, 0x12345
    auipc    a3, 0xfffff
    beq      a5, fp, .-4
    beq      a5, t3, .-4
    beq      a5, ra, .+8
    bge      a0, a3, .+8
    bge      t3, t3, .+8
    bge      s1, a3, .+8
    bgeu     x9, x9, back
    bgeu     x9, a3, back
    bgeu     s0, a3, .+8
    blt      x31, a3, back
    blt      x31, x31, .-4
    blt      t3, a0, .+8
    bltu     a0, a3, .+8
    bltu     a0, fp, .+8
    bltu     a3, ra, .-4
    bne      a0, x31, back
    bne      t3, x9, back
    bne      s1, a5, .+8
    ebreak
    ecall
    fence    rw, rw
    fence    iorw, iorw
    fence    o, o
    jal      a3, .-4
    jal      s0, .+8
    jalr     s1, 2047(s0)
    jalr     a0, -2048(s1)
    jalr     a5, 743(fp)
    lb       x9, 2047(t3)
    lb       a3, -2048(fp)
    lb       s1, 511(a3)
    lbu      s0, 2047(s1)
    lbu      t3, -2048(x31)
    lbu      t3, -1651(s1)
    lh       x9, 2047(a0)
    lh       a5, -2048(s0)
    lh       x31, 1407(t3)
    lhu      a0, 2047(x31)
    lhu      a3, -2048(t3)
    lhu      x9, -961(ra)
    lui      s1, 1
    lui      t3, 0x12345
    lui      ra, 0xfffff
    lw       a3, 2047(a0)
    lw       ra, -2048(t3)
    lw       x31, -662(fp)
    or       x31, x31, a3
    or       x31, s0, s0
    or       x31, ra, t3
    ori      s1, ra, 2047
    ori      x31, a3, -2048
    ori      s1, x31, 182
    sb       fp, 2047(s1)
    sb       a3, -2048(s0)
    sb       a3, 252(x31)
    sh       s0, 2047(a3)
    sh       t3, -2048(x31)
    sh       fp, 5(a3)
    sll      s0, x31, s0
    sll      fp, a3, a3
    sll      s0, a3, ra
    slli     a3, t3, 31
    slli     a3, a3, 1
    slli     fp, t3, 12
    slt      a3, x31, s0
    slt      s1, ra, t3
    slt      x9, x9, fp
    slti     ra, s0, 2047
    slti     a0, a5, -2048
    slti     x9, x31, -568
    sltiu    a5, t3, 2047
    sltiu    x31, a5, -2048
    sltiu    a0, t3, -1141
    sltu     a3, t3, x31
    sltu     a5, fp, a0
    sltu     ra, x31, a3
    sra      ra, x9, s1
    sra      x9, a5, a5
    sra      a3, a0, a3
    srai     ra, s0, 31
    srai     s1, fp, 1
    srai     a0, fp, 19
    srl      s1, s0, fp
    srl      fp, a3, x9
    srl      s0, a3, t3
    srli     ra, ra, 31
    srli     x31, t3, 1
    srli     x9, ra, 30
    sub      a5, t3, x9
    sub      s1, a3, a0
    sub      ra, s1, a3
    sw       x9, 2047(a3)
    sw       x9, -2048(ra)
    sw       ra, -194(x31)
    xor      s0, x31, ra
    xor      ra, t3, x9
    xor      x9, s0, s0
    xori     x31, s0, 2047
    xori     a0, a3, -2048
    xori     x31, s0, -875
