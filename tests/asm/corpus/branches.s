# isa: rv32imc
# Branches and jumps that grow, and to other sections. Distances keep away from the very edge of a form's range, where
# GNU as may keep a longer form than needed.
    .text
    .weak maybe
    .globl _start
_start:
    beqz a0, near
    beq a0, a1, near
    j near
    c.j near
    c.jal near
    c.beqz a0, near
    .zero 200
near:
    nop
    bnez a0, _start
    bltu a0, a1, _start
    .zero 300
    beqz a0, _start
    bge a0, a1, _start
    beqz a0, far
    beqz t0, far
    blt a0, a1, far
    j middle
    c.bnez a0, middle
    .zero 1600
middle:
    nop
    .zero 4400
far:
    beqz a0, _start
    c.beqz a1, _start
    bgeu a0, a1, _start
    beqz t0, _start
    j _start
    c.j _start
    j other
    beqz a0, other
    bne a0, a1, other
    beqz a0, maybe
    j maybe
maybe:
    ret
    .section .text.other, "ax", @progbits
other:
    j _start
    bnez a0, far
