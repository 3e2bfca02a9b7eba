# isa: rv32imc
# Macros, repetitions and conditions.
    .macro push3 a, b=7, c:req
    .byte \a, \b, \c, \@
label\@:
    .word label\@
    .endm
    .macro count first, rest:vararg
    .byte \first
    .ifnb \rest
    count \rest
    .endif
    .endm
    .macro load reg, value
    .if \value == 0
    mv \reg, zero
    .exitm
    .endif
    li \reg, \value
    .endm
    .macro outer x
    .macro inner_\x y
    .byte \x, \y
    .endm
    inner_\x 9
    .endm
    .macro glue name, width
    .globl \name\()_\width
\name\()_\width: .byte 1
    .endm
    .macro text string
    .ascii "<\string>"
    .endm
    .macro none
    .byte 0x99
    .endm
    .data
    push3 1, , 3
    push3 c=9, a=2
    push3 1 2 3
    push3 (1 + 2), 4 + 5, 'x'
    count 1, 2, 3, 4
    outer 5
    glue field, 16
    text "hello, world"
    text plain
    none
    .purgem none
    .macro none
    .byte 0x98
    .endm
    none
    .set value, 1
    .rept 3
    .byte value
    .set value, value * 2
    .rept 2
    .byte 0xee
    .endr
    .endr
    .irp r, 1, 2, 3
    .half \r
    .endr
    .irpc c, 123
    .half \c
    .endr
    .rept 0
    .byte 1
    .endr
    .if value == 8
    .byte 1
    .elseif value == 6
    .byte 2
    .else
    .byte 3
    .endif
    .if 0
    .if 1
    .byte 4
    .else
    .byte 5
    .endif
    nonsense that is skipped
    .elseif 1
    .byte 6
    .else
    .byte 7
    .endif
    .ifdef value
    .byte 8
    .endif
    .ifndef nothing
    .byte 9
    .endif
    .ifnotdef value
    .byte 10
    .endif
    .ifc a b, a b
    .byte 11
    .endif
    .ifnc a, b
    .byte 12
    .endif
    .ifeqs "a", "a"
    .byte 13
    .endif
    .ifnes "a", "b"
    .byte 14
    .endif
    .ifb
    .byte 15
    .endif
    .ifeq value - 8
    .byte 16
    .endif
    .ifne value
    .byte 17
    .endif
    .ifge value
    .byte 18
    .endif
    .ifgt value
    .byte 19
    .endif
    .ifle value
    .byte 20
    .endif
    .iflt -value
    .byte 21
    .endif
    .warning "this is only a warning"
    .text
    load a0, 0
    load a1, 5
1:  nop; nop; j 1b  # three statements
    /* a comment
       of two lines */ nop
    nop /* inside */
