# isa: rv32imac_zba_zbb_zbs
# Every instruction of RVM: operands at both ends of what they may be, and between.
    .option norvc
    .text
back:
    div      s0, fp, ra
    div      fp, x31, fp
    div      ra, x31, x9
    divu     fp, a0, fp
    divu     t3, ra, a3
    divu     x9, a0, fp
    mul      a5, s0, s0
    mul      s1, a0, s1
    mul      a3, x9, x9
    mulh     ra, s0, a0
    mulh     s0, a5, s1
    mulh     a0, s1, s0
    mulhsu   a3, x9, x9
    mulhsu   fp, a5, x31
    mulhsu   fp, s1, s1
    mulhu    a5, a3, fp
    mulhu    ra, ra, a0
    mulhu    ra, ra, t3
    rem      fp, a5, x9
    rem      a3, ra, a3
    rem      s1, fp, a3
    remu     a5, s1, a5
    remu     s0, s0, s0
    remu     x9, s1, t3
