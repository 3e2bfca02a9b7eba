/* Cycles of a run from what it counted: an exact model over the ways that were taken, without the order they were taken in.
 *
 * A node is an instruction and the pipeline's state as it comes: what happens there is asked of the model once and kept, by outcome (which
 * instruction is next, which memory answers, how long a division is). How often each instruction was reached and each way taken is known;
 * how often in which state is what is sought. It is the fixed point of: what comes into a node is what its predecessors send, and the nodes of
 * an instruction share the times it was reached. Sweeps over all instructions find the states that matter, eliminate.h how often each comes.
 *
 * Work is bounded. Where it does not suffice no more states are followed, or the sweeps' shares stand for the solution (`cut`): still right
 * for each instruction's times, less exact in which state it came.
 *
 * What it neglects: which of an instruction's ways follows which of another's (a branch's history), where the state outlives that.
 */
#ifndef RVSIM_FLOW_H
#define RVSIM_FLOW_H
#include <stdlib.h>
#include "eliminate.h"
#include "model.h"

#define FLOW_NOWHERE 0xffffffffu
enum { FLOW_MOST_NODES = 1 << 20, FLOW_MOST_WAYS = 1 << 22 }; /* beyond one node for each instruction */
enum { FLOW_SWEEPS = 100, FLOW_STILL = 3, FLOW_ROUNDS = 4 };
static const double FLOW_RARE = 1e-5;  /* of an instruction's times: states that are rarer are not followed ... */
static const double FLOW_COLD = 1e-7;  /* ... nor those that this part of the run's instructions come in */

typedef struct {            /* one way that an instruction can go */
    timing_op op;           /* the instruction, or an ecall in place of one that traps */
    retired r;
    uint32_t next, spare;   /* number of the instruction that is reached; FLOW_NOWHERE at the end of the run */
    double share;           /* of the times the instruction is reached */
} flow_outcome;

typedef struct { uint32_t first, count; double reached; } flow_place; /* an instruction: its outcomes */
typedef struct { uint32_t first, count; double rounds; } flow_loop; /* its members: the first is where rounds begin; rounds by entry */
typedef struct { uint32_t place, state; double weight; } flow_start;

typedef struct {
    uint32_t place, state, sibling, in; /* in: first step that leads here */
    uint32_t expanded;
    double weight, source, comes;
    double ends;                        /* share of its times that are the run's last */
    double cycles, seen, lost[CAUSES];  /* expected of one retirement */
} flow_node;
typedef struct { uint32_t from, next_in; double share; } flow_way;

typedef struct {
    const timing_model *model;
    void *contents;
    const void *params;
    const timing_memory *memory;
    const flow_place *places;
    const flow_outcome *outcomes;
    const flow_loop *loops; /* inner ones before those around them */
    const uint32_t *members;
    uint32_t place_count, loop_count;
    uint32_t *of_place;     /* first node of each place */
    uint8_t *known;         /* whether the model was asked in one of them */
    uint8_t *states;
    uint32_t state_count, state_room, *table, table_size;
    flow_node *nodes;
    uint32_t node_count, node_room;
    flow_way *ways;
    uint32_t way_count, way_room;
    uint32_t fresh;         /* nodes that the model was asked of in this sweep */
    int sweeps, settled;
    uint64_t work;          /* steps that the sweeps may still take */
    chain_desk desk;        /* and solving */
    int cut;                /* it did not suffice */
} flow;

static void flow_free(flow *f)
{
    free(f->of_place), free(f->known), free(f->desk.at), free(f->states), free(f->table), free(f->nodes), free(f->ways);
    memset(f, 0, sizeof *f);
}

/* Room for one more; 0 without memory. */
static int flow_grow(void *array, uint32_t count, uint32_t *room, size_t size)
{
    void **a = array;
    if (count < *room) return 1;
    uint32_t more = *room ? 2 * *room : 256;
    void *grown = more > *room ? realloc(*a, more * size) : NULL;
    if (!grown) return 0;
    *a = grown, *room = more;
    return 1;
}

static uint32_t flow_hash(const uint8_t *state, size_t size)
{
    uint64_t h = 0xcbf29ce484222325ull; /* FNV-1a, over bytes */
    for (size_t i = 0; i < size; i++) h = (h ^ state[i]) * 0x100000001b3ull;
    return (uint32_t)(h ^ h >> 32);
}

/* Number of a state; FLOW_NOWHERE without memory. */
static uint32_t flow_intern(flow *f, const void *state)
{
    size_t size = f->model->state_size;
    if (2 * f->state_count >= f->table_size) {
        uint32_t more = f->table_size ? 2 * f->table_size : 256, *grown = malloc(more * sizeof *grown);
        if (!grown) return FLOW_NOWHERE;
        memset(grown, 0xff, more * sizeof *grown);
        for (uint32_t i = 0; i < f->state_count; i++) {
            uint32_t at = flow_hash(f->states + i * size, size);
            while (grown[at & (more - 1)] != FLOW_NOWHERE) at++;
            grown[at & (more - 1)] = i;
        }
        free(f->table);
        f->table = grown, f->table_size = more;
    }
    uint32_t at = flow_hash(state, size), n;
    while ((n = f->table[at & (f->table_size - 1)]) != FLOW_NOWHERE) {
        if (!memcmp(f->states + n * size, state, size)) return n;
        at++;
    }
    if (!flow_grow(&f->states, f->state_count, &f->state_room, size)) return FLOW_NOWHERE;
    memcpy(f->states + f->state_count * size, state, size);
    return f->table[at & (f->table_size - 1)] = f->state_count++;
}

static void flow_spend(flow *f, uint64_t steps) { f->work = steps < f->work ? f->work - steps : 0; }

/* Whether there is room for states that are not needed. */
static int flow_room(const flow *f) { return f->work && f->node_count < FLOW_MOST_NODES && f->way_count < FLOW_MOST_WAYS; }

static uint32_t flow_node_of(flow *f, uint32_t place, uint32_t state)
{
    uint32_t n, steps = 1;
    for (n = f->of_place[place]; n != FLOW_NOWHERE && f->nodes[n].state != state; n = f->nodes[n].sibling) steps++;
    flow_spend(f, steps);
    if (n != FLOW_NOWHERE) return n;
    if (!flow_grow(&f->nodes, f->node_count, &f->node_room, sizeof *f->nodes)) return FLOW_NOWHERE;
    f->nodes[f->node_count] = (flow_node){.place = place, .state = state, .sibling = f->of_place[place], .in = FLOW_NOWHERE};
    return f->of_place[place] = f->node_count++;
}

/* Ask the model what happens in a node. */
static int flow_expand(flow *f, uint32_t n)
{
    const flow_place *p = &f->places[f->nodes[n].place];
    _Alignas(8) uint8_t state[TIMING_STATE];
    f->nodes[n].expanded = f->known[f->nodes[n].place] = 1;
    for (uint32_t k = p->first; k < p->first + p->count; k++) {
        const flow_outcome *o = &f->outcomes[k];
        timing_report report = {0};
        memcpy(state, f->states + f->nodes[n].state * f->model->state_size, f->model->state_size);
        uint32_t cycles = timing_waited(&o->op, f->model->step(state, f->contents, f->params, f->memory, &o->op, &o->r, &report), &report);
        f->nodes[n].cycles += o->share * cycles;
        f->nodes[n].seen += o->share * report.seen;
        for (int c = 0; c < CAUSES; c++) f->nodes[n].lost[c] += o->share * report.lost[c];
        if (o->next == FLOW_NOWHERE) {
            f->nodes[n].ends += o->share;
            continue;
        }
        uint32_t to = flow_room(f) ? FLOW_NOWHERE : f->of_place[o->next];
        if (to == FLOW_NOWHERE) {
            uint32_t id = flow_intern(f, state);
            to = id == FLOW_NOWHERE ? id : flow_node_of(f, o->next, id);
        }
        if (to == FLOW_NOWHERE || !flow_grow(&f->ways, f->way_count, &f->way_room, sizeof *f->ways)) return 0;
        f->ways[f->way_count] = (flow_way){n, f->nodes[to].in, o->share};
        f->nodes[to].in = f->way_count++;
    }
    return 1;
}

/* Let what comes into an instruction's nodes share the times it was reached, and ask the model of those that matter. 0 without memory. */
static int flow_sweep_place(flow *f, uint32_t place, double instructions)
{
    double sum = 0, kept = 0, most = 0;
    uint32_t n;
    uint64_t steps = 0;
    for (n = f->of_place[place]; n != FLOW_NOWHERE; n = f->nodes[n].sibling) {
        flow_node *node = &f->nodes[n];
        node->comes = node->source;
        for (uint32_t w = node->in; w != FLOW_NOWHERE; w = f->ways[w].next_in, steps++)
            node->comes += f->nodes[f->ways[w].from].weight * f->ways[w].share;
        steps++;
        sum += node->comes;
        if (node->comes > most) most = node->comes;
    }
    flow_spend(f, steps);
    if (sum <= 0) return 1;
    /* Expanding may add nodes, to this place too: those come at its head and have nothing yet. */
    for (n = f->of_place[place]; n != FLOW_NOWHERE; n = f->nodes[n].sibling) {
        double comes = f->nodes[n].comes;
        int followed = comes == most || (comes > FLOW_RARE * sum && comes > FLOW_COLD * instructions);
        if (!f->nodes[n].expanded && followed) {
            if (f->known[place] && !flow_room(f)) {
                f->cut = 1;
                continue;
            }
            if (!flow_expand(f, n)) return 0;
            f->fresh++;
        }
        if (f->nodes[n].expanded) kept += f->nodes[n].comes;
    }
    for (n = f->of_place[place]; n != FLOW_NOWHERE; n = f->nodes[n].sibling)
        f->nodes[n].weight = f->nodes[n].expanded ? f->nodes[n].comes * f->places[place].reached / kept : 0;
    return 1;
}

/* Sweep until no state is new for some sweeps; 0 without memory. */
static int flow_sweep(flow *f, double instructions, int most)
{
    for (int still = 0; f->sweeps < most && still < FLOW_STILL; f->sweeps++) {
        f->fresh = 0;
        for (uint32_t i = 0; i < f->place_count; i++)
            if (!flow_sweep_place(f, i, instructions)) return 0;
        /* Once there is no more room, what was never reached is reached at once. */
        for (uint32_t n = 0; !flow_room(f) && n < f->node_count; n++)
            if (!f->known[f->nodes[n].place] && !flow_expand(f, n)) return 0;
        still = f->fresh ? 0 : still + 1;
    }
    return 1;
}

/* The node that stands for each: itself, or where it is not followed the heaviest of its place. */
static void flow_stand_ins(const flow *f, uint32_t *stands)
{
    for (uint32_t place = 0; place < f->place_count; place++) {
        uint32_t best = FLOW_NOWHERE, n;
        for (n = f->of_place[place]; n != FLOW_NOWHERE; n = f->nodes[n].sibling)
            if (f->nodes[n].expanded && (best == FLOW_NOWHERE || f->nodes[n].weight > f->nodes[best].weight)) best = n;
        for (n = f->of_place[place]; n != FLOW_NOWHERE; n = f->nodes[n].sibling) stands[n] = f->nodes[n].expanded ? n : best;
    }
}

/* The loops' nodes: those of the first place, where rounds begin, and then the others. */
static int flow_loops(flow *f, chain_loop *loops)
{
    for (uint32_t i = 0; i < f->loop_count; i++) {
        const flow_loop *l = &f->loops[i];
        uint32_t room = 0;
        loops[i].rounds = l->rounds;
        for (uint32_t k = l->first; k < l->first + l->count; k++) {
            uint32_t steps = 1;
            for (uint32_t n = f->of_place[f->members[k]]; n != FLOW_NOWHERE; n = f->nodes[n].sibling, steps++) {
                if (!f->nodes[n].expanded) continue;
                if (!flow_grow(&loops[i].states, loops[i].count, &room, sizeof *loops[i].states)) return CHAIN_NO_MEMORY;
                loops[i].states[loops[i].count++] = n;
                loops[i].heads += k == l->first;
            }
            if (!chain_spend(&f->desk, steps)) return CHAIN_TOO_MUCH;
        }
    }
    return CHAIN_DONE;
}

/* The nodes and their ways as a chain; 0 without memory. */
static int flow_chain(flow *f, chain_state *s, const uint32_t *stands, uint32_t *leads)
{
    for (uint32_t n = 0; n < f->node_count; n++) {
        s[n].ends = f->nodes[n].ends;
        if (stands[n] != FLOW_NOWHERE) s[stands[n]].visits += f->nodes[n].source;
        for (uint32_t w = f->nodes[n].in; w != FLOW_NOWHERE; w = f->ways[w].next_in) leads[w] = stands[n];
    }
    /* A node's ways were made one behind the other. */
    for (uint32_t w = 0; w < f->way_count;) {
        uint32_t from = f->ways[w].from;
        int ok = 1;
        for (; w < f->way_count && f->ways[w].from == from; w++)
            if (ok && leads[w] != FLOW_NOWHERE) ok = chain_add(s, from, leads[w], f->ways[w].share, &f->desk);
        chain_forget(&s[from], &f->desk);
        if (!ok) return 0;
    }
    return 1;
}

/* How often each node is visited; where that takes too much work, as the sweeps have it. 0 without memory. */
static int flow_weigh(flow *f)
{
    if (f->desk.work == 0) return 1;
    f->desk.ways = 0;
    free(f->desk.at);
    f->desk.at = calloc(f->node_count + 1, sizeof *f->desk.at);
    uint32_t *stands = malloc((f->node_count + 1) * sizeof *stands), *leads = malloc((f->way_count + 1) * sizeof *leads);
    chain_state *s = calloc(f->node_count + 1, sizeof *s);
    chain_loop *loops = calloc(f->loop_count + 1, sizeof *loops);
    int how = f->desk.at && stands && leads && s && loops ? CHAIN_DONE : CHAIN_NO_MEMORY;
    if (how == CHAIN_DONE) {
        flow_stand_ins(f, stands);
        how = flow_chain(f, s, stands, leads);
    }
    if (how == CHAIN_DONE) how = flow_loops(f, loops);
    if (how == CHAIN_DONE) how = chain_solve(s, f->node_count, loops, f->loop_count, &f->desk);
    for (uint32_t n = 0; how == CHAIN_DONE && n < f->node_count; n++) f->nodes[n].weight = f->nodes[n].expanded ? s[n].visits : 0;
    if (how == CHAIN_TOO_MUCH) f->cut = 1, f->desk.work = 0;
    for (uint32_t i = 0; loops && i < f->loop_count; i++) free(loops[i].states);
    free(loops), free(stands), free(leads);
    chain_free(s, s ? f->node_count : 0);
    return how != CHAIN_NO_MEMORY;
}

/* An instruction's nodes together come as often as it was reached, whatever was neglected. */
static void flow_share(flow *f)
{
    for (uint32_t place = 0; place < f->place_count; place++) {
        double sum = 0;
        uint32_t n;
        for (n = f->of_place[place]; n != FLOW_NOWHERE; n = f->nodes[n].sibling) sum += f->nodes[n].weight;
        for (n = f->of_place[place]; sum > 0 && n != FLOW_NOWHERE; n = f->nodes[n].sibling) f->nodes[n].weight *= f->places[place].reached / sum;
    }
}

/* `work`: steps that the sweeps, and then solving, may take. 0 without memory. */
static int flow_solve(flow *f, const flow_start *starts, uint32_t start_count, uint64_t work)
{
    double instructions = 0;
    f->work = f->desk.work = work;
    f->of_place = malloc((f->place_count + 1) * sizeof *f->of_place);
    f->known = calloc(f->place_count + 1, 1);
    if (!f->of_place || !f->known) return 0;
    memset(f->of_place, 0xff, (f->place_count + 1) * sizeof *f->of_place);
    for (uint32_t i = 0; i < f->place_count; i++) instructions += f->places[i].reached;
    for (uint32_t i = 0; i < start_count; i++) {
        uint32_t n = flow_node_of(f, starts[i].place, starts[i].state);
        if (n == FLOW_NOWHERE) return 0;
        f->nodes[n].source += starts[i].weight;
    }
    for (int round = 0; round < FLOW_ROUNDS; round++) {
        if (!flow_sweep(f, instructions, FLOW_SWEEPS * (round + 1)) || !flow_weigh(f)) return 0;
        f->fresh = 0;
        /* With the weights as they are, some that seemed rare may not be. */
        for (uint32_t i = 0; i < f->place_count; i++)
            if (!flow_sweep_place(f, i, instructions)) return 0;
        if (!f->fresh) break;
    }
    if (!flow_weigh(f)) return 0;
    flow_share(f);
    f->settled = !f->fresh && !f->cut;
    return 1;
}
#endif
