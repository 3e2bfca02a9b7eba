# Machine-mode CSRs: what each way of writing logs, and what the fields keep.
    .include "golden.inc"
    begin
    .option norvc
    li s11, 0
    li a0, -1
    li a1, 0x00001808
    # The six instructions on a register that keeps everything.
    csrrw a2, mscratch, a0
    csrrs a2, mscratch, x0
    csrrc a2, mscratch, a1
    csrrs a2, mscratch, a1
    csrrwi a2, mscratch, 21
    csrrsi a2, mscratch, 10
    csrrci a2, mscratch, 1
    csrrci a2, mscratch, 0
    csrrsi x0, mscratch, 0
    csrrw x0, mscratch, a1
    csrrwi x0, mscratch, 0
    csrrs x0, mscratch, a0
    csrr x0, mscratch
    # Trap registers.
    csrrw a2, mepc, a0
    csrrw a2, mepc, x0
    csrrw a2, mtval, a0
    csrrw a2, mtval, x0
    csrrwi a2, mcause, 11
    csrrwi a2, mcause, 0
    li a3, 0x80000007
    csrrw a2, mcause, a3
    csrrw a2, mcause, x0
    # Interrupt enables, with interrupts off.
    csrrw a2, mstatus, x0
    csrrw a2, mie, a0
    csrrw a2, mie, x0
    csrrs a2, mie, x0
    # Status.
    li a3, 0x88
    csrrw a2, mstatus, a3
    csrrci a2, mstatus, 8
    csrrc a2, mstatus, a0
    csrrw a2, mstatus, a0
    csrrw a2, mstatus, x0
    csrrw a2, mstatush, a0
    csrrw a2, mstatush, x0
    # Vectors: direct, vectored.
    csrr a4, mtvec
    addi a5, a4, 1
    csrrw a2, mtvec, a5
    csrrw a2, mtvec, a4
    # Counters: held still, then written while they run; an explicit write takes the place of the increment.
    csrrwi a2, mcountinhibit, 5
    csrw minstret, a0
    csrrw a2, minstreth, a1
    csrw mcycle, a0
    csrw mcycleh, a1
    csrrw a2, mcycle, x0
    csrrw a2, mcycleh, x0
    csrr a2, instret
    csrr a2, instreth
    csrr a2, cycle
    csrr a2, cycleh
    csrwi mcountinhibit, 4
    csrwi mcountinhibit, 0
    csrrwi x0, minstret, 17
    csrr a2, minstret
    csrr a2, minstret
    nop
    csrr a2, instret
    csrrs a2, minstret, a1
    csrr a2, minstret
    csrw minstreth, x0
    csrw minstret, a0
    nop
    csrr a2, minstret
    csrr a2, minstreth
    # Identity.
    csrr a2, mvendorid
    csrr a2, mhartid
    csrr a2, mconfigptr
    csrr a2, mimpid
    # None of these: the instruction is illegal and leaves no line.
    csrrw a2, mhartid, a0
    csrrs a2, cycle, a0
    csrrsi a2, mvendorid, 1
    csrr a2, 0x5c0
    csrr a2, 0x7c0
    csrw 0x800, a0
    finish
