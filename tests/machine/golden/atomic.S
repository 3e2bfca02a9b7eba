# lr.w, sc.w with and without a reservation, and every AMO.
    .include "golden.inc"
    .data
    .balign 4
word: .word 0x80000001, 5
    begin
    .option norvc
    li s11, 0
    la a0, word
    li a1, 0x7fffffff
    lr.w a2, (a0)
    sc.w a3, a1, (a0)
    sc.w a3, a1, (a0)
    lr.w.aq x0, (a0)
    addi a4, a0, 4
    sc.w.rl a3, a1, (a4)
    lr.w.aqrl a2, (a0)
    sc.w.aqrl x0, a4, (a0)
    li a5, -7
    .irp op, amoswap.w, amoadd.w, amoxor.w, amoand.w, amoor.w, amomin.w, amomax.w, amominu.w, amomaxu.w
    \op a2, a1, (a0)
    \op a2, a5, (a0)
    \op\().aq x0, a1, (a0)
    \op\().rl a2, a0, (a0)
    \op\().aqrl a0, x0, (a0)
    la a0, word
    .endr
    # Misaligned: as stores, except lr.w.
    addi a6, a0, 2
    lr.w a2, (a6)
    sc.w a2, a1, (a6)
    amoadd.w a2, a1, (a6)
    # An access fault of an AMO is one of a store.
    li a7, 0x40000000
    amoadd.w a2, a1, (a7)
    lr.w a2, (a7)
    finish
