# isa: rv32imc
# Alignment without a linker: the short no-operation comes first.
    .option norelax
    .text
    nop
    .balign 16
    nop
    .byte 1
    .align 4
    lui a0, 5
    .p2align 4, , 6
    ret
    .p2align 2
    call function
function:
    ret
