# Traps and returns: ecall, ebreak, illegal words of both sizes, faults; the trapped instruction leaves no line.
    .include "golden.inc"
    begin
    .option norvc
    li s11, 0
    csrw mstatus, x0
    ecall
    ebreak
    .4byte 0xffffffff
    .4byte 0x00000033 | 5 << 25 | 7 << 12 | 1 << 31
    .4byte 0x0000707b
    csrsi mstatus, 8
    ecall
    csrci mstatus, 8
    .option rvc
    .2byte 0x0000
    c.ebreak
    .2byte 0x8002
    .2byte 0x9c41
    .option norvc
    # A return to where nothing trapped.
    la t0, 1f
    csrw mepc, t0
    csrsi mstatus, 8
    mret
    nop
1:  csrr t1, mstatus
    # Not a machine that has these modes.
    sret
    .balign 4
    finish
