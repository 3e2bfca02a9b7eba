# isa: rv32imc
# Operators, their precedence, characters, symbols and their differences.
    .equ one, 1
    .set two, one + one
    three = two + 1
    .equiv four, 4
    .equ later, forward + 1
    .data
start:
    .word 3 == 1 + 2, 1 + 2 == 3, 1 + 2 | 4, 2 * 3 | 1, 1 || 0 && 0, 1 < 2 == 1, 5 - 3 - 1
    .word 7 ! 2, !5, !0, ~1, -3 / 2, -3 % 2, 7 % 3, 1 << 2 + 1, 1 <> 2, 1 != 1, 3 > 2, 3 >= 3, 2 <= 1
    .word 4 & 6 ^ 2 | 8, - -5, +5, -(2 + 3) * 4, 010, 0b11, 0x1F, 2 << 31 >> 4, 1 < 2, 2 < 1
    .word 'a', '\n', '\\', '\'', 'b + 1, ' ', '#'
    .word one, two, three, four, later
    .word ., . - start, end - start, end + 4 - 2, (end - start) / 4
two = 22
    .word two
two = two + 1
    .word two
1:
    .word 1b, 1f, 1f - 1b
1:
    .word 1b
    .byte end - start, -1, 255
    .half 0xffff, -0x8000
forward:
    .quad 0x123456789abcdef0, -1, start
end:
    .text
    lui a0, %hi(end + 4)
    addi a0, a0, %lo(end + 4)
    lw a1, %lo(start)(a0)
    sw a1, %lo(start + 8)(a0)
2:  auipc a0, %pcrel_hi(end)
    addi a1, a0, %pcrel_lo(2b)
    lw a1, %pcrel_lo(2b)(a0)
    sw a1, %pcrel_lo(2b)(a0)
    addi a0, a0, two - 20
    lw a0, four * 2 + 4(a1)
    lw a0, (four)(a1)
    lw a0, -(four)(a1)
    j . + 8
    nop
    nop
