# Without the C extension an address must be a multiple of four: jumps and taken branches to others trap, the link is not written.
    .include "golden.inc"
    begin
    .option norvc
    li s11, 0
    la a0, 1f + 2
    la s11, 1f
    jalr ra, 0(a0)
1:  la s11, 2f
    .4byte 0x006000ef       # jal ra, . + 6
2:  la s11, 3f
    .4byte 0x00000363       # beq x0, x0, . + 6
3:  la a0, 4f + 1
    jalr ra, 0(a0)
4:  csrw mepc, a0
    csrr a1, mepc
    # Compressed words are illegal.
    la s11, 5f
    .2byte 0x0001, 0x0001
5:  li s11, 0
    .4byte 0x02000033
    finish
