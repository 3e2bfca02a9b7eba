# isa: rv32imac_zba_zbb_zbs
# Every pseudo-instruction, compressed where GNU as compresses.
    .macro all
    nop
    mv a0, a1
    mv a0, zero
    mv zero, a0
    move t0, s1
    not a0, a1
    neg a0, a1
    seqz a0, a1
    snez a0, a1
    sltz a0, a1
    sgtz a0, a1
    sgt a0, a1, a2
    sgtu a0, a1, a2
    add a0, a1, 5
    add a0, a0, 5
    add a0, a1, 0
    add a0, zero, 5
    and a0, a0, 5
    or a0, a1, 5
    xor a0, a1, -1
    slt a0, a1, 5
    sltu a0, a1, 5
    sll a0, a0, 5
    srl a0, a0, 5
    sra a0, a1, 5
    zext.b a0, a1
    zext.h a0, a1
    sext.b a0, a1
    sext.h a0, a0
    li a0, 0
    li a0, -32
    li a0, 2047
    li a0, 2048
    li a0, -2049
    li a0, 0x12345678
    li a0, 0xffffffff
    li a0, -0x80000000
    li a0, 0xfffff000
    li a0, 'x'
    li zero, 4096
    la a0, word
    lla a1, word + 4
    beqz a0, 1f
    bnez s1, 1f
    beqz t0, 1f
    blez a0, 1f
    bgez a0, 1f
    bltz a0, 1f
    bgtz a0, 1f
    bgt a0, a1, 1f
    ble a0, a1, 1f
    bgtu a0, a1, 1f
    bleu a0, a1, 1f
1:  j 1b
    jal 1b
    jal t0, 1b
    jr a0
    jr 4(a0)
    jr a0, 8
    jalr a0
    jalr 4(a0)
    jalr a0, 8
    jalr t0, a0
    jalr t0, a0, 8
    jalr t0, (a0)
    ret
    call function
    call t0, function
    tail function
    jump function, t2
    lb a0, word
    lbu a0, word
    lh a0, word
    lhu a0, word
    lw a0, word + 4
    sb a0, word, t0
    sh a0, word, t0
    sw a0, word + 4, t0
    csrr a0, mstatus
    csrw mepc, a0
    csrw mepc, 5
    csrs mie, a0
    csrs mie, 5
    csrc mie, a0
    csrc mie, 5
    csrwi mscratch, 1
    csrsi mstatus, 8
    csrci mstatus, 8
    csrrw a0, mscratch, 5
    csrrs a0, mscratch, 5
    csrrc a0, mscratch, 5
    rdcycle a0
    rdcycleh a0
    rdtime a0
    rdtimeh a0
    rdinstret a0
    rdinstreth a0
    fence
    fence r, w
    fence.tso
    unimp
    scall
    sbreak
    .endm

    .text
    all
    ror a0, a1, 5
    bclr a0, a1, 5
    bext a0, a1, 5
    binv a0, a1, 5
    bset a0, a1, 5
    c.nop 3
    .option norvc
    all
function:
    ret
    .option arch, -zbb, -c
    sext.b a0, a1
    sext.h a0, a1
    zext.h a0, a1
    .data
word:
    .word 1, 2
