/* Expected visits of a Markov chain that ends: x = b + x A, for sparse A, by eliminating one state after the other.
 *
 * A state v is taken out by joining each way into it with each way out of it, in the order of least work, as in sparse factorisations. What
 * is left of a state's probability to return to itself is the sum of its ways out: nothing is subtracted, so nothing cancels however often
 * a loop goes round (W. K. Grassmann, M. I. Taksar, D. P. Heyman, Regenerative analysis and steady state distributions for Markov chains,
 * Operations Research 33, 1985). Programs' graphs are thin: little is filled in. A graph made to fill in is given up (CHAIN_TOO_MUCH).
 */
#ifndef RVSIM_ELIMINATE_H
#define RVSIM_ELIMINATE_H
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { CHAIN_TOO_MUCH = -1, CHAIN_NO_MEMORY, CHAIN_DONE, CHAIN_LEFT };
enum { CHAIN_MOST_WAYS = 1 << 23 }; /* ever made: at some 40 bytes each */

typedef struct { uint32_t to; double share; } chain_way;
typedef struct {
    chain_way *out;
    uint32_t *in;         /* states with a way here */
    uint32_t out_count, out_room, in_count, in_room, work;
    double ends, visits;  /* share of visits that are the last; what begins here, and then the expected visits */
} chain_state;

/* What taking states out needs beside them. */
typedef struct {
    uint32_t *at;         /* of the state whose ways are added to: the number of its way to each state, and 1; else 0 */
    uint64_t work;        /* steps that may still be made */
    uint32_t ways;        /* that were made */
} chain_desk;

static void chain_free(chain_state *s, uint32_t count)
{
    for (uint32_t i = 0; s && i < count; i++) free(s[i].out), free(s[i].in);
    free(s);
}

static int chain_room(void *array, uint32_t count, uint32_t *room, size_t size)
{
    void **a = array;
    if (count < *room) return 1;
    uint32_t more = *room ? 2 * *room : 4;
    void *grown = realloc(*a, more * size);
    if (!grown) return 0;
    *a = grown, *room = more;
    return 1;
}

static int chain_spend(chain_desk *d, uint64_t steps)
{
    int enough = steps <= d->work;
    d->work = enough ? d->work - steps : 0;
    return enough;
}

/* Show where the ways of a state lead, before any are added to it; and forget it. */
static void chain_show(const chain_state *s, chain_desk *d)
{
    for (uint32_t i = 0; i < s->out_count; i++) d->at[s->out[i].to] = i + 1;
}

static void chain_forget(const chain_state *s, chain_desk *d)
{
    for (uint32_t i = 0; i < s->out_count; i++) d->at[s->out[i].to] = 0;
}

/* Let a further share of the visits of one state, which is shown, lead to another; 0 without memory. */
static int chain_add(chain_state *s, uint32_t from, uint32_t to, double share, chain_desk *d)
{
    chain_state *f = &s[from], *t = &s[to];
    if (d->at[to]) {
        f->out[d->at[to] - 1].share += share;
        return 1;
    }
    if (!chain_room(&f->out, f->out_count, &f->out_room, sizeof *f->out) || !chain_room(&t->in, t->in_count, &t->in_room, sizeof *t->in)) return 0;
    f->out[f->out_count++] = (chain_way){to, share};
    t->in[t->in_count++] = from;
    d->at[to] = f->out_count, d->ways++;
    return 1;
}

/* It no longer comes from there. */
static void chain_drop(chain_state *to, uint32_t from)
{
    uint32_t k = 0;
    while (to->in[k] != from) k++;
    to->in[k] = to->in[--to->in_count];
}

static uint32_t chain_work(const chain_state *s)
{
    uint64_t work = (uint64_t)s->in_count * s->out_count;
    return work < UINT32_MAX ? (uint32_t)work : UINT32_MAX;
}

/* A heap of states by the work that taking them out makes, smallest first; an entry is out of date where its state's work differs. */
typedef struct { uint32_t work, state; } chain_entry;
typedef struct { chain_entry *at; uint32_t count, room; } chain_heap;

static int chain_push(chain_heap *h, uint32_t work, uint32_t state)
{
    if (!chain_room(&h->at, h->count, &h->room, sizeof *h->at)) return 0;
    uint32_t i = h->count++;
    for (; i && h->at[(i - 1) / 2].work > work; i = (i - 1) / 2) h->at[i] = h->at[(i - 1) / 2];
    h->at[i] = (chain_entry){work, state};
    return 1;
}

static chain_entry chain_pop(chain_heap *h)
{
    chain_entry top = h->at[0], last = h->at[--h->count];
    uint32_t i = 0, child;
    while ((child = 2 * i + 1) < h->count) {
        if (child + 1 < h->count && h->at[child + 1].work < h->at[child].work) child++;
        if (last.work <= h->at[child].work) break;
        h->at[i] = h->at[child], i = child;
    }
    h->at[i] = last;
    return top;
}

/* Take state v out: its ways in go on along its ways out. It keeps its list of ways in, with their shares in `in_share`. */
static int chain_take_out(chain_state *s, uint32_t v, double *in_share, chain_heap *heap, chain_desk *d)
{
    chain_state *x = &s[v];
    double leaves = x->ends;
    uint64_t steps = 1;
    for (uint32_t i = 0; i < x->out_count; i++) {
        if (x->out[i].to != v) leaves += x->out[i].share;
        steps += s[x->out[i].to].in_count;
    }
    for (uint32_t k = 0; k < x->in_count; k++) steps += x->out_count + s[x->in[k]].out_count;
    if (!chain_spend(d, steps)) return CHAIN_TOO_MUCH;
    if (leaves <= 0) leaves = 1; /* it leads nowhere: whatever comes stays */
    for (uint32_t k = 0; k < x->in_count; k++) {
        uint32_t u = x->in[k];
        int added = 1;
        if (u == v) {
            in_share[k] = 0;
            continue;
        }
        chain_show(&s[u], d);
        uint32_t i = d->at[v] - 1;
        double share = s[u].out[i].share / leaves;
        in_share[k] = share;
        d->at[v] = 0;
        s[u].out[i] = s[u].out[--s[u].out_count];
        if (i < s[u].out_count) d->at[s[u].out[i].to] = i + 1;
        s[u].ends += share * x->ends;
        for (uint32_t w = 0; added && w < x->out_count; w++)
            if (x->out[w].to != v) added = chain_add(s, u, x->out[w].to, share * x->out[w].share, d);
        chain_forget(&s[u], d);
        s[u].work = chain_work(&s[u]);
        if (!added || !chain_push(heap, s[u].work, u)) return CHAIN_NO_MEMORY;
        if (d->ways > CHAIN_MOST_WAYS || heap->count > CHAIN_MOST_WAYS) return CHAIN_TOO_MUCH;
    }
    x->visits /= leaves;
    for (uint32_t w = 0; w < x->out_count; w++) {
        chain_state *t = &s[x->out[w].to];
        if (t == x) continue;
        t->visits += x->visits * x->out[w].share;
        chain_drop(t, v);
        t->work = chain_work(t);
        if (!chain_push(heap, t->work, x->out[w].to)) return CHAIN_NO_MEMORY;
    }
    return CHAIN_DONE;
}

/* A loop of the chain: its states, of which the first `heads` are those in which a round begins; each entry goes round `rounds` times, or
 * where that is no whole number, one time more or less. Without that a loop would be left as if by lot, in any phase. */
typedef struct { uint32_t *states, count, heads; double rounds; } chain_loop;

enum { CHAIN_HEADS = 64 }; /* with more, a loop is left as by lot */

/* Taken out together with what is within: what a way in at a head means. */
typedef struct { uint32_t *heads, count; double *rounds; } chain_closed; /* rounds: visits of each head for an entry at each */

/* c = a b, of n x n, n x m. */
static void chain_product(double *c, const double *a, const double *b, uint32_t n, uint32_t m)
{
    memset(c, 0, (size_t)n * m * sizeof *c);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < n; k++)
            if (a[i * n + k])
                for (uint32_t j = 0; j < m; j++) c[i * m + j] += a[i * n + k] * b[k * m + j];
}

/* Powers of p, n x n: last = p^times, sum = 1 + p + ... + p^(times - 1); `room` holds three of its size. */
static void chain_power(double *last, double *sum, const double *p, uint32_t n, uint64_t times, double *room)
{
    double *square = room, *part = room + n * n, *next = room + 2 * n * n;
    memset(last, 0, n * n * sizeof *last), memset(sum, 0, n * n * sizeof *sum);
    for (uint32_t i = 0; i < n; i++) last[i * n + i] = 1;
    memcpy(square, p, n * n * sizeof *p); /* p^(2^bit), and the sum of the powers below it */
    memset(part, 0, n * n * sizeof *part);
    for (uint32_t i = 0; i < n; i++) part[i * n + i] = 1;
    for (; times; times >>= 1) {
        if (times & 1) {
            chain_product(next, last, part, n, n);
            for (uint32_t i = 0; i < n * n; i++) sum[i] += next[i];
            chain_product(next, last, square, n, n);
            memcpy(last, next, n * n * sizeof *last);
        }
        chain_product(next, square, part, n, n);
        for (uint32_t i = 0; i < n * n; i++) part[i] += next[i];
        chain_product(next, square, square, n, n);
        memcpy(square, next, n * n * sizeof *square);
    }
}

/* All but the heads of a loop are out: replace its rounds by what an entry leads to in the end. */
static int chain_close(chain_state *s, const chain_loop *l, chain_closed *closed, chain_desk *d)
{
    uint32_t n = l->heads, m = 1; /* column 0: the end */
    double whole = (double)(uint64_t)l->rounds, more = l->rounds - whole;
    if (!n || n > CHAIN_HEADS || whole < 1 || l->rounds > 1e15) return CHAIN_LEFT;
    uint32_t most = 1;
    uint64_t steps = (uint64_t)n * n * n;
    for (uint64_t times = (uint64_t)whole; times; times >>= 1) steps += (uint64_t)n * n * n * 4; /* chain_power */
    for (uint32_t i = 0; i < n; i++) {
        const chain_state *x = &s[l->states[i]];
        most += x->out_count;
        for (uint32_t w = 0; w < x->out_count; w++) steps += n + s[x->out[w].to].in_count;
    }
    if (!chain_spend(d, steps + (uint64_t)n * n * most * 3)) return CHAIN_TOO_MUCH;
    double *p = calloc((size_t)n * n * 7 + (size_t)n * most * 3, sizeof *p);
    uint32_t *to = malloc(most * sizeof *to);
    if (!p || !to) {
        free(p), free(to);
        return CHAIN_NO_MEMORY;
    }
    double *last = p + n * n, *sum = p + 2 * n * n, *room = p + 3 * n * n, *q = p + 7 * n * n, *leads = q + n * most, *longer = leads + n * most;
    int how = CHAIN_DONE;
    for (uint32_t i = 0; i < n; i++) {
        const chain_state *x = &s[l->states[i]];
        double stays = 0, goes = x->ends;
        for (uint32_t w = 0; w < x->out_count; w++) {
            uint32_t j = 0;
            while (j < n && l->states[j] != x->out[w].to) j++;
            if (j < n) {
                p[i * n + j] += x->out[w].share, stays += x->out[w].share;
                continue;
            }
            j = d->at[x->out[w].to];
            if (!j) to[j = m++] = x->out[w].to, d->at[to[j]] = j;
            q[i * most + j] += x->out[w].share, goes += x->out[w].share;
        }
        q[i * most] = x->ends;
        /* Which rounds are the last does not depend on the state. A state that always stays, or always goes, is left as it is. */
        if (stays > 0) for (uint32_t j = 0; j < n; j++) p[i * n + j] /= stays;
        else how = CHAIN_LEFT;
        if (goes > 0) for (uint32_t j = 0; j < m; j++) q[i * most + j] /= goes;
        else how = CHAIN_LEFT;
    }
    for (uint32_t j = 1; j < m; j++) d->at[to[j]] = 0;
    if (how == CHAIN_DONE) {
        chain_power(last, sum, p, n, (uint64_t)whole - 1, room); /* last: p^(T-1) */
        chain_product(leads, last, q, n, most);
        chain_product(room, last, p, n, n); /* p^T */
        chain_product(longer, room, q, n, most);
        for (uint32_t i = 0; i < n * most; i++) leads[i] = (1 - more) * leads[i] + more * longer[i];
        for (uint32_t i = 0; i < n * n; i++) sum[i] += last[i] + more * room[i];
        closed->heads = l->states, closed->count = n;
        closed->rounds = malloc((size_t)n * n * sizeof *sum);
        if (!closed->rounds) how = CHAIN_NO_MEMORY;
        else memcpy(closed->rounds, sum, (size_t)n * n * sizeof *sum);
    }
    for (uint32_t i = 0; how == CHAIN_DONE && i < n; i++) { /* new ways out */
        uint32_t v = l->states[i];
        chain_state *x = &s[v];
        for (uint32_t w = 0; w < x->out_count; w++) chain_drop(&s[x->out[w].to], v);
        x->out_count = 0;
        x->ends = leads[i * most];
        for (uint32_t j = 1; how == CHAIN_DONE && j < m; j++)
            if (leads[i * most + j] > 0 && !chain_add(s, v, to[j], leads[i * most + j], d)) how = CHAIN_NO_MEMORY;
        chain_forget(x, d);
    }
    free(p), free(to);
    return how;
}

/* Turn `visits`, what begins in each state, into the expected visits; ways out and what `ends` sum to 1. Inner loops come before outer
 * ones. CHAIN_TOO_MUCH leaves the states in between, of no use. */
static int chain_solve(chain_state *s, uint32_t count, const chain_loop *loops, uint32_t loop_count, chain_desk *d)
{
    chain_heap heap = {0};
    uint32_t *order = malloc(((size_t)count + loop_count + 1) * sizeof *order), done = 0;
    uint8_t *within = calloc(count + 1, 1); /* only states of this round are taken out */
    double **in_share = calloc(count + 1, sizeof *in_share);
    chain_closed *closed = calloc(loop_count + 1, sizeof *closed);
    int how = order && in_share && closed && within ? CHAIN_DONE : CHAIN_NO_MEMORY;
    for (uint32_t round = 0; how == CHAIN_DONE && round <= loop_count; round++) {
        const chain_loop *l = round < loop_count ? &loops[round] : NULL;
        uint32_t first = l ? l->heads : 0, end = l ? l->count : count;
        if (l && l->heads > CHAIN_HEADS) continue;
        if (!chain_spend(d, end)) how = CHAIN_TOO_MUCH;
        heap.count = 0;
        for (uint32_t i = first; how == CHAIN_DONE && i < end; i++) {
            uint32_t v = l ? l->states[i] : i;
            within[v] = 1;
            s[v].work = chain_work(&s[v]);
            if (!in_share[v] && !chain_push(&heap, s[v].work, v)) how = CHAIN_NO_MEMORY;
        }
        while (how == CHAIN_DONE && heap.count) {
            chain_entry e = chain_pop(&heap);
            if (!within[e.state] || in_share[e.state] || s[e.state].work != e.work) continue;
            in_share[e.state] = malloc((s[e.state].in_count + 1) * sizeof **in_share);
            how = in_share[e.state] ? chain_take_out(s, e.state, in_share[e.state], &heap, d) : CHAIN_NO_MEMORY;
            order[done++] = e.state;
        }
        for (uint32_t i = first; l && i < end; i++) within[l->states[i]] = 0;
        if (how == CHAIN_DONE && l) {
            how = chain_close(s, l, &closed[round], d);
            if (how == CHAIN_DONE) order[done++] = count + round;
            if (how == CHAIN_LEFT) how = CHAIN_DONE;
        }
    }
    /* What came from those that were taken out before is counted; what comes from the others is known in reverse order. */
    while (how == CHAIN_DONE && done--) {
        if (order[done] >= count) {
            const chain_closed *c = &closed[order[done] - count];
            double entries[CHAIN_HEADS];
            for (uint32_t i = 0; i < c->count; i++) entries[i] = s[c->heads[i]].visits, s[c->heads[i]].visits = 0;
            for (uint32_t i = 0; i < c->count; i++)
                for (uint32_t j = 0; j < c->count; j++) s[c->heads[j]].visits += entries[i] * c->rounds[i * c->count + j];
            continue;
        }
        chain_state *x = &s[order[done]];
        for (uint32_t k = 0; k < x->in_count; k++) x->visits += s[x->in[k]].visits * in_share[order[done]][k];
    }
    for (uint32_t i = 0; in_share && i < count; i++) free(in_share[i]);
    for (uint32_t i = 0; closed && i < loop_count; i++) free(closed[i].rounds);
    free(in_share), free(order), free(closed), free(within), free(heap.at);
    return how;
}
#endif
