/* Compiled code for x86-64: blocks that are entered often become traces (jit_trace.h).
 *
 * Compiled code keeps no second truth. What it counts becomes counts of blocks (jit_counts.h), it uses the guest registers of struct hart
 * (the busiest ones live in host registers while it runs), takes the same charges from the same budget, and leaves to the interpreter
 * whatever has no template. This file is what surrounds traces: memory, entry and exit, links, and when something is compiled.
 *
 * Host registers: rdi struct hart; r15 the budget; rax, rdx the templates' temporaries; rcx is nobody's; the others are pinned guest
 * registers. Nothing below is used where RVSIM_JIT_HOST is 0.
 */
#ifndef RVSIM_JIT_H
#define RVSIM_JIT_H
#include <stddef.h>
#include <stdlib.h>

#if defined(__x86_64__) && (defined(__linux__) || defined(__APPLE__))
#define RVSIM_JIT_HOST 1
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#else
#define RVSIM_JIT_HOST 0
#endif

/* How compiled code comes back. */
enum { NATIVE_NEXT, NATIVE_TAKEN, NATIVE_INDIRECT, NATIVE_ENTER, NATIVE_RESUME, NATIVE_TRAP, NATIVE_MODIFIED, NATIVE_FUEL };
#include "jit_counts.h"

#if RVSIM_JIT_HOST
enum { STUBS_ROOM = 1 << 12, REBUILDS = 64 };
#define H(field) ((int32_t)offsetof(struct hart, field))
#include "jit_trace.h"

static void spill(struct out *o) { for (int n = 0; n < o->j->pins; n++) rm(o, 0x89, pinnable[n], RDI, H(x) + 4 * o->j->guest[n], 0); }
static void reload(struct out *o) { for (int n = 0; n < o->j->pins; n++) rm(o, 0x8b, pinnable[n], RDI, H(x) + 4 * o->j->guest[n], 0); }

/* Code that all traces share. */
static void emit_stubs(struct jit *j)
{
    static const uint8_t saved[] = {RBX, RBP, R12, R13, R14, R15};
    struct out out = {.p = j->memory, .j = j}, *o = &out;
    j->enter = (int (*)(struct hart *, const void *))(uintptr_t)o->p;
    for (int n = 0; n < 6; n++) { if (saved[n] >> 3) put8(o, 0x41); put8(o, 0x50 | (saved[n] & 7)); }
    put8(o, 0x48); put8(o, 0x83); put8(o, 0xec); put8(o, 8); /* sub rsp, 8 */
    rr(o, 0x8b, RAX, RSI, 1);
    rm(o, 0x8b, R15, RDI, H(fuel), 1);
    reload(o);
    put8(o, 0xff); put8(o, 0xe0); /* jmp rax */
    j->uncompiled = o->p; /* rcx: a block that an indirect jump goes to */
    rm(o, 0x89, RCX, RDI, H(native_block), 1);
    load_constant(o, RAX, NATIVE_ENTER);
    j->leave = o->p; /* eax: how */
    spill(o);
    j->leave_stored = o->p;
    rm(o, 0x89, R15, RDI, H(fuel), 1);
    put8(o, 0x48); put8(o, 0x83); put8(o, 0xc4); put8(o, 8);
    for (int n = 5; n >= 0; n--) { if (saved[n] >> 3) put8(o, 0x41); put8(o, 0x58 | (saved[n] & 7)); }
    put8(o, 0xc3);
    for (int n = 0; n < 3; n++) { /* loads and stores: rax site, ecx address, edx value; a function: rax instruction, rcx function */
        uint8_t **stub = n == 0 ? &j->load : n == 1 ? &j->store : &j->call;
        *stub = o->p;
        spill(o);
        put8(o, 0x57); /* push rdi: with the return address, the stack is aligned */
        if (n < 2) {
            rm(o, 0x89, R15, RDI, H(fuel), 1);
            rr(o, 0x8b, RSI, RCX, 0);
            rr(o, 0x8b, RCX, RAX, 1);
            load_constant(o, RAX, (uint64_t)(uintptr_t)(n ? native_store : native_load));
            put8(o, 0xff); put8(o, 0xd0); /* call rax */
        } else {
            rr(o, 0x8b, RSI, RAX, 1);
            put8(o, 0xff); put8(o, 0xd1);
        }
        put8(o, 0x5f);
        if (n == 2) {
            reload(o);
            put8(o, 0xc3);
            continue;
        }
        rr(o, 0x85, RAX, RAX, 0);
        uint8_t *fails = jump_if(o, CC_NE);
        reload(o);
        rm(o, 0x8b, RAX, RDI, H(native_value), 0);
        put8(o, 0xc3);
        land(o, fails); /* 1 trap, 2 modified */
        put8(o, 0x48); put8(o, 0x83); put8(o, 0xc4); put8(o, 8); /* the return address */
        rm(o, 0x03, R15, RDI, H(native_refund), 1);
        rm(o, 0x8d, RAX, RAX, NATIVE_TRAP - 1, 0);
        jump_to(o, j->leave_stored);
    }
    for (int n = 0; n < 2; n++) { /* caches: rax site, ecx address; or rax member. All but rax stay; the stack is aligned as the caller has pushed it */
        static const uint8_t kept[] = {RCX, RDX, RDI, RSI, R8, R9, R10, R11};
        *(n ? &j->fetch : &j->look) = o->p;
        rm(o, 0x89, R15, RDI, H(fuel), 1);
        for (int k = 0; k < 8; k++) { if (kept[k] >> 3) put8(o, 0x41); put8(o, 0x50 | (kept[k] & 7)); }
        rr(o, 0x8b, RSI, RAX, 1);
        rr(o, 0x8b, RDX, RCX, 0);
        load_constant(o, RAX, (uint64_t)(uintptr_t)(n ? (void *)native_fetch : (void *)native_look));
        put8(o, 0xff); put8(o, 0xd0); /* call rax */
        for (int k = 7; k >= 0; k--) { if (kept[k] >> 3) put8(o, 0x41); put8(o, 0x58 | (kept[k] & 7)); }
        put8(o, 0xc3);
    }
}

/* Take all memory back; no trace may be left. */
static void empty(struct jit *j)
{
    j->at = j->memory + STUBS_ROOM;
    j->cold = j->limit;
    j->data = j->cold_limit;
    j->exhausted = take_data(j, sizeof *j->exhausted);
    *j->exhausted = EXHAUSTED;
    j->full = 0;
}

/* ------------------------------------------------------------ links */
/* The successor that a patched jump may lead to. */
static const uint8_t *successor(const struct member *m, int taken)
{
    struct block *to = taken ? m->block->target : m->block->next;
    return to && !to->dead && !m->block->dead && to->compiled ? to->compiled->chain : m->way[taken];
}

/* Let the jumps of all traces lead to compiled successors. */
static int link_all(struct jit *j)
{
    for (int i = 0; i < j->count; i++)
        for (int k = 0; k < j->list[i]->members; k++)
            for (int taken = 0; taken < 2; taken++) {
                struct member *m = &j->list[i]->member[k];
                uint32_t distance;
                if (!m->jump[taken]) continue;
                distance = (uint32_t)(successor(m, taken) - (m->jump[taken] + 4));
                if (!memcmp(m->jump[taken], &distance, 4)) continue;
                if (!open_jump(j, m->jump[taken])) return 0;
                memcpy(m->jump[taken], &distance, 4);
            }
    return 1;
}

/* ------------------------------------------------------------ what to compile */
/* Give a trace's blocks back to the interpreter; its counts are folded. */
static void forget(struct jit *j, struct trace *t)
{
    for (int n = 0; n < t->sites; n++) j->hart->credit(j->hart, &t->site[n]);
    if (t->fork && t->fork->left > 16 + t->fork->passes / 4 && t->block->misforked < FORK_TRIALS) t->block->misforked++;
    for (int k = 0; k < t->members; k++) {
        struct block *b = t->member[k].block;
        if (--b->traces == 0)
            for (uint32_t i = 0; i < b->count_n; i++) b->meta[i].frozen = 0;
    }
    t->block->start = t->block->loop ? handler_address[HANDLER_LOOP] : t->block->code[0].handler;
    t->block->compiled = NULL;
    t->block->wanted = 1;
}

static int is_unwanted(const struct trace *t)
{
    for (int k = 0; k < t->members; k++)
        if (t->member[k].block->dead || t->member[k].block->unwanted || (t->member[k].loop && t->member[k].loop->dead)) return 1;
    return 0;
}

/* Whether code that is left fills less than half of its memory. While it is full with more, the new waits for the next choice of traces. */
static int is_half_dead(const struct jit *j)
{
    ptrdiff_t hot = 0, cold = 0, data = 0;
    for (int i = 0; i < j->count; i++) {
        const struct trace *t = j->list[i];
        hot += t->end - t->code;
        cold += t->cold_end - t->cold;
        data += (uint8_t *)(t->site + t->sites) - (uint8_t *)t;
    }
    return hot < (j->limit - j->memory) / 2 && cold < (j->cold_limit - j->limit) / 2 && data < (j->data_limit - j->cold_limit) / 2;
}

/* The guest registers that instructions executed most often use; whether those pinned now do worse: by an eighth, unless all is compiled anew anyway. */
static int choose_pins(struct jit *j, struct block **blocks, int count, int anyway)
{
    uint64_t uses[32] = {0}, before = 0, now = 0;
    for (int n = 0; n < count; n++) {
        struct block *b = blocks[n];
        uint64_t entries = b->loop ? b->count - b->taken : b->count;
        for (uint32_t i = 0; i < b->count_n; i++) {
            if (b->meta[i].handler >= HANDLER_COUNT || template_kinds[b->meta[i].handler] != 1) continue;
            for (int t = template_starts[b->meta[i].handler]; t < template_starts[b->meta[i].handler + 1]; t++)
                for (int k = 1; k < 5; k++)
                    if (template_ops[t][k] >> 6 == 1) uses[b->code[i].r[template_ops[t][k] & 63] & 31] += entries;
        }
    }
    uint8_t host_of[32] = {0}, guest[sizeof pinnable];
    int pins;
    for (pins = 0; pins < (int)sizeof pinnable; pins++) {
        int best = 0;
        for (int r = 1; r < 32; r++)
            if (!host_of[r] && uses[r] && (!best || uses[r] > uses[best])) best = r;
        if (!best) break;
        host_of[best] = pinnable[pins];
        guest[pins] = (uint8_t)best;
        now += uses[best];
    }
    for (int n = 0; n < j->pins; n++) before += uses[j->guest[n]];
    if (now <= before + (anyway ? 0 : before / 8)) return 0;
    memcpy(j->host_of, host_of, sizeof host_of);
    memcpy(j->guest, guest, sizeof guest);
    j->pins = pins;
    return 1;
}

/* Blocks that begin a trace: the interpreter has often entered them since they were compiled into one, if they were. */
static int is_wanted(const struct block *b, uint64_t threshold)
{
    return !b->compiled && (b->wanted || b->count - b->traced - b->seen >= threshold) && compilable(b);
}

static int by_count(const void *a, const void *b)
{
    uint64_t x = (*(struct block *const *)a)->count, y = (*(struct block *const *)b)->count;
    uint32_t p = (*(struct block *const *)a)->pc, q = (*(struct block *const *)b)->pc;
    return x != y ? (x < y ? 1 : -1) : p != q ? (p > q ? 1 : -1) : 0; /* the busiest first */
}

/* Compile a block that a way out leads to, so that it leads to compiled code. */
static void compile_successor(struct jit *j, struct block *b, uint64_t threshold)
{
    if (b && !b->dead && !b->compiled && b->count >= threshold && compilable(b)) compile_trace(j, b);
}

static void compile_wanted(struct jit *j, struct block **blocks, int count, uint64_t threshold)
{
    struct block **wanted = malloc((size_t)(count + 1) * sizeof *wanted);
    int n = 0, from = j->count;
    if (!wanted) return;
    for (int i = 0; i < count; i++)
        if (is_wanted(blocks[i], threshold)) wanted[n++] = blocks[i];
    qsort(wanted, (size_t)n, sizeof *wanted, by_count);
    for (int i = 0; i < n && !j->full; i++) /* before others lay one of their ways out */
        if (is_wanted(wanted[i], threshold) && begins_fork(j, wanted[i])) compile_trace(j, wanted[i]);
    for (int i = 0; i < n && !j->full; i++)
        if (is_wanted(wanted[i], threshold) || (wanted[i]->entered && !wanted[i]->compiled)) compile_trace(j, wanted[i]);
    free(wanted);
    for (int i = from; i < j->count && !j->full; i++) /* the list grows meanwhile */
        for (int k = 0; k < j->list[i]->members && !j->full; k++) {
            struct member *m = &j->list[i]->member[k];
            if (m->jump[0]) compile_successor(j, m->block->next, threshold);
            if (m->jump[1]) compile_successor(j, m->block->target, threshold);
        }
}
#endif

/* Code memory, so many KiB in line, or NULL where compiled code cannot be had. */
static struct jit *jit_new(struct hart *hart, uint32_t kib)
{
#if RVSIM_JIT_HOST
    struct jit *j = calloc(1, sizeof *j);
    if (!j) return NULL;
    j->hart = hart;
    j->page = (size_t)sysconf(_SC_PAGESIZE);
    size_t code = ((size_t)kib << 10) & ~(j->page - 1), data = code + code / 4;
    j->size = 2 * code + data;
    j->memory = mmap(NULL, j->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    if (j->memory == MAP_FAILED) { free(j); return NULL; }
    j->limit = j->memory + code;
    j->cold_limit = j->limit + code;
    j->data_limit = j->cold_limit + data;
    if (!allow(j, j->memory, j->cold_limit, PROT_READ | PROT_EXEC)) { munmap(j->memory, j->size); free(j); return NULL; }
    return j;
#else
    (void)hart, (void)kib;
    return NULL;
#endif
}

static void jit_free(struct jit *j)
{
    if (!j) return;
#if RVSIM_JIT_HOST
    munmap(j->memory, j->size);
#endif
    free(j->list);
    free(j);
}

/* Take dead blocks, and those that `unwanted` marks, out of compiled code: no jump leads to them afterwards. 0 when memory refuses. */
static int jit_drop(struct jit *j)
{
#if RVSIM_JIT_HOST
    int kept = 0, all = j->count;
    jit_fold(j);
    for (int i = 0; i < all; i++) {
        struct trace *t = j->list[i];
        if (is_unwanted(t)) {
            forget(j, t);
            t->block->chain = j->uncompiled;
        } else { /* those to go are moved behind those that stay */
            j->list[i] = j->list[kept];
            j->list[kept++] = t;
        }
    }
    if (kept == all) return 1;
    for (int i = kept; i < all; i++)
        for (int k = 0; k < j->list[i]->members; k++) j->list[i]->member[k].block->unwanted = 0;
    j->count = kept;
    return link_all(j) && close_code(j);
#else
    (void)j;
    return 1;
#endif
}

/* Between two runs: compile the blocks entered often enough. 0 when memory refuses. */
static int jit_compile_hot(struct jit *j, struct block **blocks, int count, uint64_t threshold)
{
#if RVSIM_JIT_HOST
    int fresh, wanted = 0;
    struct timespec begin, end;
    if (!jit_drop(j)) return 0;
    fresh = !j->at || j->again || (j->full && is_half_dead(j));
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    /* Other ways may have become the busiest: then everything is compiled anew. */
    if (++j->looks >= j->next_choice) {
        j->next_choice = 2 * j->looks;
        int anyway = fresh || j->looks <= REBUILDS || j->full;
        fresh = choose_pins(j, blocks, count, anyway) || anyway;
    }
    if (!j->full) for (int i = 0; i < count; i++) wanted |= is_wanted(blocks[i], threshold);
    if (!fresh && !wanted) return link_all(j) && close_code(j);
    if (fresh) {
        j->rebuilds += j->at != NULL;
        for (int i = 0; i < j->count; i++) forget(j, j->list[i]);
        for (int i = 0; i < j->count; i++)
            for (int n = 0; n < j->list[i]->sites; n++) j->hart->adopt(j->hart, &j->list[i]->site[n]);
        j->count = j->again = 0;
        empty(j);
        if (!open_part(j, &j->hot_pages, j->memory, HOT_ROOM, j->limit)) return 0;
        emit_stubs(j);
        for (int i = 0; i < count; i++) {
            blocks[i]->chain = j->uncompiled;
            blocks[i]->seen = blocks[i]->wanted = 0;
        }
    }
    compile_wanted(j, blocks, count, threshold);
    if (j->refused || !link_all(j) || !close_code(j)) return 0;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    j->nanoseconds += (uint64_t)((end.tv_sec - begin.tv_sec) * 1000000000ll + end.tv_nsec - begin.tv_nsec);
    return 1;
#else
    (void)j, (void)blocks, (void)count, (void)threshold;
    return 0;
#endif
}

/* Whether a block's branch jumps over instructions that need no jump, if only they were a block of their own. */
static int jit_splits(const struct block *b)
{
#if RVSIM_JIT_HOST
    return b->compiled && b->next && b->target && b->next->end != b->target->pc && is_hammock(b);
#else
    (void)b;
    return 0;
#endif
}

/* Tell all intervals what second windows counted. */
static void jit_credit(struct jit *j)
{
    if (!j) return;
    for (int i = 0; i < j->count; i++)
        for (int n = 0; n < j->list[i]->sites; n++) j->hart->credit(j->hart, &j->list[i]->site[n]);
}

/* Close the second windows of stores. */
static void jit_close_stores(struct jit *j)
{
    if (!j) return;
    for (int i = 0; i < j->count; i++)
        for (int n = 0; n < j->list[i]->sites; n++)
            if (j->list[i]->site[n].is_store) {
                j->list[i]->site[n].units = 0;
                j->list[i]->site[n].interval = -1;
            }
}

static inline const uint8_t *jit_uncompiled(struct jit *j) { return j ? j->uncompiled : NULL; }
#endif
