/* rvsim for riscv-arch-test: how a test ends, where its signature lies, and the software interrupt.
 *
 * The macros' meanings: RISCV Architectural Test Format Specification, "RVMODEL" macros. A test ends by HTIF: 1 in tohost.
 */
#ifndef RVSIM_MODEL_TEST_H
#define RVSIM_MODEL_TEST_H

#define RVMODEL_HALT                 \
    li x1, 1;                        \
    la x2, tohost;                   \
1:  sw x1, 0(x2);                    \
    j 1b;

#define RVMODEL_DATA_BEGIN           \
    .pushsection .tohost, "aw";      \
    .balign 8;                       \
    .globl tohost;                   \
tohost: .dword 0;                    \
    .globl fromhost;                 \
fromhost: .dword 0;                  \
    .popsection;                     \
    .balign 16;                      \
    .globl begin_signature;          \
begin_signature:

#define RVMODEL_DATA_END             \
    .balign 4;                       \
    .globl end_signature;            \
end_signature:

/* Nothing to set up, and no text to print. */
#define RVMODEL_BOOT
#define RVMODEL_IO_INIT
#define RVMODEL_IO_WRITE_STR(register, text)
#define RVMODEL_IO_CHECK()
#define RVMODEL_IO_ASSERT_GPR_EQ(scratch, register, value)
#define RVMODEL_IO_ASSERT_SFPR_EQ(register, scratch, value)
#define RVMODEL_IO_ASSERT_DFPR_EQ(register, scratch, value)

/* msip of hart 0 in the CLINT. */
#define RVMODEL_SET_MSW_INT          \
    li t1, 1;                        \
    li t2, 0x02000000;               \
    sw t1, 0(t2);
#define RVMODEL_CLEAR_MSW_INT        \
    li t2, 0x02000000;               \
    sw x0, 0(t2);
#define RVMODEL_CLEAR_MTIMER_INT
#define RVMODEL_CLEAR_MEXT_INT

#endif
