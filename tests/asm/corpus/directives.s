# isa: rv32imc
# Sections, data, symbols and alignment.
    .file "directives.c"
    .ident "nobody"
    .attribute stack_align, 16
    .attribute unaligned_access, 0
    .option nopic
    .option relax
    .section .text
    .globl main
    .global main
    .type main, @function
    .local hidden
    .weak weakling
main:
    .cfi_startproc
    .cfi_def_cfa_offset 16
    nop
    .align 3
    ret
    .p2align 2
    nop
    .balign 8
    nop
    .cfi_endproc
    .size main, . - main
hidden:
    j main
    .byte 0, 0, 0, 0
weakling:
    nop

    .data
begin:
    .byte 1, 2, 0xff, -1
    .half 1, -1
    .2byte 0x1234
    .short 5
    .hword 6
    .word 1, -1, 0xdeadbeef
    .4byte 1
    .long 2
    .int 3
    .dword 1
    .8byte 2
    .quad 3
    .float 1.5, -2e10, 0.1, 1e-40
    .single 2.5
    .double 3.14159, -0.0
    .ascii "abc", "def\n\t\"\\\101\x41"
    .asciz "x", "yz"
    .string "hello"
    .uleb128 624485
    .sleb128 -123456
    .uleb128 127
    .sleb128 64
    .zero 5
    .space 3
    .space 3, 0xaa
    .skip 2, 1
    .fill 3
    .fill 3, 2, 0x1234
    .fill 2, 8, 0x11223344
    .balign 16, 0x11
    .byte 1
    .p2align 3
    .byte 1
    .p2align 4, , 2
    .byte 1
    .p2align 4, 0x33, 20
    .align 2, 0x22
    .byte 1
    .org begin + 300, 0x5a
mark:
    .type object, %object
object:
    .word main, buffer, shared, object
    .size object, 16

    .bss
buffer:
    .zero 100
    .space 28
    .lcomm small, 10
    .lcomm medium, 64
    .comm shared, 64, 8

    .section .rodata
    .word small, medium
    .string "constant"
    .section .rodata.str1.4, "aMS", @progbits, 1
    .asciz "merged"
    .pushsection .data
    .byte 0x77
    .previous
    .byte 0x66
    .previous
    .popsection
    .byte 0x55
    .section .mine, "aw", @progbits
    .word 1
    .section .note, "", @progbits
    .word 2
    .text
    .insn r 0x33, 0, 0, a0, a1, a2
    .insn r CUSTOM_0, 1, 2, a0, a1, a2
    .insn r MADD, 0, 0, a0, a1, a2, a3
    .insn r4 MADD, 0, 0, a0, a1, a2, a3
    .insn i OP_IMM, 0, a0, a1, -5
    .insn i LOAD, 2, a0, 4(a1)
    .insn s STORE, 2, a0, 4(a1)
    .insn sb BRANCH, 0, a0, a1, main
    .insn b BRANCH, 1, a0, a1, main
    .insn u LUI, a0, 5
    .insn uj JAL, a0, main
    .insn j JAL, zero, main
    .insn cr 2, 8, a0, a1
    .insn ci 1, 2, a0, -5
    .insn ciw 0, 0, a0, 5
    .insn css 2, 6, a0, 5
    .insn cl 0, 2, a0, 4(a1)
    .insn cs 0, 6, a0, 4(a1)
    .insn ca 1, 0x23, 0, a0, a1
    .insn cb 1, 6, a0, main
    .insn cj 1, 5, main
    .insn 0x00000013
    .insn 4, 0x00100013
    .insn 2, 0x0001
    .end
    this is never read
