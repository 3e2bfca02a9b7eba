# Zba, Zbb, Zbs, Zcb.
    .include "golden.inc"
    .data
    .balign 4
area: .word 0x8091a2b3, 0, 0
    begin
    .option norvc
    li s11, 0
    li a0, 0x80f17c00
    li a1, 0x00018004
    li a2, 37
    .irp op, sh1add, sh2add, sh3add, andn, orn, xnor, max, maxu, min, minu, rol, ror, bclr, bext, binv, bset
    \op a3, a0, a1
    \op a4, a1, a2
    \op x0, a0, a2
    .endr
    .irp op, clz, ctz, cpop, sext.b, sext.h, zext.h, orc.b, rev8
    \op a3, a0
    \op a4, a1
    \op a5, x0
    .endr
    .irp op, rori, bclri, bexti, binvi, bseti
    \op a3, a0, 31
    \op a4, a1, 0
    .endr
    # Zcb by its words (Zcb 1.0.4, instruction formats): registers a0 = x10 is 2, s0 = x8 is 0.
    la s0, area
    .option rvc
    .2byte 0x8008
    .2byte 0x8028
    .2byte 0x8068
    .2byte 0x8428
    .2byte 0x8468
    .2byte 0x8408
    .2byte 0x8828
    .2byte 0x8c28
    .2byte 0x9d61
    .2byte 0x9d65
    .2byte 0x9d69
    .2byte 0x9d6d
    .2byte 0x9d75
    .2byte 0x9d4d
    .balign 4
    finish
