/* Loads and stores of compiled code: two windows each, and the call that serves what is in neither.
 *
 * The first window is the instruction's own (struct insn), constants of the code that stay while the code does. Its accesses need no
 * counter: they are the executions that nobody else counts. The second, in struct site, moves with each access that is in neither.
 */
#ifndef RVSIM_JIT_ACCESS_H
#define RVSIM_JIT_ACCESS_H
#include "jit_counts.h"
#include "jit_template.h"

struct miss { /* an access as its code out of line needs it */
    uint8_t *from, *back;
    uint8_t *cached, *known; /* with a data cache: the jump to its slow path, and where that goes on */
    int base;                /* of the address in that path, or RAX: the distance from the window, which is to stay */
    uint32_t offset;
    struct site *site;
    struct place to; /* of a load its destination, of a store its value */
    int code;
};

static int log2_size(int code) { return code == T_LOAD8U || code == T_LOAD8S || code == T_STORE8 ? 0 : code == T_LOAD32 || code == T_STORE32 ? 2 : 1; }

/* Read or write [base + index << scale + offset]; edx holds a store's value that is in no register. */
static void transfer(struct out *o, int code, struct place to, int base, int index, int scale, int32_t offset)
{
    static const int loads[] = {0x0fb6, 0x0fbe, 0x0fb7, 0x0fbf, 0x8b};
    int size = log2_size(code), reg = code >= T_STORE8 ? RDX : RCX;
    if (to.kind == IN_REGISTER) reg = (int)to.v;
    if (code < T_STORE8) {
        rx(o, loads[code - T_LOAD8U], reg, base, index, scale, offset, 0, 0);
        move_to(o, to, reg);
    } else {
        if (size == 1) put8(o, 0x66);
        rx(o, size ? 0x89 : 0x88, reg, base, index, scale, offset, 0, size == 0);
    }
}

/* With a data cache: leave for its slow path unless the line at base + offset is in its table (cache.h); rcx is lost, and rax unless kept. */
static uint8_t *check_cache(struct out *o, const struct site *site, int base, uint32_t offset, int store, int keep)
{
    const struct cache *c = o->j->hart->dcache;
    if (keep) put8(o, 0x50); /* push rax */
    if (base != RCX || offset) rm(o, 0x8d, RCX, base, (int32_t)offset, 0);
    rr(o, 0xc1, 5, RCX, 0);
    put8(o, (int)c->line_shift);
    rr(o, 0x8b, RAX, RCX, 0);
    rr(o, 0x81, 4, RAX, 0);
    put32(o, RECENT - 1);
    rx(o, 0x3b, RCX, RDI, RAX, 2, H(data_lines.lines) + 4 * RECENT * store, 0, 0);
    uint8_t *elsewhere = jump_if(o, CC_NE);
    if (c->timed) {
        data(o, 0x8b, RCX, &site->when, 1);
        rr(o, 0x03, RCX, R15, 1);
        if (!cache_shifts(c)) rm(o, 0x2b, RCX, RDI, H(granted), 1);
        rx(o, 0x89, RCX, RDI, RAX, 3, H(data_lines.used), 1, 0);
    }
    if (keep) put8(o, 0x58); /* pop rax */
    return elsewhere;
}

static int has_window(const struct site *site) { return site->member->block->meta[site->index].interval >= 0; }

/* The access at a + offset, as long as it is in the first window; eax becomes the distance from there, in units. */
static void access_memory(struct out *o, int code, struct site *site, struct place to, struct place a, uint32_t offset, struct miss *miss)
{
    struct insn *in = site->in;
    int scale = log2_size(code), base;
    *miss = (struct miss){.site = site, .to = to, .code = code};
    if (a.kind != IN_REGISTER || a.v == RAX) { move(o, RCX, a); a = (struct place){IN_REGISTER, RCX}; }
    base = (int)a.v;
    rm(o, 0x8d, RAX, base, (int32_t)(has_window(site) ? offset - in->k[1] : offset), 0);
    if (code >= T_STORE8 && to.kind != IN_REGISTER) {
        if (base == RDX) rr(o, 0x8b, base = RCX, RDX, 0);
        move(o, RDX, to);
    }
    if (!has_window(site)) { /* always out of line */
        put8(o, 0xe9);
        put32(o, 0);
        miss->from = o->p - 4;
        miss->back = o->p;
        return;
    }
    if (scale) { rr(o, 0xc1, 1, RAX, 0); put8(o, scale); } /* ror */
    arithmetic(o, 7, RAX, (struct place){LITERAL, in->units});
    miss->from = jump_if(o, CC_AE);
    /* Counted from the operand the host's address is there earlier. No operand may wrap on its way into the window. */
    int64_t host = (int64_t)(in->host - (uint8_t *)o->j->hart), direct = host - in->k[1] + (int32_t)offset;
    int64_t first = (int64_t)in->k[1] - (int32_t)offset, last = first + ((int64_t)in->units << scale) - 1;
    int directly = direct == (int32_t)direct && first >= 0 && last <= 0xffffffffll;
    if (o->j->hart->dcache) {
        directly &= base != RCX;
        miss->cached = check_cache(o, site, base, offset, code >= T_STORE8, !directly);
        miss->known = o->p;
        miss->base = directly ? base : RAX;
        miss->offset = offset;
    }
    if (directly) transfer(o, code, to, RDI, base, 0, (int32_t)direct);
    else if (host == (int32_t)host) transfer(o, code, to, RDI, RAX, scale, (int32_t)host);
    else {
        load_constant(o, RCX, (uint64_t)(uintptr_t)in->host);
        transfer(o, code, to, RCX, RAX, scale, 0);
    }
    miss->back = o->p;
}

/* Out of line: the second window, then the call. */
static void emit_miss(struct out *o, struct miss *m)
{
    static const int extends[] = {0x0fb6, 0x0fbe, 0x0fb7, 0x0fbf, 0x8b};
    struct site *site = m->site;
    int scale = log2_size(m->code);
    land(o, m->from);
    if (has_window(site)) { /* back to the address */
        if (scale) { rr(o, 0xc1, 0, RAX, 0); put8(o, scale); }
        if (site->in->k[1]) arithmetic(o, 0, RAX, (struct place){LITERAL, site->in->k[1]});
    }
    rr(o, 0x8b, RCX, RAX, 0);
    data(o, 0x2b, RAX, &site->base, 0);
    if (scale) { rr(o, 0xc1, 1, RAX, 0); put8(o, scale); }
    data(o, 0x3b, RAX, &site->units, 0);
    uint8_t *neither = jump_if(o, CC_AE);
    count_up(o, &site->n);
    if (o->j->hart->dcache) { /* no other register holds the address */
        put8(o, 0x50);
        data(o, 0x8d, RAX, site, 1);
        call_to(o, o->j->look);
        put8(o, 0x58);
    }
    data(o, 0x8b, RCX, &site->host, 1);
    transfer(o, m->code, m->to, RCX, RAX, scale, 0);
    jump_to(o, m->back);
    land(o, neither);
    if (m->code >= T_STORE8 && m->to.kind == IN_REGISTER) move(o, RDX, m->to);
    data(o, 0x8d, RAX, site, 1);
    call_to(o, m->code >= T_STORE8 ? o->j->store : o->j->load);
    if (m->code < T_STORE8) {
        int reg = m->to.kind == IN_REGISTER ? (int)m->to.v : RCX;
        rr(o, extends[m->code - T_LOAD8U], reg, RAX, 0);
        move_to(o, m->to, reg);
    }
    jump_to(o, m->back);
}

/* Out of line: the data cache's slow path, at rest for the access itself. */
static void emit_cached(struct out *o, struct miss *m)
{
    if (!m->cached) return;
    land(o, m->cached);
    if (m->base == RAX) put8(o, 0x58); /* pop rax, which was kept */
    put8(o, 0x50); /* push rax */
    if (m->base != RAX) rm(o, 0x8d, RCX, m->base, (int32_t)m->offset, 0);
    else { /* back to the address */
        rr(o, 0x8b, RCX, RAX, 0);
        if (log2_size(m->code)) { rr(o, 0xc1, 0, RCX, 0); put8(o, log2_size(m->code)); }
        arithmetic(o, 0, RCX, (struct place){LITERAL, m->site->in->k[1]});
    }
    data(o, 0x8d, RAX, m->site, 1);
    call_to(o, o->j->look);
    put8(o, 0x58);
    jump_to(o, m->known);
}

/* ------------------------------------------------------------ what compiled code calls */
/* Show the instruction cache a block. */
static void native_fetch(struct hart *h, struct member *m) { h->fetch(h, m->block); }

/* Show the data cache an access within a window; no counter or register concerns it. */
static void native_look(struct hart *h, struct site *site, uint32_t address)
{
    h->fuel += site->member->refund; /* as the budget stands behind this block */
    cached_data(h, site->member->block, site->in, address, site->size, site->is_store);
}
/* 0 done, 1 trap, 2 done and the block is to be left; all counters and the budget stand as if the trace had ended with this block. */
static int native_access(struct hart *h, uint32_t address, uint32_t value, struct site *site, int store)
{
    struct member *m = site->member;
    int failed, size = site->size;
    m->ended++;
    h->native_block = m->block;
    h->native_insn = site->in;
    h->native_refund = m->refund;
    h->fuel += m->refund;
    h->native_site = site;
    h->jit->stale = 1;
    h->native_value = 0;
    if (store && size < 4) value &= (1u << 8 * size) - 1;
    failed = store ? h->store(h, m->block, site->in, address, size, value)
                   : h->load(h, m->block, site->in, address, size, &h->native_value);
    h->native_site = NULL;
    h->jit->stale = 1;
    if (!failed) m->ended--; /* it goes on: modulo 2^64 this also takes back what was read meanwhile */
    return failed;
}
static int native_load(struct hart *h, uint32_t address, uint32_t unused, struct site *site) { return native_access(h, address, unused, site, 0); }
static int native_store(struct hart *h, uint32_t address, uint32_t value, struct site *site) { return native_access(h, address, value, site, 1); }
#endif
