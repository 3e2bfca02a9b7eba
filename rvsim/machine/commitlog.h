/* One line of the commit log for one retired instruction, exactly as Spike's --log-commits prints it (docs/conformance.md, commit log).
 *
 * No printf: at five million instructions a second a line may cost 200 ns, and the C library's formatting alone takes more.
 */
#ifndef RVSIM_COMMITLOG_H
#define RVSIM_COMMITLOG_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    COMMIT_ACCESSES = 2,   /* an AMO loads and stores */
    COMMIT_CSRS = 8,
    COMMIT_NAME_MAX = 31,  /* longest CSR name, characters */
    /* prefix, pc, word, rd; each access with address and value; each CSR with number, name and value; newline */
    COMMIT_LINE_MAX = 64 + COMMIT_ACCESSES * 32 + COMMIT_CSRS * (COMMIT_NAME_MAX + 24)
};

struct commit_access {
    uint32_t address, value; /* value: of a store; the bits above its size are ignored */
    uint8_t size;            /* bytes: 1, 2, 4 */
    uint8_t store;
};

struct commit_csr {
    const char *name; /* as the manual writes it: "mstatus" */
    uint32_t value;   /* what the CSR holds behind the write */
    uint16_t number;
};

struct commit {
    uint32_t pc, word;
    uint32_t value;         /* of rd */
    uint8_t size;           /* bytes of the instruction: 2 or 4 */
    uint8_t rd;             /* 0: no register was written, or x0 */
    uint8_t accesses, csrs; /* how many of the entries below are used */
    struct commit_access access[COMMIT_ACCESSES]; /* loads before stores */
    struct commit_csr csr[COMMIT_CSRS];           /* by ascending number */
};

/* The eight hexadecimal digits of `value`, first digit in the lowest byte; all four steps work on eight digits at once. */
static inline uint64_t commit_digits(uint32_t value)
{
    uint64_t d = __builtin_bswap32(value);
    d = (d | d << 16) & 0x0000ffff0000ffffu;
    d = (d | d << 8) & 0x00ff00ff00ff00ffu;
    d = (d >> 4 & 0x000f000f000f000fu) | (d & 0x000f000f000f000fu) << 8;
    uint64_t letters = (d + 0x0606060606060606u) >> 4 & 0x0101010101010101u; /* 1 in each byte that is ten or more */
    return d + 0x3030303030303030u + letters * ('a' - '0' - 10);
}

/* "0x" and two digits for each byte. */
static inline char *commit_hex(char *out, uint32_t value, int bytes)
{
    uint64_t digits = commit_digits(value) >> (64 - 16 * bytes);
    memcpy(out, "0x", 2);
    memcpy(out + 2, &digits, 8); /* may write beyond its digits; what follows overwrites that */
    return out + 2 + 2 * bytes;
}

static inline char *commit_decimal(char *out, unsigned value)
{
    char digits[8];
    int n = 0;
    do digits[n++] = (char)('0' + value % 10);
    while (value /= 10);
    while (n) *out++ = digits[--n];
    return out;
}

/* Writes the line with its newline to `out`, which has room for COMMIT_LINE_MAX characters; returns its length. Not terminated by a zero. */
static inline size_t commit_line(char *out, const struct commit *c)
{
    static const char prefix[] = "core   0: 3 "; /* hart 0, machine mode: there is no other */
    char *p = out;
    memcpy(p, prefix, sizeof prefix - 1);
    p = commit_hex(p + sizeof prefix - 1, c->pc, 4);
    memcpy(p, " (", 2);
    p = commit_hex(p + 2, c->word, c->size);
    *p++ = ')';
    if (c->rd) {
        memcpy(p, " x", 2);
        p[2] = (char)('0' + (c->rd < 10 ? c->rd : c->rd / 10));
        p[3] = (char)(c->rd < 10 ? ' ' : '0' + c->rd % 10);
        p[4] = ' ';
        p = commit_hex(p + 5, c->value, 4);
    }
    for (int i = 0; i < c->csrs; i++) {
        size_t length = strlen(c->csr[i].name);
        memcpy(p, " c", 2);
        p = commit_decimal(p + 2, c->csr[i].number);
        *p++ = '_';
        memcpy(p, c->csr[i].name, length);
        p += length;
        *p++ = ' ';
        p = commit_hex(p, c->csr[i].value, 4);
    }
    for (int i = 0; i < c->accesses; i++) {
        memcpy(p, " mem ", 5);
        p = commit_hex(p + 5, c->access[i].address, 4);
        if (c->access[i].store) {
            *p++ = ' ';
            p = commit_hex(p, c->access[i].value, c->access[i].size);
        }
    }
    *p++ = '\n';
    return (size_t)(p - out);
}

#endif
