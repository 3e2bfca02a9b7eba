/* Bytes of x86-64: the few instructions that compiled code is made of.
 *
 * Operands are registers, `struct place` (a register, a field of struct hart, a literal), or data beside the code. Sources: Intel 64 and
 * IA-32 Architectures Software Developer's Manual, volume 2, chapter 2 (formats) and the pages of the instructions.
 */
#ifndef RVSIM_JIT_ENCODE_H
#define RVSIM_JIT_ENCODE_H
enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

struct out {
    uint8_t *p;
    struct jit *j;
    const uint8_t *flags_at; /* here the zero flag says whether this register is 0 */
    int flags_of;
};
struct place { int kind; uint32_t v; }; /* where a value is */
enum { IN_REGISTER, IN_MEMORY, LITERAL }; /* memory: offset from rdi */
enum { CC_B = 2, CC_AE, CC_E, CC_NE, CC_BE, CC_A, CC_L = 12, CC_GE, CC_LE, CC_G };

static void put8(struct out *o, int v) { *o->p++ = (uint8_t)v; }
static void put32(struct out *o, uint32_t v) { memcpy(o->p, &v, 4); o->p += 4; }
static void put64(struct out *o, uint64_t v) { memcpy(o->p, &v, 8); o->p += 8; }

/* REX and opcode (up to 0x0fXX); wide: 64-bit operands; byte: the registers 4 to 7 are spl to dil. */
static void opcode(struct out *o, int code, int reg, int index, int base, int wide, int byte)
{
    int rex = wide << 3 | reg >> 3 << 2 | index >> 3 << 1 | base >> 3;
    if (rex || byte) put8(o, 0x40 | rex);
    if (code > 0xff) put8(o, code >> 8);
    put8(o, code);
}
static void rr(struct out *o, int code, int reg, int rm, int wide)
{
    opcode(o, code, reg, 0, rm, wide, 0);
    put8(o, 0xc0 | (reg & 7) << 3 | (rm & 7));
}
static void rm(struct out *o, int code, int reg, int base, int32_t offset, int wide)
{
    opcode(o, code, reg, 0, base, wide, 0);
    int small = offset == (int8_t)offset;
    put8(o, (small ? 0x40 : 0x80) | (reg & 7) << 3 | (base & 7));
    if ((base & 7) == RSP) put8(o, 0x24);
    if (small) put8(o, offset); else put32(o, (uint32_t)offset);
}
/* [base + index << scale + offset] */
static void rx(struct out *o, int code, int reg, int base, int index, int scale, int32_t offset, int wide, int byte)
{
    int small = offset == (int8_t)offset;
    opcode(o, code, reg, index, base, wide, byte);
    put8(o, (small ? 0x40 : 0x80) | (reg & 7) << 3 | RSP);
    put8(o, scale << 6 | (index & 7) << 3 | (base & 7));
    if (small) put8(o, offset); else put32(o, (uint32_t)offset);
}
/* Register and any place. */
static void rp(struct out *o, int code, int reg, struct place b, int wide)
{
    if (b.kind == IN_REGISTER) rr(o, code, reg, (int)b.v, wide);
    else rm(o, code, reg, RDI, (int32_t)b.v, wide);
}
static void load_constant(struct out *o, int reg, uint64_t v)
{
    if (v <= 0xffffffffu) {
        if (reg >> 3) put8(o, 0x41);
        put8(o, 0xb8 | (reg & 7));
        put32(o, (uint32_t)v);
    } else {
        put8(o, 0x48 | reg >> 3);
        put8(o, 0xb8 | (reg & 7));
        put64(o, v);
    }
}
static void move(struct out *o, int reg, struct place b)
{
    if (b.kind == LITERAL) load_constant(o, reg, b.v);
    else if (b.kind == IN_MEMORY) rm(o, 0x8b, reg, RDI, (int32_t)b.v, 0);
    else if ((int)b.v != reg) rr(o, 0x8b, reg, (int)b.v, 0);
}
static void move_to(struct out *o, struct place d, int reg)
{
    if (d.kind == IN_MEMORY) rm(o, 0x89, reg, RDI, (int32_t)d.v, 0);
    else if ((int)d.v != reg) rr(o, 0x8b, (int)d.v, reg, 0);
}
static void zero_flag_is_of(struct out *o, int reg) { o->flags_at = o->p; o->flags_of = reg; }
/* add 0, or 1, and 4, sub 5, xor 6, cmp 7 */
static void arithmetic(struct out *o, int n, int reg, struct place b)
{
    if (b.kind != LITERAL) rp(o, n << 3 | 3, reg, b, 0);
    else {
        int small = (int32_t)b.v == (int8_t)b.v;
        rr(o, small ? 0x83 : 0x81, n, reg, 0);
        if (small) put8(o, (int)b.v); else put32(o, b.v);
    }
    if (n != 7) zero_flag_is_of(o, reg);
}
static void jump_to(struct out *o, const uint8_t *to) { put8(o, 0xe9); put32(o, (uint32_t)(to - (o->p + 4))); }
static void call_to(struct out *o, const uint8_t *to) { put8(o, 0xe8); put32(o, (uint32_t)(to - (o->p + 4))); }
/* A conditional jump forwards, 32 bits; returns where its distance is. */
static uint8_t *jump_if(struct out *o, int cc) { put8(o, 0x0f); put8(o, 0x80 | cc); put32(o, 0); return o->p - 4; }
static void land(struct out *o, uint8_t *distance)
{
    uint32_t d = (uint32_t)(o->p - (distance + 4));
    memcpy(distance, &d, 4);
}

/* Data beside the code, relative to rip; nothing follows the distance. */
static void data(struct out *o, int code, int reg, const void *at, int wide)
{
    opcode(o, code, reg, 0, 0, wide, 0);
    put8(o, 5 | (reg & 7) << 3);
    put32(o, (uint32_t)((const uint8_t *)at - (o->p + 4)));
}
static void count_up(struct out *o, const uint64_t *counter) { data(o, 0xff, 0, counter, 1); }
#endif
