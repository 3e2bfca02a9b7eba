# isa: rv32imac_zba_zbb_zbs
# Every instruction of Zifencei: operands at both ends of what they may be, and between.
    .option norvc
    .text
back:
    fence.i
