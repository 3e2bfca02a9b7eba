# isa: rv32imac_zba_zbb_zbs
# Every instruction of Zba: operands at both ends of what they may be, and between.
    .option norvc
    .text
back:
    sh1add   s1, ra, t3
    sh1add   a5, s1, x9
    sh1add   x9, fp, ra
    sh2add   ra, a5, ra
    sh2add   x31, fp, x9
    sh2add   a5, s0, ra
    sh3add   s0, s1, x9
    sh3add   a3, t3, ra
    sh3add   a0, t3, s1
