# isa: rv32imac_zba_zbb_zbs
# Every instruction of Zbs: operands at both ends of what they may be, and between.
    .option norvc
    .text
back:
    bclr     s0, x9, fp
    bclr     x9, x9, t3
    bclr     ra, a5, a3
    bclri    x9, s1, 31
    bclri    s1, a0, 1
    bclri    t3, fp, 4
    bext     a3, a5, x31
    bext     ra, a5, x9
    bext     x31, s1, a0
    bexti    a5, t3, 31
    bexti    s1, a3, 1
    bexti    a3, x9, 6
    binv     x9, x31, a3
    binv     t3, fp, x9
    binv     s1, a3, s1
    binvi    s1, a5, 31
    binvi    a3, a3, 1
    binvi    x31, s1, 15
    bset     ra, fp, x31
    bset     ra, a0, s1
    bset     x9, a3, t3
    bseti    a0, x31, 31
    bseti    a3, s1, 1
    bseti    s0, a0, 7
