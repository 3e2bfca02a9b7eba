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
    const timing_model timing_models[]

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
        uint32_t cycles = c->model->step(c->state, c->contents, c->params, &c->memory, op, r, out);
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
