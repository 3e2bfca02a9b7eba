"""Exact timing models of cores: a pipeline that is shown the instructions that retire, one after the other."""

from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from rvsim.timing.tables import check_keys


cdef extern from "pipeline.h":
    enum:
        CAUSES, TIMING_REGIONS
    ctypedef struct timing_op:
        uint8_t kind, size
    ctypedef struct retired:
        uint32_t pc, next_pc
    ctypedef struct timing_report:
        uint32_t lost[10]
        int32_t seen, staged
    ctypedef struct timing_cache:
        pass
    ctypedef struct timing_region:
        uint32_t base, last
        uint16_t fetch_wait, load_wait, store_wait
        timing_cache *fetches
        timing_cache *data
    ctypedef struct timing_memory:
        int count
        timing_region region[32]
        const timing_op *(*at)(void *, uint32_t) noexcept
        void *code
    ctypedef struct timing_pipeline:
        uint64_t cycles
        timing_memory *memory
        uint32_t (*step)(timing_pipeline *, const timing_op *, const retired *, timing_report *) noexcept nogil

cdef extern from "model.h":
    enum:
        TIMING_PARAMS, TIMING_STATE
    ctypedef struct timing_field:
        const char *name
        uint16_t offset
        uint8_t low, high
        const char *words
    ctypedef struct timing_model:
        const char *name
        size_t state_size, memory_size
        const char *stages
        const timing_field *fields
        void (*reset)(void *, void *, const void *, const timing_memory *, uint32_t) noexcept
        int (*sound)(const void *)
        uint32_t (*step)(void *, void *, const void *, const timing_memory *, const timing_op *, const retired *, timing_report *) noexcept nogil
        const char *(*prepare)(void *) noexcept
        int (*remembers)(const void *) noexcept
    const timing_model timing_models[]

cdef extern from "flow.h":
    const uint32_t FLOW_NOWHERE
    ctypedef struct flow_outcome:
        uint32_t next
        double share
    ctypedef struct flow_place:
        uint32_t first, count
        double reached
    ctypedef struct flow_loop:
        uint32_t first, count
    ctypedef struct flow_start:
        uint32_t place, state
        double weight
    ctypedef struct flow_node:
        uint32_t state, sibling
        double weight, cycles, seen
        double lost[10]
    ctypedef struct flow:
        const timing_model *model
        void *contents
        const void *params
        const timing_memory *memory
        const flow_place *places
        const flow_outcome *outcomes
        const flow_loop *loops
        const uint32_t *members
        uint32_t place_count, loop_count
        uint32_t *of_place
        uint8_t *states
        uint32_t state_count, node_count
        flow_node *nodes
        int sweeps, settled, cut
    void flow_free(flow *)
    uint32_t flow_intern(flow *, const void *)
    int flow_solve(flow *, const flow_start *, uint32_t, uint64_t)

cdef extern from *:
    """
    typedef struct {
        timing_pipeline shown;
        const timing_model *model;
        timing_memory memory;
        void *contents;
        _Alignas(8) uint8_t params[TIMING_PARAMS], state[TIMING_STATE];
    } core;

    static uint32_t core_step(timing_pipeline *shown, const timing_op *op, const retired *r, timing_report *out)
    {
        core *c = (core *)shown;
        uint32_t cycles = timing_waited(op, c->model->step(c->state, c->contents, c->params, &c->memory, op, r, out), out);
        shown->cycles += cycles;
        return cycles;
    }

    /* Until a hart says what is in memory, for what is fetched and never retires. */
    static const timing_op *core_at(void *of, uint32_t pc)
    {
        static const timing_op illegal = {.kind = K_ILLEGAL, .size = 4};
        (void)of, (void)pc;
        return &illegal;
    }

    typedef struct { timing_op op; retired r; } record;
    """
    ctypedef struct core:
        timing_pipeline shown
        const timing_model *model
        timing_memory memory
        void *contents
        uint8_t params[64]
        uint8_t state[256]
    uint32_t core_step(timing_pipeline *, const timing_op *, const retired *, timing_report *) noexcept nogil
    const timing_op *core_at(void *, uint32_t) noexcept
    ctypedef struct record:
        timing_op op
        retired r

RECORD_BYTES = sizeof(record)
OUTCOME_BYTES = sizeof(flow_outcome)
PLACE_BYTES = sizeof(flow_place)
LOOP_BYTES = sizeof(flow_loop)
NOWHERE = FLOW_NOWHERE
WORK = 1 << 28
CAUSE_NAMES = ("load_use", "branch", "jump", "multiply", "divide", "fetch", "data", "csr", "coprocessor", "other")


def model_fields(str name):
    """Names of the numbers that a model wants; None where there is no such model."""
    cdef const timing_model *m = timing_models
    cdef const timing_field *f
    while m.name != NULL:
        if name == m.name.decode():
            fields = []
            f = m.fields
            while f.name != NULL:
                fields.append(f.name.decode())
                f += 1
            return fields
        m += 1
    return None


def model_names():
    """Names of the models."""
    cdef const timing_model *m = timing_models
    names = []
    while m.name != NULL:
        names.append(m.name.decode())
        m += 1
    return names


cdef class Pipeline:
    """One core's pipeline from reset on.

    Parameters
    ----------
    model : str
        One of `model_names`.
    params : dict of str to int or str
        A number, or one of its words, for each of `model_fields`.
    regions : list of (base, last, fetch wait, load wait, store wait)
        Wait states.
    outside : (fetch wait, load wait, store wait)
        Those of all other addresses.
    entry : int
        Address of the first instruction.

    Raises
    ------
    ValueError
        There is no such model, or its numbers are others or out of range.
    """

    cdef core *c

    def __cinit__(self, str model, params, regions, outside, uint32_t entry):
        cdef const timing_model *m = timing_models
        cdef const timing_field *f
        cdef const char *wrong
        cdef int n = 1
        while m.name != NULL and model != m.name.decode():
            m += 1
        if m.name == NULL:
            raise ValueError(f"model: expected one of {', '.join(model_names())}, found {model!r}")
        if len(regions) >= TIMING_REGIONS:
            raise ValueError(f"expected fewer than {TIMING_REGIONS} regions of memory, found {len(regions)}")
        self.c = <core *>calloc(1, sizeof(core))
        if self.c == NULL:
            raise MemoryError
        self.c.model = m
        self.c.shown.step = core_step
        self.c.shown.memory = &self.c.memory
        self.c.memory.at, self.c.memory.code = core_at, self.c
        if m.memory_size:
            self.c.contents = calloc(1, m.memory_size)
            if self.c.contents == NULL:
                raise MemoryError
        f = m.fields
        known = model_fields(model)
        check_keys("", params, known)
        if missing := [name for name in known if name not in params]:
            raise ValueError(f"expected a number for each of model {model}, found none for {', '.join(missing)}")
        while f.name != NULL:
            name, value = f.name.decode(), params[f.name.decode()]
            words = f.words.decode().split(" ") if f.words != NULL else []
            if words and value not in words:
                raise ValueError(f"{name}: expected {', '.join(words[:-1])} or {words[-1]}, found {value!r}")
            if not words and (type(value) is not int or not f.low <= value <= f.high):
                raise ValueError(f"{name}: expected {f.low} to {f.high}, found {value!r}")
            self.c.params[f.offset] = words.index(value) if words else value
            f += 1
        if m.prepare != NULL:
            wrong = m.prepare(self.c.params)
            if wrong != NULL:
                raise ValueError(wrong.decode())
        fetch, load, store = outside
        self.c.memory.region[0] = [0, 0xffffffff, fetch, load, store, NULL, NULL]
        for base, last, fetch, load, store in regions:
            self.c.memory.region[n] = [base, last, fetch, load, store, NULL, NULL]
            n += 1
        self.c.memory.count = n
        self.reset(entry)

    def __dealloc__(self):
        if self.c != NULL:
            free(self.c.contents)
            free(self.c)

    def reset(self, uint32_t entry):
        """Stand before the first instruction."""
        memset(self.c.state, 0, sizeof(self.c.state))
        if self.c.contents != NULL:
            memset(self.c.contents, 0, self.c.model.memory_size)
        self.c.shown.cycles = 0
        self.c.model.reset(self.c.state, self.c.contents, self.c.params, &self.c.memory, entry)

    def attach(self, int region, fetches, data):
        """Put caches in front of one of the regions, or 0 for all other addresses; call it before the first instruction.

        Parameters
        ----------
        region : int
            From 1 on in the order they were given.
        fetches, data : capsule or None
            `rvsim.machine._hart.Cache.shown`; the caches have to live as long as this object.
        """
        if not 0 <= region < self.c.memory.count:
            raise ValueError(f"region: expected 0 to {self.c.memory.count - 1}, found {region}")
        if fetches is not None:
            self.c.memory.region[region].fetches = <timing_cache *>PyCapsule_GetPointer(fetches, "rvsim.timing.cache")
        if data is not None:
            self.c.memory.region[region].data = <timing_cache *>PyCapsule_GetPointer(data, "rvsim.timing.cache")

    @property
    def cycles(self):
        """Cycles up to the last retirement."""
        return self.c.shown.cycles

    @property
    def stages(self):
        """Names of the core's stages, in the order instructions go through them."""
        return tuple(self.c.model.stages.decode().split())

    @property
    def remembers(self):
        """Whether the cycles depend on which addresses were used before: on caches, or on a branch's history."""
        if self.c.model.remembers != NULL:
            return self.c.model.remembers(self.c.params) != 0
        return self.c.model.memory_size != 0

    @property
    def shown(self):
        """For the hart: a capsule of `timing_pipeline` that lives as long as this object."""
        return PyCapsule_New(&self.c.shown, "rvsim.timing.pipeline", NULL)

    def state(self):
        """For snapshots: cycles, the model's state, what depends on addresses."""
        return {
            "cycles": self.c.shown.cycles,
            "pipeline": (<char *>self.c.state)[: self.c.model.state_size],
            "contents": (<char *>self.c.contents)[: self.c.model.memory_size] if self.c.contents != NULL else b"",
        }

    def restore(self, state):
        """Go back to a `state`.

        Raises
        ------
        KeyError, TypeError, ValueError, OverflowError
            It is not one of such a pipeline; nothing has changed.
        """
        cdef bytes pipeline = state["pipeline"], contents = state["contents"]
        cdef uint64_t cycles = state["cycles"]
        if <size_t>len(pipeline) != self.c.model.state_size or <size_t>len(contents) != self.c.model.memory_size:
            raise ValueError("the state is of another pipeline")
        if not self.c.model.sound(<const char *>pipeline):
            raise ValueError("the pipeline's state is damaged")
        memcpy(self.c.state, <const char *>pipeline, len(pipeline))
        if len(contents):
            memcpy(self.c.contents, <const char *>contents, len(contents))
        self.c.shown.cycles = cycles

    def run(self, const uint8_t[::1] records not None):
        """Show it `record`s (an operation, and what retired).

        Returns
        -------
        list of (cycle of retirement, cycle in which the bus sees it)
            Of each; the second of a store.
        """
        cdef const record *r
        cdef timing_report report
        cdef Py_ssize_t n, count = records.shape[0] // <Py_ssize_t>sizeof(record)
        cdef uint64_t before
        report.staged = 0
        result = []
        if not count:
            return result
        r = <const record *>&records[0]
        for n in range(count):
            before = self.c.shown.cycles
            core_step(&self.c.shown, &r[n].op, &r[n].r, &report)
            result.append((self.c.shown.cycles, <long long>before + report.seen))
        return result

    def expect(self, const uint8_t[::1] places not None, const uint8_t[::1] outcomes not None, bytes loops, bytes members, starts, watched=(), uint64_t work=WORK):
        """What a counted run costs (flow.h). The pipeline itself stays where it is.

        Parameters
        ----------
        places, outcomes : bytes
            `flow_place`s in the order of their addresses, and their `flow_outcome`s.
        loops, members : bytes
            `flow_loop`s, inner ones first, and the numbers of their places, each an uint32.
        starts : list of (place, state, weight)
            Where the run begins: a number of a place, a state that `expect` gave (None: that after reset), and how often.
        watched : sequence of int
            Places of which the states are wanted.
        work : int
            Steps that may be taken to find the states, and again to solve for them.

        Returns
        -------
        costs : list of (cycles, cycle on the bus, lost cycles by cause)
            Of each place, expected: of all times it was reached; of one; of all.
        states : list of list of (state, share)
            Of the watched ones.
        effort : dict of str to int
            Numbers of `states`, `nodes` and `sweeps`, whether they `settled`, and whether `work` was too little (`cut`).

        Raises
        ------
        MemoryError
            The host has no room for the states.
        """
        cdef flow f
        cdef flow_start *begin = NULL
        cdef const flow_place *place
        cdef const flow_outcome *outcome
        cdef const flow_loop *loop
        cdef const uint32_t *member
        cdef flow_node *node
        cdef bytes state
        cdef uint32_t i, k, n, count = <uint32_t>(places.shape[0] // sizeof(flow_place))
        cdef uint32_t outcome_count = <uint32_t>(outcomes.shape[0] // sizeof(flow_outcome)), start_count = len(starts)
        cdef double lost[10]
        cdef double cycles, seen, weight
        if not count or not outcome_count or not start_count:
            return [], [[] for _ in watched], {"states": 0, "nodes": 0, "sweeps": 0, "settled": 1, "cut": 0}
        place, outcome = <const flow_place *>&places[0], <const flow_outcome *>&outcomes[0]
        for i in range(count):
            if <uint64_t>place[i].first + place[i].count > outcome_count:
                raise ValueError(f"place {i}: its outcomes are not there")
        for i in range(outcome_count):
            if outcome[i].next != FLOW_NOWHERE and outcome[i].next >= count:
                raise ValueError(f"outcome {i}: expected a number of a place, found {outcome[i].next}")
        loop, member = <const flow_loop *><const char *>loops, <const uint32_t *><const char *>members
        for i in range(<uint32_t>(len(loops) // sizeof(flow_loop))):
            if <uint64_t>loop[i].first + loop[i].count > <uint64_t>len(members) // 4:
                raise ValueError(f"loop {i}: its members are not there")
        for i in range(<uint32_t>(len(members) // 4)):
            if member[i] >= count:
                raise ValueError(f"member {i}: expected a number of a place, found {member[i]}")
        memset(&f, 0, sizeof(f))
        f.loops, f.members, f.loop_count = loop, member, <uint32_t>(len(loops) // sizeof(flow_loop))
        f.model, f.contents, f.params, f.memory = self.c.model, self.c.contents, self.c.params, &self.c.memory
        f.places, f.outcomes, f.place_count = place, outcome, count
        try:
            begin = <flow_start *>calloc(start_count, sizeof(flow_start))
            if begin == NULL:
                raise MemoryError
            for i, (number, given, weight) in enumerate(starts):
                if not 0 <= number < count:
                    raise ValueError(f"start {i}: expected a number of a place, found {number}")
                state = (<char *>self.c.state)[: self.c.model.state_size] if given is None else given
                if <size_t>len(state) != self.c.model.state_size or not self.c.model.sound(<const char *>state):
                    raise ValueError("the state is of another pipeline")
                begin[i].place, begin[i].weight = number, weight
                begin[i].state = flow_intern(&f, <const char *>state)
                if begin[i].state == FLOW_NOWHERE:
                    raise MemoryError
            if not flow_solve(&f, begin, start_count, work):
                raise MemoryError("no room for the states of the pipeline")
            costs = []
            for i in range(count):
                cycles = seen = weight = 0
                memset(lost, 0, sizeof(lost))
                n = f.of_place[i]
                while n != FLOW_NOWHERE:
                    node = &f.nodes[n]
                    cycles += node.weight * node.cycles
                    seen += node.weight * node.seen
                    weight += node.weight
                    for k in range(CAUSES):
                        lost[k] += node.weight * node.lost[k]
                    n = node.sibling
                costs.append((cycles, seen / weight if weight else 0.0, [lost[k] for k in range(CAUSES)]))
            states = []
            for i in watched:
                found, weight = [], 0
                n = f.of_place[i]
                while n != FLOW_NOWHERE:
                    node = &f.nodes[n]
                    if node.weight:
                        found.append(((<char *>(f.states + node.state * self.c.model.state_size))[: self.c.model.state_size], node.weight))
                        weight += node.weight
                    n = node.sibling
                states.append([(each, share / weight) for each, share in found])
            return costs, states, {"states": f.state_count, "nodes": f.node_count, "sweeps": f.sweeps, "settled": f.settled, "cut": f.cut}
        finally:
            free(begin)
            flow_free(&f)
