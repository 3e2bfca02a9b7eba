/* CORE-V's XCV instructions for C and assembly, by .insn: with any assembler, whether it knows them or not (docs/xcv.md).
 *
 * Intrinsics have the instruction's name with _ for the dot, and the operands of the user manual; one that adds to rd or keeps parts of it
 * takes the old value first. Bytes and half-words of a word count from its low end. Post-increment accesses are macros that move the pointer
 * themselves; hardware loops are macros for assembly text, since a compiler knows nothing of them.
 *
 *     acc = cv_sdotsp_b(acc, weights, inputs);
 *     w = CV_LW_POST(pointer, 4);
 */
#ifndef RVSIM_XCV_H
#define RVSIM_XCV_H

#ifndef __ASSEMBLER__
#include <stdint.h>

/* The capability word of a hart with these instructions (CSR 0xFC0): bits 31:24 are 3, and bit n is set if the n-th of these is there. */
enum { RVSIM_XCV_FAMILY = 3 };
enum { RVSIM_XCV_MEM = 1, RVSIM_XCV_MAC = 2, RVSIM_XCV_ALU = 4, RVSIM_XCV_BITMANIP = 8, RVSIM_XCV_BI = 16, RVSIM_XCV_SIMD = 32, RVSIM_XCV_HWLP = 64 };

/* rd = f(rs1, rs2), f(rd, rs1, rs2), f(rs1), f(rd, rs1); opcode, funct3 and funct7 are strings. */
#define CV_2(name, opcode, funct3, funct7)                                                                                \
  static inline uint32_t name(uint32_t rs1, uint32_t rs2) {                                                               \
    uint32_t rd;                                                                                                          \
    __asm__(".insn r " opcode ", " funct3 ", " funct7 ", %0, %1, %2" : "=r"(rd) : "r"(rs1), "r"(rs2));                    \
    return rd;                                                                                                            \
  }
#define CV_3(name, opcode, funct3, funct7)                                                                                \
  static inline uint32_t name(uint32_t rd, uint32_t rs1, uint32_t rs2) {                                                  \
    __asm__(".insn r " opcode ", " funct3 ", " funct7 ", %0, %1, %2" : "+r"(rd) : "r"(rs1), "r"(rs2));                    \
    return rd;                                                                                                            \
  }
#define CV_1(name, opcode, funct3, funct7)                                                                                \
  static inline uint32_t name(uint32_t rs1) {                                                                             \
    uint32_t rd;                                                                                                          \
    __asm__(".insn r " opcode ", " funct3 ", " funct7 ", %0, %1, x0" : "=r"(rd) : "r"(rs1));                              \
    return rd;                                                                                                            \
  }
/* SIMD: bytes, half-words, and with the lowest element of rs2 for all; funct5 is bits 31:27, `f` bit 26. */
#define CV_SIMD(shape, name, funct5, f)                                                                                   \
  shape(name##_h, "0x7b", "0", "((" #funct5 ") << 2 | (" #f ") << 1)")                                                    \
  shape(name##_b, "0x7b", "1", "((" #funct5 ") << 2 | (" #f ") << 1)")                                                    \
  shape(name##_sc_h, "0x7b", "4", "((" #funct5 ") << 2 | (" #f ") << 1)")                                                 \
  shape(name##_sc_b, "0x7b", "5", "((" #funct5 ") << 2 | (" #f ") << 1)")

/* Dot products: u of unsigned, s of signed elements, us of unsigned ones of rs1 and signed ones of rs2; sdot adds to rd. */
CV_SIMD(CV_2, cv_dotup, 16, 0)
CV_SIMD(CV_2, cv_dotusp, 17, 0)
CV_SIMD(CV_2, cv_dotsp, 18, 0)
CV_SIMD(CV_3, cv_sdotup, 19, 0)
CV_SIMD(CV_3, cv_sdotusp, 20, 0)
CV_SIMD(CV_3, cv_sdotsp, 21, 0)

CV_SIMD(CV_2, cv_add, 0, 0)
CV_SIMD(CV_2, cv_sub, 1, 0)
CV_SIMD(CV_2, cv_avg, 2, 0)
CV_SIMD(CV_2, cv_avgu, 3, 0)
CV_SIMD(CV_2, cv_min, 4, 0)
CV_SIMD(CV_2, cv_minu, 5, 0)
CV_SIMD(CV_2, cv_max, 6, 0)
CV_SIMD(CV_2, cv_maxu, 7, 0)
CV_SIMD(CV_2, cv_srl, 8, 0)
CV_SIMD(CV_2, cv_sra, 9, 0)
CV_SIMD(CV_2, cv_sll, 10, 0)
CV_SIMD(CV_2, cv_or, 11, 0)
CV_SIMD(CV_2, cv_xor, 12, 0)
CV_SIMD(CV_2, cv_and, 13, 0)
CV_1(cv_abs_h, "0x7b", "0", "0x38")
CV_1(cv_abs_b, "0x7b", "1", "0x38")
CV_SIMD(CV_2, cv_cmpeq, 0, 1)
CV_SIMD(CV_2, cv_cmpne, 1, 1)
CV_SIMD(CV_2, cv_cmpgt, 2, 1)
CV_SIMD(CV_2, cv_cmpge, 3, 1)
CV_SIMD(CV_2, cv_cmplt, 4, 1)
CV_SIMD(CV_2, cv_cmple, 5, 1)
CV_SIMD(CV_2, cv_cmpgtu, 6, 1)
CV_SIMD(CV_2, cv_cmpgeu, 7, 1)
CV_SIMD(CV_2, cv_cmpltu, 8, 1)
CV_SIMD(CV_2, cv_cmpleu, 9, 1)

/* Elements by those of rs2: of rs1, or with 2 of rs1 (the bit above the number set) and rd; two words' elements into one. */
CV_2(cv_shuffle_h, "0x7b", "0", "0x60")
CV_2(cv_shuffle_b, "0x7b", "1", "0x60")
CV_3(cv_shuffle2_h, "0x7b", "0", "0x70")
CV_3(cv_shuffle2_b, "0x7b", "1", "0x70")
CV_2(cv_pack, "0x7b", "0", "0x78")   /* low half-words: rs1's above */
CV_2(cv_pack_h, "0x7b", "0", "0x79") /* high half-words */
CV_3(cv_packhi_b, "0x7b", "1", "0x7d")
CV_3(cv_packlo_b, "0x7b", "1", "0x7c")

/* One element; `n` is a constant. */
#define CV_PICK(name, funct3, n)                                                                                          \
  ({                                                                                                                      \
    uint32_t cv_rd;                                                                                                       \
    __asm__(".insn r 0x7b, " funct3 ", 0x5c | (%2 & 1), %0, %1, x%3" : "=r"(cv_rd) : "r"((uint32_t)(name)), "i"(n), "i"((n) >> 1)); \
    cv_rd;                                                                                                                \
  })
#define cv_extract_h(x, n) ((int32_t)CV_PICK(x, "0", n))
#define cv_extract_b(x, n) ((int32_t)CV_PICK(x, "1", n))
#define cv_extractu_h(x, n) CV_PICK(x, "2", n)
#define cv_extractu_b(x, n) CV_PICK(x, "3", n)
#define CV_REPLACE(into, x, funct3, n)                                                                                    \
  ({                                                                                                                      \
    uint32_t cv_rd = (into);                                                                                              \
    __asm__(".insn r 0x7b, " funct3 ", 0x5c | (%2 & 1), %0, %1, x%3" : "+r"(cv_rd) : "r"((uint32_t)(x)), "i"(n), "i"((n) >> 1)); \
    cv_rd;                                                                                                                \
  })
#define cv_insert_h(into, x, n) CV_REPLACE(into, x, "4", n)
#define cv_insert_b(into, x, n) CV_REPLACE(into, x, "5", n)

/* 32 bits. */
CV_3(cv_mac, "0x2b", "3", "0x48")
CV_3(cv_msu, "0x2b", "3", "0x49")
CV_1(cv_abs, "0x2b", "3", "0x28")
CV_2(cv_min, "0x2b", "3", "0x2b")
CV_2(cv_minu, "0x2b", "3", "0x2c")
CV_2(cv_max, "0x2b", "3", "0x2d")
CV_2(cv_maxu, "0x2b", "3", "0x2e")
CV_1(cv_exths, "0x2b", "3", "0x30")
CV_1(cv_exthz, "0x2b", "3", "0x31")
CV_1(cv_extbs, "0x2b", "3", "0x32")
CV_1(cv_extbz, "0x2b", "3", "0x33")
CV_2(cv_clipr, "0x2b", "3", "0x3a")  /* to -(rs2 + 1) .. rs2 */
CV_2(cv_clipur, "0x2b", "3", "0x3b") /* to 0 .. rs2 */
CV_3(cv_addrnr, "0x2b", "3", "0x42") /* (rd + rs1 + 2^(rs2 - 1)) >> rs2, signed, the shift 0 to 31 */
#define CV_CLIP_(x, funct7, bits)                                                                                         \
  ({                                                                                                                      \
    uint32_t cv_rd;                                                                                                       \
    __asm__(".insn r 0x2b, 3, " funct7 ", %0, %1, x%2" : "=r"(cv_rd) : "r"((uint32_t)(x)), "i"(bits));                    \
    (int32_t)cv_rd;                                                                                                       \
  })
#define cv_clip(x, bits) CV_CLIP_(x, "0x38", bits)   /* to a signed number of so many bits: 8 is -128 .. 127 */
#define cv_clipu(x, bits) CV_CLIP_(x, "0x39", bits)  /* the same, and not below 0 */

/* Loads and stores that move their pointer, by a constant or by a register: *pointer, then pointer = (char *)pointer + step. */
#define CV_LOAD_POST(type, pointer, funct3, step)                                                                         \
  ({                                                                                                                      \
    uint32_t cv_rd;                                                                                                       \
    __asm__ volatile(".insn i 0x0b, " funct3 ", %0, %1, %2" : "=&r"(cv_rd), "+r"(pointer) : "i"(step) : "memory");        \
    (type)cv_rd;                                                                                                          \
  })
#define CV_LB_POST(pointer, step) CV_LOAD_POST(int32_t, pointer, "0", step)
#define CV_LH_POST(pointer, step) CV_LOAD_POST(int32_t, pointer, "1", step)
#define CV_LW_POST(pointer, step) CV_LOAD_POST(uint32_t, pointer, "2", step)
#define CV_LBU_POST(pointer, step) CV_LOAD_POST(uint32_t, pointer, "4", step)
#define CV_LHU_POST(pointer, step) CV_LOAD_POST(uint32_t, pointer, "5", step)
#define CV_LOAD_POST_R(type, pointer, funct7, step)                                                                       \
  ({                                                                                                                      \
    uint32_t cv_rd;                                                                                                       \
    __asm__ volatile(".insn r 0x2b, 3, " funct7 ", %0, %1, %2" : "=&r"(cv_rd), "+r"(pointer) : "r"(step) : "memory");     \
    (type)cv_rd;                                                                                                          \
  })
#define CV_LB_POST_R(pointer, step) CV_LOAD_POST_R(int32_t, pointer, "0x00", step)
#define CV_LH_POST_R(pointer, step) CV_LOAD_POST_R(int32_t, pointer, "0x01", step)
#define CV_LW_POST_R(pointer, step) CV_LOAD_POST_R(uint32_t, pointer, "0x02", step)
#define CV_LBU_POST_R(pointer, step) CV_LOAD_POST_R(uint32_t, pointer, "0x08", step)
#define CV_LHU_POST_R(pointer, step) CV_LOAD_POST_R(uint32_t, pointer, "0x09", step)
#define CV_STORE_POST(value, pointer, funct3, step)                                                                       \
  __asm__ volatile(".insn s 0x2b, " funct3 ", %1, %2(%0)" : "+r"(pointer) : "r"((uint32_t)(value)), "i"(step) : "memory")
#define CV_SB_POST(value, pointer, step) CV_STORE_POST(value, pointer, "0", step)
#define CV_SH_POST(value, pointer, step) CV_STORE_POST(value, pointer, "1", step)
#define CV_SW_POST(value, pointer, step) CV_STORE_POST(value, pointer, "2", step)

/* Loads from the sum of two registers. */
#define CV_LOAD_SUM(type, base, offset, funct7)                                                                           \
  ({                                                                                                                      \
    uint32_t cv_rd;                                                                                                       \
    __asm__ volatile(".insn r 0x2b, 3, " funct7 ", %0, %1, %2" : "=r"(cv_rd) : "r"(base), "r"(offset) : "memory");        \
    (type)cv_rd;                                                                                                          \
  })
#define CV_LB_SUM(base, offset) CV_LOAD_SUM(int32_t, base, offset, "0x04")
#define CV_LH_SUM(base, offset) CV_LOAD_SUM(int32_t, base, offset, "0x05")
#define CV_LW_SUM(base, offset) CV_LOAD_SUM(uint32_t, base, offset, "0x06")
#define CV_LBU_SUM(base, offset) CV_LOAD_SUM(uint32_t, base, offset, "0x0c")
#define CV_LHU_SUM(base, offset) CV_LOAD_SUM(uint32_t, base, offset, "0x0d")

/* Text of an instruction within __asm__. */
#define CV_ASM(...) #__VA_ARGS__ "\n"
#else
#define CV_ASM(...) __VA_ARGS__
#endif /* __ASSEMBLER__ */

/* Hardware loops, as text within __asm__ or as lines of a .S file; _0 is the inner loop, _1 the outer one. `end` is how many instructions from this one on
 * the body ends: of a body behind the setup, its instructions and 1. Bodies are of 32-bit instructions only (.option norvc), begin and end at
 * multiples of 4 (.balign 4, before the option: GNU as aligns nothing behind it), hold no jumps, and by the manual three instructions or more.
 *
 *     __asm__ volatile(".balign 4\n .option push\n .option norvc\n"
 *                      CV_SETUP_0(%[n], 4)             // n times:
 *                      CV_ASM(.insn i 0x0b, 2, %[w], %[p], 4)
 *                      CV_ASM(.insn i 0x0b, 2, %[x], %[q], 4)
 *                      CV_ASM(.insn r 0x7b, 1, 0x54, %[sum], %[w], %[x])
 *                      ".option pop" : ...);
 */
#define CV_STARTI_0(words) CV_ASM(.insn i 0x2b, 4, x0, x0, words)
#define CV_STARTI_1(words) CV_ASM(.insn i 0x2b, 4, x1, x0, words)
#define CV_START_0(reg) CV_ASM(.insn i 0x2b, 4, x2, reg, 0)
#define CV_START_1(reg) CV_ASM(.insn i 0x2b, 4, x3, reg, 0)
#define CV_ENDI_0(words) CV_ASM(.insn i 0x2b, 4, x4, x0, words)
#define CV_ENDI_1(words) CV_ASM(.insn i 0x2b, 4, x5, x0, words)
#define CV_END_0(reg) CV_ASM(.insn i 0x2b, 4, x6, reg, 0)
#define CV_END_1(reg) CV_ASM(.insn i 0x2b, 4, x7, reg, 0)
#define CV_COUNTI_0(n) CV_ASM(.insn i 0x2b, 4, x8, x0, n)
#define CV_COUNTI_1(n) CV_ASM(.insn i 0x2b, 4, x9, x0, n)
#define CV_COUNT_0(reg) CV_ASM(.insn i 0x2b, 4, x10, reg, 0)
#define CV_COUNT_1(reg) CV_ASM(.insn i 0x2b, 4, x11, reg, 0)
#define CV_SETUPI_0(n, end) CV_ASM(.insn i 0x2b, 4, x12, x##end, n)
#define CV_SETUPI_1(n, end) CV_ASM(.insn i 0x2b, 4, x13, x##end, n)
#define CV_SETUP_0(reg, end) CV_ASM(.insn i 0x2b, 4, x14, reg, end)
#define CV_SETUP_1(reg, end) CV_ASM(.insn i 0x2b, 4, x15, reg, end)
#endif
