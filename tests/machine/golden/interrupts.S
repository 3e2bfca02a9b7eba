# The software interrupt of the CLINT, direct and vectored; it is taken behind the instruction that enables it.
    .include "golden.inc"
    .set msip, 0x02000000
    .set mtimecmp, 0x02004000
    begin
    .option norvc
    li s11, 0
    li a0, -1
    # No timer interrupt, ever.
    li s0, mtimecmp
    sw a0, 4(s0)
    sw a0, 0(s0)
    csrw mstatus, x0
    csrr a2, mip
    csrrw a2, mip, a0
    csrrw a2, mip, x0
    li s1, msip
    li a1, 1
    sw a1, 0(s1)
    lw a2, 0(s1)
    csrr a2, mip
    csrrw a2, mip, x0
    sw x0, 0(s1)
    csrr a2, mip
    # Enabled in mie, then in mstatus; direct.
    la t0, direct
    csrw mtvec, t0
    sw a1, 0(s1)
    csrsi mie, 8
    csrsi mstatus, 8
    nop
    csrci mstatus, 8
    # In mstatus, then in mie; vectored.
    la t0, table + 1
    csrw mtvec, t0
    csrw mie, x0
    sw a1, 0(s1)
    csrsi mstatus, 8
    csrsi mie, 8
    nop
    csrw mie, x0
    # An mret enables it.
    sw a1, 0(s1)
    csrci mstatus, 8
    csrsi mie, 8
    li t0, 0x80
    csrs mstatus, t0
    la t0, 1f
    csrw mepc, t0
    mret
    nop
1:  nop
    # An exception goes to the table's base.
    la t0, table + 1
    csrw mtvec, t0
    csrw mie, x0
    ecall
    finish

    .balign 64
table:
    j exception
    .4byte 0, 0
    j direct
exception:
    csrr t3, mcause
    csrr t4, mepc
    addi t4, t4, 4
    csrw mepc, t4
    mret
    .balign 4
direct:
    csrr t3, mcause
    csrr t4, mepc
    csrr t5, mtval
    csrr t6, mip
    sw x0, 0(s1)
    csrr t6, mip
    mret
