# isa: rv32imac_zba_zbb_zbs
# Every instruction of Zbb: operands at both ends of what they may be, and between.
    .option norvc
    .text
back:
    andn     x31, a0, s1
    andn     x9, x31, a5
    andn     s0, a0, t3
    clz      ra, a0
    clz      x31, fp
    clz      fp, s0
    cpop     a5, x31
    cpop     a0, a5
    cpop     x31, s0
    ctz      t3, s0
    ctz      s0, x31
    ctz      x9, x31
    max      fp, x9, s1
    max      a0, t3, s0
    max      s0, fp, a3
    maxu     x9, s0, fp
    maxu     a0, x31, a3
    maxu     a3, x9, t3
    min      a0, a0, s0
    min      fp, x31, s1
    min      fp, a5, a0
    minu     ra, ra, x9
    minu     x9, x31, ra
    minu     x31, ra, a5
    orc.b    s0, x31
    orc.b    s1, s0
    orc.b    a0, ra
    orn      x9, s0, x31
    orn      s0, t3, t3
    orn      x31, fp, x31
    rev8     a3, fp
    rev8     t3, ra
    rev8     x9, fp
    rol      a0, s1, a5
    rol      s0, s1, s1
    rol      a0, a3, ra
    ror      s1, ra, x31
    ror      a0, s1, s1
    ror      a5, x9, s1
    rori     t3, s0, 31
    rori     t3, t3, 1
    rori     ra, t3, 4
    sext.b   x9, a5
    sext.b   a0, fp
    sext.b   s1, ra
    sext.h   s1, s0
    sext.h   a0, x9
    sext.h   x9, s1
    xnor     ra, x9, t3
    xnor     a0, ra, s1
    xnor     a3, x9, x31
    zext.h   x31, a3
    zext.h   a3, a0
    zext.h   t3, s0
