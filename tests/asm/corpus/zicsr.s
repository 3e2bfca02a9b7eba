# isa: rv32imac_zba_zbb_zbs
# Every instruction of Zicsr: operands at both ends of what they may be, and between.
    .option norvc
    .text
back:
    csrrc    ra, mstatus, s1
    csrrc    s0, 0x340, t3
    csrrc    a3, mcycleh, a3
    csrrci   a5, mstatus, 31
    csrrci   s0, 0x340, 1
    csrrci   s0, mcycleh, 7
    csrrs    s1, mstatus, ra
    csrrs    a3, 0x340, s0
    csrrs    a3, mcycleh, x31
    csrrsi   fp, mstatus, 31
    csrrsi   a5, 0x340, 1
    csrrsi   s0, mcycleh, 1
    csrrw    fp, mstatus, a0
    csrrw    ra, 0x340, t3
    csrrw    a5, mcycleh, x31
    csrrwi   a0, mstatus, 31
    csrrwi   a0, 0x340, 1
    csrrwi   ra, mcycleh, 14
