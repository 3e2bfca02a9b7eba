# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The hart: basic blocks predecoded and run, memory, and exact counts of everything that happens.

Counting costs nothing per instruction. A block counts how often it is entered and how often its branch is taken; what leaves a block
in its middle (a trap, a store into code) counts one exit at that instruction. Executions of instruction i of a block are therefore
``count - sum(exits[:i + 1])``, and every total is a sum over blocks.

A load or store keeps a window: the address interval (a data symbol, or what lies between two) that it hit last. Inside it an access
is one comparison, and the interval's counters are brought up to date only when the window moves on or somebody asks.
"""

from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset


cdef extern from "hart.h":
    ctypedef void *loop_function
    enum:
        BLOCK_LIMIT
    struct decoded:
        uint16_t handler, instruction
        uint8_t size
        uint8_t r[4]
        uint32_t k[2]
    struct insn:
        const void *handler
        uint8_t r[4]
        uint32_t k[2]
        uint32_t units
        uint8_t *host
    struct meta:
        uint32_t word
        uint16_t instruction, offset, cost, handler, frozen
        int32_t interval
        uint64_t base, misaligned
    struct flow_row:
        uint32_t pc, word
        uint16_t instruction, size, following, spare
        uint64_t executed, taken, entered, misaligned
    struct block:
        const void *start
        const void *predicated
        uint32_t pc, end, count_n, cycles
        uint64_t charge
        uint64_t count, taken, entered, misaligned, straddled, straddled_from
        block *next
        block *target
        meta *meta
        uint64_t *exits
        block *hash_next
        uint8_t straddles, target_straddles, dead, listed, divides, rd, unwanted
        uint32_t traces
        const void *compiled
        const void *chain
        loop_function loop
        uint8_t hwloop
        uint64_t looped, loop_ask
        uint32_t loop_skip, loop_skips
        const uint32_t *recent
        uint32_t key
        missed *sites
        uint64_t *elsewhere
        timing_op *ops
        uint64_t *lost
        void *allocation
        insn *code
    struct recent:
        uint32_t lines[2][4096]
        uint64_t used[4096]
    struct cache:
        uint32_t set_count, ways, line_shift, policy, back, allocate, timed, ranked
        uint32_t refill_cycles, writeback_cycles, write_cycles, random
        uint32_t *lines
        uint64_t *tree
        uint64_t clock
        recent *recent
        uint64_t misses[2]
        uint64_t refills, evictions, write_backs, passed_stores, stall_cycles
    struct reuse:
        uint32_t levels, line_shift, last
        uint32_t ways[20]
        uint64_t places[20][65]
        recent recent
    struct missed:
        uint64_t misses[3]
        uint64_t cycles
    struct member:
        block *block
    struct site:
        uint32_t base, units
        uint8_t *host
        uint64_t n, hits, since
        int32_t interval
        uint32_t index
        member *member
        insn *in_ "in"
    struct trace:
        block *block
        uint8_t *code
        uint8_t *end
        uint8_t *cold
        uint8_t *cold_end
    struct routine:
        uint32_t count
        uint16_t custom
        uint8_t jumps, accesses, window, stores, computes, loops
        char *steps
    struct hwloop:
        uint32_t start, end, count, ahead
    struct jit:
        trace **list
        int count
        int again
        uint64_t nanoseconds, rebuilds
    struct hart:
        uint32_t x[32]
        uint32_t pc
        uint64_t fuel
        block *from_ "from"
        uint32_t edge, index, irq, cause, tval
        uint32_t reg_RESERVATION
        block *jump[4096]
        int (*load)(hart *, block *, insn *, uint32_t, int, uint32_t *) noexcept nogil
        int (*store)(hart *, block *, insn *, uint32_t, int, uint32_t) noexcept nogil
        int (*csr)(hart *, block *, insn *, uint32_t, int, uint32_t *) noexcept nogil
        int (*custom)(hart *, block *, insn *) noexcept nogil
        int (*plain)(hart *, block *, insn *, uint32_t, int, int, uint32_t *) noexcept nogil
        int (*probe)(hart *, uint32_t) noexcept nogil
        uint32_t (*leave)(hart *) noexcept nogil
        routine **routines
        uint64_t *own
        hwloop hwloop[4]
        uint32_t hwloops, hwloop_mask
        uint32_t hwloop_last[256]
        int (*hwloop_new)(hart *, uint32_t) noexcept nogil
        void *self
        jit *jit
        site *native_site
        void (*credit)(hart *, site *) noexcept nogil
        void (*adopt)(hart *, site *) noexcept nogil
        cache *dcache
        cache *icache
        reuse *data_reuse
        reuse *fetch_reuse
        recent *data_recent
        uint32_t data_shift, data_mask
        uint64_t granted
        recent data_lines, fetch_lines
        timed *timed
        uint64_t split[3]
        void (*data)(hart *, block *, insn *, uint32_t, uint32_t, int) noexcept nogil
        void (*fetch)(hart *, block *) noexcept nogil
        void (*fence_i)(hart *, block *, insn *) noexcept nogil
    int EXIT_LOOKUP, EXIT_FUEL, EXIT_TRAP, EXIT_SYSTEM, EXIT_WAIT, EXIT_MODIFIED, EXIT_BREAK
    int EDGE_NONE, EDGE_NEXT, EDGE_TAKEN, EDGE_INDIRECT
    int JUMP_CACHE, NO_INSTRUCTION, NO_HANDLER, DIVIDE_BUCKETS
    uint64_t EXHAUSTED, SLACK
    int CUSTOM_LEAVES, CUSTOM_JUMPS
    int HWLOOPS, HWLOOP_KNOWN, HWLOOP_MARKED, HWLOOP_INLINE, HANDLER_HWLOOP
    uint32_t hwloop_next(hart *, uint32_t, uint32_t) nogil
    int HANDLER_END, HANDLER_ILLEGAL, HANDLER_FETCH_FAULT, HANDLER_CUSTOM, HANDLER_CUSTOM_END, HANDLER_ROUTINE, HANDLER_ROUTINE_JUMP, HANDLER_BREAK
    int INSTRUCTION_COUNT
    const void **handler_address
    const void **cached_handler_address
    struct fusion:
        const void **over
        const void **predicated
    fusion fused_address, cached_fused_address
    uint16_t *handler_over
    void fuse(insn *, const int *, int, const fusion *) nogil
    uint8_t *handler_ends
    int decode(uint32_t, uint32_t, int, decoded *) nogil
    int hart_run(hart *, block *) nogil
    jit *jit_new(hart *, uint32_t) nogil
    int hart_run_cached(hart *, block *) nogil
    int RECENT, CACHE_LRU, CACHE_PLRU, CACHE_RANDOM
    const uint32_t no_key
    cache *cache_new(uint32_t, uint32_t, uint32_t) nogil
    void cache_free(cache *) nogil
    void cache_invalidate(cache *) nogil
    uint64_t cache_clean(cache *) nogil
    uint32_t cache_access(cache *, uint32_t, int, uint64_t, int *) nogil
    void cache_rank(cache *, uint64_t) nogil
    bint cache_shifts(const cache *) nogil
    void cache_shift(cache *, uint64_t) nogil
    void cache_forget_recent(cache *) nogil
    void cache_move_recent(cache *, recent *) nogil
    int REUSE_LEVELS, REUSE_WAYS
    reuse *reuse_new(uint32_t, uint32_t, uint32_t) nogil
    void reuse_free(reuse *) nogil
    void reuse_access(reuse *, uint32_t) nogil
    void reuse_data(hart *, block *, insn *, uint32_t, uint32_t, int) noexcept nogil
    void reuse_fetch(hart *, block *) noexcept nogil
    void reuse_fence_i(hart *, block *, insn *) noexcept nogil
    void timed_data(hart *, block *, insn *, uint32_t, uint32_t, int) noexcept nogil
    void timed_fetch(hart *, block *) noexcept nogil
    void timed_fence_i(hart *, block *, insn *) noexcept nogil
    void timed_tell(hart *, uint32_t, uint32_t, int) noexcept nogil
    void cached_data(hart *, block *, insn *, uint32_t, uint32_t, int) noexcept nogil
    void cached_fetch(hart *, block *) noexcept nogil
    void cached_fence_i(hart *, block *, insn *) noexcept nogil
    void jit_free(jit *) nogil
    int jit_drop(jit *) nogil
    int jit_compile_hot(jit *, block **, int, uint64_t) nogil
    int jit_splits(block *) nogil
    void jit_fold(jit *) nogil
    void jit_credit(jit *) nogil
    void jit_close_stores(jit *) nogil
    const void *jit_uncompiled(jit *) nogil
    int LOOP_TEXT, HANDLER_LOOP
    int loop_text(block *, int, char *) nogil
    loop_function loop_open(const char *) nogil

cdef extern from "../timing/exact/pipeline.h":
    enum:
        K_ECALL, CAUSES, C_OTHER, NO_STAGE
    ctypedef struct timing_op:
        uint8_t kind, size
    ctypedef struct retired:
        uint32_t pc, next_pc
        uint8_t next_size
    ctypedef struct timing_report:
        uint32_t lost[10]
        int seen, staged
    ctypedef struct timing_memory:
        const timing_op *(*at)(void *, uint32_t) noexcept
        void *code
    ctypedef struct timing_pipeline:
        uint64_t cycles
        timing_memory *memory
        uint32_t (*step)(timing_pipeline *, const timing_op *, const retired *, timing_report *) noexcept nogil

cdef extern from "cache_port.h":
    ctypedef struct timing_cache:
        int (*wait)(timing_cache *, uint32_t, int) noexcept
    struct cache_port:
        timing_cache shown
        cache *cache
        uint32_t hit_wait
        uint64_t accesses[2]
    int cache_port_wait(timing_cache *, uint32_t, int) noexcept

cdef extern from "timed.h":
    struct timed_record:
        uint64_t before
    struct timed_view:
        int from_ "from"
        int begun, cut
        uint64_t cycle, left
        uint32_t at, until, count
        const long long *stalls
        long long stalled
        int32_t behind
        void (*drain)(hart *) noexcept nogil
        timed_record record[1024]
    void timed_note(hart *, const timing_op *, const retired *, uint32_t, uint32_t, int) nogil
    struct timed:
        timing_pipeline *pipeline
        timed_view *view
        block *block
        uint32_t told
        timing_report report
        void (*describe)(hart *, uint32_t, timing_op *) noexcept
    const timing_op *timed_at(void *, uint32_t) noexcept
    void timed_forget(hart *) noexcept

cdef extern from "commitlog.h":
    enum:
        COMMIT_ACCESSES, COMMIT_CSRS, COMMIT_LINE_MAX
    struct commit_access:
        uint32_t address, value
        uint8_t size, store
    struct commit_csr:
        const char *name
        uint32_t value
        uint16_t number
    struct commit:
        uint32_t pc, word, value
        uint8_t size, rd, accesses, csrs
        commit_access access[2]
        commit_csr csr[8]
    size_t commit_line(char *, const commit *) nogil

hart_run(NULL, NULL)
hart_run_cached(NULL, NULL)

cdef enum:
    HASH_SIZE = 1 << 14
    CACHE_LINE = 64             # of the host, bytes
    ALIAS = 4096                # bytes; hosts take addresses that differ by a multiple for the same at first
    GRANULE = 64                # bytes of memory that share a "holds code" flag
    WINDOW_GRANULES = 64        # how far a store window reaches beside code
    PLACES = 16                 # places of loads, and of stores, by
    PLACE_SHIFT = 12            # these bits of an address
    PERIOD = 1 << 24            # instructions between two looks for signals
    FIRST_PERIOD = 1 << 15      # the same with compiled code: until blocks are compiled first,
    LAST_PERIOD = 1 << 22       # and later, each time twice as long up to this
    HOT = 32                    # entries that make a block worth compiling
    CODE_KIB = 20 << 10         # memory for compiled code in line
    LOOK_UP = 1 << 17           # iterations that make it worth to look whether a loop has been compiled,
    MAKE = 1 << 20              # and to have it compiled,
    WAIT_PERIOD = 1 << 10       # instructions between two looks where tests wait for compilers
    TRIPS = 8                   # if an entry does as many
    MOST_LASTS = 1 << 12        # addresses at which hardware loops' bodies have ended, kept
    CACHE_LIMIT = 1 << 20       # predecoded instructions kept, about 60 MB
    NO_DEADLINE = 0x7fffffff    # cycles until the machine looks anyway
    LINE_TIME_RANGE = 1 << 29   # instructions in which data caches' times cannot come round
    STALE = 256                 # cycles of upper bounds that may pass before they are compared with the exact count
    LOG_ROOM = 1 << 18          # bytes of the commit log that are written at once
    PAGE = 4096                 # bytes of memory that snapshots share
    DEVICE = 8
    READ = 4
    WRITE = 2
    EXECUTE = 1

# How a division's histogram bucket is read back (hart.h, record_divide).
DIVIDE_ZERO_BUCKET = 0

cdef uint64_t LOOP_NEVER = ~<uint64_t>0, LOOP_PENDING = ~<uint64_t>1  # taken branches at which a block asks for its function

cdef struct Region:
    uint32_t base
    uint32_t last               # address of the last byte
    uint8_t *data
    uint8_t *code               # a flag for each granule
    int permissions
    uint64_t fetch_count, fetch_bytes

cdef struct Interval:
    uint32_t low, last
    int region
    int code                    # holds code: stores need care
    int stored                  # some store's window is, or was, on it
    int hooked                  # the machine hears of each store
    uint64_t load_count, load_bytes, store_count, store_bytes

# Where accesses outside their window have lately been, all of whose bytes may be read, or written without a look.
cdef struct Place:
    uint32_t low, last
    int interval
    uint8_t *host               # memory of `low`

# What the timing of an instruction depends on, by number of instruction in the ISA.
cdef struct Kind:
    uint16_t cost
    uint8_t access              # bytes of a load or store, 0 for none
    uint8_t is_store
    uint8_t divide
    uint8_t is_csr
    uint8_t is_branch
    uint8_t enabled             # part of the chosen instruction set

# A debugger's watchpoint, or a rule of physical memory protection.
cdef struct Watch:
    uint32_t low, last
    int kinds                   # READ, WRITE, EXECUTE


class GuestTrap(Exception):
    """A trap raised by a custom instruction's behaviour or the machine's own service."""

    def __init__(self, int irq, cause, tval=0):
        super().__init__(irq, cause, tval)
        self.irq, self.cause, self.tval = irq, cause, tval


cdef inline uint64_t executed(block *b, uint32_t i) noexcept nogil:
    """Times instruction i of a block retired."""
    cdef uint64_t n = b.count
    cdef uint32_t j
    if b.exits != NULL:
        for j in range(i + 1):
            n -= b.exits[j]
    return n


cdef class Cache:
    """One cache without data: which lines it holds, what it counts.

    Parameters
    ----------
    sets, ways, line_bytes : int
        Powers of two but for the ways; what `rvsim.timing.cache` lets through.
    policy : {"lru", "plru", "random"}
    timed : bool
        Callers look for themselves, and say when they used a line.
    back, allocate : bool
        Stores change the line alone; stores that miss fetch it.
    refill_cycles, writeback_cycles, write_cycles : int
        Cycles that a refill, a line written back, a store to memory stall the core.
    seed : int
        Of the policy ``random``.
    """

    cdef cache *c
    cdef object owner  # of the hart's table of keys, if it uses that
    cdef cache_port port

    def __cinit__(self, uint32_t sets, uint32_t ways, uint32_t line_bytes, *, str policy="lru", bint timed=False, bint back=False,
                  bint allocate=False, uint32_t refill_cycles=0, uint32_t writeback_cycles=0, uint32_t write_cycles=0, uint32_t seed=1):
        self.c = cache_new(sets, ways, line_bytes.bit_length() - 1)
        if self.c == NULL:
            raise MemoryError
        self.c.policy = {"lru": CACHE_LRU, "plru": CACHE_PLRU, "random": CACHE_RANDOM}[policy]
        self.c.back, self.c.allocate, self.c.random = back, allocate, seed
        self.c.timed = timed and policy == "lru"
        self.c.refill_cycles, self.c.writeback_cycles, self.c.write_cycles = refill_cycles, writeback_cycles, write_cycles

    def __dealloc__(self):
        cache_free(self.c)

    def shown(self, uint32_t hit_wait):
        """For a pipeline: a capsule of `timing_cache` that lives as long as this object; a hit has so many wait states."""
        self.port.shown.wait, self.port.cache, self.port.hit_wait = cache_port_wait, self.c, hit_wait
        return PyCapsule_New(&self.port.shown, "rvsim.timing.cache", NULL)

    @property
    def accesses(self):
        """Loads and stores of the pipeline that it was `shown` to."""
        return self.port.accesses[0], self.port.accesses[1]

    @accesses.setter
    def accesses(self, pair):
        self.port.accesses[0], self.port.accesses[1] = pair

    def access(self, uint32_t address, bint store=False):
        """Read or write in the line of an address; the cycles that it stalls the core."""
        cdef int missed
        self.c.clock -= 1
        return cache_access(self.c, address >> self.c.line_shift, store, self.c.clock, &missed)

    def quiet(self, uint32_t address, bint store=False):
        """What callers that look for themselves do: whether they find the line, and write down when."""
        cdef uint32_t line = address >> self.c.line_shift
        if self.c.recent.lines[1 if store else 0][line % RECENT] != line:
            return False
        self.c.clock -= 1
        self.c.recent.used[line % RECENT] = self.c.clock
        return True

    def clean(self):
        """Write changed lines back and keep them; the cycles it takes."""
        return cache_clean(self.c)

    def invalidate(self):
        """Forget every line."""
        cache_invalidate(self.c)

    def counts(self):
        """Load misses, store misses, refills, evictions, lines written back, stores passed on, stall cycles."""
        cdef cache *c = self.c
        return c.misses[0], c.misses[1], c.refills, c.evictions, c.write_backs, c.passed_stores, c.stall_cycles

    def state(self):
        """For snapshots: bytes and integers."""
        cdef size_t lines = <size_t>self.c.set_count * self.c.ways * sizeof(uint32_t), tree = self.c.set_count * sizeof(uint64_t)
        cache_rank(self.c, (<Hart>self.owner).line_time() if self.c.timed and self.owner is not None else self.c.clock)
        return {
            "lines": (<char *>self.c.lines)[:lines],
            "tree": (<char *>self.c.tree)[:tree],
            "random": self.c.random,
            "counts": list(self.counts()),
        }

    def restore(self, state):
        """Go back to a `state`.

        Raises
        ------
        KeyError, TypeError, ValueError, OverflowError
            The state is not one of such a cache; nothing has changed.
        """
        cdef cache *c = self.c
        cdef bytes lines = state["lines"], tree = state["tree"]
        cdef uint32_t random = state["random"]
        counts = [check_count(value) for value in state["counts"]]
        if <size_t>len(lines) != <size_t>c.set_count * c.ways * sizeof(uint32_t) or <size_t>len(tree) != c.set_count * sizeof(uint64_t):
            raise ValueError("the state is of another cache")
        if len(counts) != 7:
            raise ValueError("the state's counters are damaged")
        cache_invalidate(c)
        memcpy(c.lines, <const char *>lines, len(lines))
        c.ranked = 1
        memcpy(c.tree, <const char *>tree, len(tree))
        c.random = random
        c.misses[0], c.misses[1], c.refills, c.evictions, c.write_backs, c.passed_stores, c.stall_cycles = counts


cdef class Reuse:
    """Stack distances of one stream of accesses, by lines: misses of LRU caches of every size and associativity.

    Parameters
    ----------
    levels : int
        Of caches of at most 2^(levels - 1) lines; at most 20. So many numbers of sets are looked at: 1, 2, 4, ...
    ways : int
        Most ways, at most 64.
    line_bytes : int
        A power of two.
    """

    cdef reuse *r

    def __cinit__(self, uint32_t levels, uint32_t ways, uint32_t line_bytes):
        if not 1 <= levels <= REUSE_LEVELS or not 1 <= ways <= REUSE_WAYS:
            raise ValueError(f"expected 1 to {REUSE_LEVELS} levels of 1 to {REUSE_WAYS} ways")
        self.r = reuse_new(levels, ways, line_bytes.bit_length() - 1)
        if self.r == NULL:
            raise MemoryError

    def __dealloc__(self):
        reuse_free(self.r)

    def access(self, uint32_t address):
        """Use the line of an address."""
        reuse_access(self.r, address >> self.r.line_shift)

    def misses(self):
        """For each number of sets, for each number of ways from 1 on: accesses that such a cache would miss."""
        cdef uint32_t k, w
        table = []
        for k in range(self.r.levels):
            row, total = [], 0
            for w in range(self.r.ways[k], 0, -1):
                total += self.r.places[k][w]
                row.append(total)
            table.append(row[::-1])
        return table


cdef class Hart:
    """One RV32IMC hart and its memory.

    Parameters
    ----------
    machine : object
        Serves what is not hot: ``csr_read(number)``, ``csr_write(number, value)``, ``custom(index, word, pc)``, ``routine(index, word, pc)``, ``trap_return()``,
        ``attend()``, ``device_load(address, size)``, ``device_store(address, size, value)``, ``hooked_store(address)``.
    kinds : list of tuple
        For each instruction of the ISA (cost in cycles, bytes accessed, is a store, divides, is a CSR access, is a branch, is enabled).
    timing : dict
        The core's other costs, in cycles.
    ialign : int
        Bytes that instructions are aligned to: 2 or 4.
    """

    cdef hart h
    cdef object machine
    cdef Region *regions
    cdef int region_count
    cdef Interval *intervals
    cdef int interval_count
    cdef Kind *kinds
    cdef int kind_count
    cdef block *table[HASH_SIZE]
    cdef block *singles[HASH_SIZE]  # blocks of one instruction, for the last ones before a limit, deadlines and stepping
    cdef block **blocks          # every live block
    cdef int block_count, block_room
    cdef block **dead            # unlinked, to be folded and freed at the next safe point
    cdef int dead_count, dead_room
    cdef block *nowhere          # target of empty jump cache lines: its pc is odd
    cdef int64_t cached          # predecoded instructions alive
    cdef int64_t granted         # instructions allowed so far, of which the upper half of h.fuel are left
    cdef uint32_t slack_given    # cycles in the budget when the exact count was last taken
    cdef int ialign4, worst_divide
    cdef bint stepping           # one instruction at a time, every access seen: watchpoints, commit log
    cdef bint logged
    cdef object log              # takes the commit log's text; None without one
    cdef commit entry            # of the instruction that runs
    cdef list logged_csrs        # keeps the names that `entry` points to
    cdef char *text              # lines not yet written
    cdef size_t text_size
    cdef Watch *rules            # of physical memory protection, in order of priority
    cdef int rule_count
    cdef Watch *watches
    cdef int watch_count
    cdef uint32_t *breakpoints
    cdef int breakpoint_count
    cdef bint watch_hit, watch_store
    cdef uint32_t watch_address
    cdef int taken_cost, straddle_cost, misaligned_cost, trap_cost
    cdef list divide_costs
    cdef dict csr_costs
    cdef list custom             # instructions added at run time: what `add_custom` was given
    cdef int routine_count, routine_room, own_count
    cdef public object pending   # exception raised by a service called from the loop
    cdef public long long stall_cycles
    cdef public long long traps
    cdef long long unretired     # 1 while a CSR access or custom instruction looks at the counters
    cdef block *standing         # then: its block; NULL else
    cdef uint32_t stands_at      # then: its number in it
    cdef block *trapped
    cdef set lasts               # addresses of last instructions of hardware loops' bodies: blocks end behind them
    cdef dict opcodes            # low 7 bits of a word -> numbers of the added instructions it may be
    cdef set joins               # addresses before which blocks end, see split_hammocks
    cdef dict folded             # pc -> [count, cycles, instruction, size] of blocks that are gone
    cdef long long folded_cycles, folded_taken, folded_misaligned
    cdef bint split_misaligned
    cdef int64_t period          # instructions between two looks for signals and blocks to compile
    cdef int64_t last_period
    cdef uint64_t most_cycles    # of an instruction, with exact cycles
    cdef int64_t ranked_at       # instructions granted when the data cache's times last gave way to ranks
    cdef int64_t compile_at      # instructions granted when the next look for blocks to compile is due
    cdef int (*interpret)(hart *, block *) noexcept nogil  # hart_run, or the one that knows caches
    cdef const void **handlers   # and the addresses of its handlers
    cdef const fusion *fused
    cdef bint caching            # caches look at accesses
    cdef readonly Cache icache, dcache
    cdef readonly Reuse fetch_reuse, data_reuse
    cdef int fetch_shift         # log2 of the bytes that no block may leave; 32 where nobody looks at fetches
    cdef uint64_t worst_fetch, worst_access  # cycles that a way into a block, or an instruction with accesses, may wait for caches
    cdef dict folded_lost        # pc -> cycles lost by cause, of blocks that are gone
    cdef timed_view *viewed      # of the pipeline; NULL while nobody has looked
    cdef object view_sink
    cdef dict folded_flow        # (pc, instruction) -> [word, size, executed, taken, entered, misaligned] of blocks that are gone
    cdef dict folded_elsewhere   # (pc, region) -> accesses, of those
    cdef dict folded_divides     # (pc, bucket) -> divisions, of those
    cdef int home                # region of most accesses
    cdef dict folded_sites       # pc -> [fetch, load, store misses, cycles] of blocks that are gone
    cdef uint64_t trapped_fetches  # instructions that were fetched and did not retire
    cdef uint64_t port[2]        # loads and stores of other bus masters, which caches do not see
    cdef Place places[2][16]     # of loads, of stores: what `near` knows
    cdef uint64_t hot
    cdef object loops            # compiled counted loops (rvsim/loops/cache.py); None without
    cdef bint loop_wait          # each loop is compiled when it first comes back to its beginning
    cdef bint loop_look

    def __cinit__(self, machine, kinds, timing, int ialign=2):
        cdef int i
        memset(&self.h, 0, sizeof(hart))
        self.machine = machine
        self.kind_count = len(kinds)
        self.kinds = <Kind *>PyMem_Calloc(max(1, self.kind_count), sizeof(Kind))
        if self.kinds == NULL:
            raise MemoryError
        for i, (cost, access, is_store, divide, is_csr, is_branch, enabled) in enumerate(kinds):
            self.kinds[i] = Kind(cost, access, is_store, divide, is_csr, is_branch, enabled)
        self.ialign4 = ialign == 4
        self.set_costs([kind[0] for kind in kinds], timing)
        self.period = PERIOD
        self.custom = []
        self.folded = {}
        self.joins, self.lasts, self.opcodes = set(), set(), {}
        self.folded_sites = {}
        self.folded_flow, self.folded_elsewhere, self.folded_divides = {}, {}, {}
        self.folded_lost = {}
        self.interpret, self.handlers, self.fused, self.fetch_shift = hart_run, handler_address, &fused_address, 32
        self.forget_places()
        self.nowhere = new_block(0, &self.h)
        self.nowhere.pc = 1
        for i in range(JUMP_CACHE):
            self.h.jump[i] = self.nowhere
        self.h.load = slow_load
        self.h.store = slow_store
        self.h.csr = slow_csr
        self.h.custom = slow_custom
        self.h.plain = slow_plain
        self.h.probe = slow_probe
        self.h.hwloop_new = slow_hwloop_new
        self.h.leave = slow_leave
        self.h.credit = site_credit
        self.h.adopt = site_adopt
        self.h.self = <void *>self

    def set_costs(self, costs, timing):
        """Take cycles from a core's table from here on; there are no blocks.

        Parameters
        ----------
        costs : sequence of int
            Of each instruction of the ISA, by number.
        timing : dict
            Those beyond (`rvsim.machine.costs.hart_costs`).
        """
        cdef int i
        for i in range(self.kind_count):
            self.kinds[i].cost = costs[i]
        self.folded_cycles += self.traps * (self.trap_cost - <int>timing["trap"])
        self.taken_cost, self.straddle_cost = timing["taken"], timing["straddle"]
        self.misaligned_cost, self.trap_cost = timing["misaligned"], timing["trap"]
        self.divide_costs = timing["divide"]
        self.worst_divide = max(self.divide_costs or [0])
        self.csr_costs = timing["csr"]
        self.split_misaligned = timing["split_misaligned"]

    def __dealloc__(self):
        cdef int i
        for i in range(self.block_count):
            free_block(self.blocks[i], self)
        for i in range(self.dead_count):
            free_block(self.dead[i], self)
        PyMem_Free(self.blocks)
        PyMem_Free(self.dead)
        free_block(self.nowhere, self)
        PyMem_Free(self.h.timed)
        PyMem_Free(self.viewed)
        for i in range(self.region_count):
            PyMem_Free(self.regions[i].data)
            PyMem_Free(self.regions[i].code)
        PyMem_Free(self.regions)
        PyMem_Free(self.intervals)
        PyMem_Free(self.kinds)
        PyMem_Free(self.rules)
        PyMem_Free(self.watches)
        PyMem_Free(self.breakpoints)
        PyMem_Free(self.text)
        for i in range(self.routine_count):
            PyMem_Free(self.h.routines[i])
        PyMem_Free(self.h.routines)
        PyMem_Free(self.h.own)
        jit_free(self.h.jit)

    # ------------------------------------------------------------ compiled code
    def use_jit(self, int64_t period=0, uint64_t hot=HOT, uint32_t kib=CODE_KIB):
        """Compile blocks that are entered often; call it before the first instruction.

        Parameters
        ----------
        period : int
            Instructions between two looks for blocks to compile; 0 for a short one first, longer ones later.
        hot : int
            Entries that make a block worth it; 0 to compile each block before it is entered.
        kib : int
            Memory for code in line, in KiB, 512 or more; as much again is taken for code out of line, and more for its data.

        Returns
        -------
        bool
            False where the host's processor or kernel does not allow it: the interpreter does everything.
        """
        if self.h.jit == NULL:
            self.h.jit = jit_new(&self.h, kib)
        if self.h.jit != NULL:
            self.last_period = max(<int64_t>2 * BLOCK_LIMIT, period) if period else LAST_PERIOD
            self.period, self.hot = min(<int64_t>FIRST_PERIOD, self.last_period), hot
            self.compile_at = self.granted + self.period
        return self.h.jit != NULL

    def compiled(self):
        """Address of the first block of each piece of compiled code, and its bytes: of each trace what is in line, and what is not."""
        cdef int i
        cdef trace *t
        rows = []
        for i in range(self.h.jit.count if self.h.jit != NULL else 0):
            t = self.h.jit.list[i]
            rows.append((t.block.pc, (<char *>t.code)[:t.end - t.code]))
            rows.append((t.block.pc, (<char *>t.cold)[:t.cold_end - t.cold]))
        return rows

    @property
    def compile_seconds(self):
        """Time spent compiling, in seconds of the host."""
        return self.h.jit.nanoseconds / 1e9 if self.h.jit != NULL else 0.0

    @property
    def rebuilds(self):
        """How often all compiled code was given up and made anew."""
        return self.h.jit.rebuilds if self.h.jit != NULL else 0

    cdef int compile_hot(self) except -1:
        """Compile what has become hot; rules of protection and watched instructions are the interpreter's."""
        if self.h.jit == NULL or self.fetch_reuse is not None or self.stepping or self.rule_count or self.granted < self.compile_at and self.hot:
            return 0
        if not jit_compile_hot(self.h.jit, self.blocks, self.block_count, self.hot):
            raise MemoryError("the host refuses to change compiled code; --engine interp runs without")
        self.period = min(2 * self.period, self.last_period)
        self.compile_at = self.granted + self.period
        return 0

    cdef int split_hammocks(self) except -1:
        """End the blocks that branches jump over where those branches lead to, so that compiled code can do without the jump."""
        cdef int i
        cdef bint some = False
        if self.h.jit == NULL or self.stepping or self.rule_count or self.breakpoint_count:
            return 0
        jit_fold(self.h.jit)
        for i in range(self.block_count):
            if jit_splits(self.blocks[i]):
                self.joins.add(self.blocks[i].target.pc)
                self.blocks[i].next.dead = 1
                some = True
        if some:
            self.h.jit.again = 1
            self.bury()

    # ------------------------------------------------------------ counted loops
    def use_loops(self, bint wait=False):
        """Have counted loops done by compiled functions where there is a compiler; call it before the first instruction.

        Parameters
        ----------
        wait : bool
            Wait for the compiler, and compile every loop, however rare: for tests.
        """
        self.loop_look = True
        self.loop_wait = wait
        if wait:
            self.period = min(self.period, <int64_t>WAIT_PERIOD)
            self.last_period = self.period

    def loop_counts(self):
        """Address of each block done by a compiled function, and how many iterations that did; counted where `use_loops` waits."""
        cdef int i
        return [(self.blocks[i].pc, self.blocks[i].looped) for i in range(self.block_count) if self.blocks[i].loop != NULL]

    cdef int find_loops(self) except -1:
        """Attach compiled functions to the loops that have become hot."""
        cdef int i
        cdef block *b
        cdef bint ended, some = False
        if not self.loop_look or self.caching or self.stepping or self.rule_count:
            return 0
        jit_fold(self.h.jit)
        ended = self.loops is not None and self.loops.children and self.loops.poll()
        for i in range(self.block_count):
            b = self.blocks[i]
            if b.target == b and not b.hwloop and b.loop == NULL and b.listed == 1 and not b.dead:
                if ended and b.loop_ask == LOOP_PENDING or b.taken >= max(b.loop_ask, 1 if self.loop_wait else <uint64_t>LOOK_UP):
                    if self.loop_wait or b.taken >= TRIPS * (b.count - b.taken):
                        some |= self.find_loop(b)
        if some:
            self.bury()
        return 0

    cdef int find_loop(self, block *b) except -1:
        """Attach a loop's function, or have it made; whether blocks have died that ran into the loop: its first iteration is no part of theirs."""
        cdef int i
        cdef bint some = False
        cdef char text[1 << 15]
        cdef bint make = self.loop_wait or b.taken >= MAKE
        b.loop_ask = LOOP_NEVER
        if not loop_text(b, self.loop_wait, text):
            return 0
        if self.loops is None:
            from rvsim.loops.cache import Loops

            self.loops = Loops(self.loop_wait)
        description = text.decode()
        path = self.loops.find(description, make)
        if path is None:
            b.loop_ask = LOOP_PENDING if make else MAKE
        elif path:
            b.loop = loop_open(path.encode("utf-8", "surrogateescape"))
            if b.loop != NULL:
                if b.compiled == NULL:
                    b.start = handler_address[HANDLER_LOOP]
                if self.h.jit != NULL:  # traces call it from now on
                    self.h.jit.again = 1
                self.joins.add(b.pc)
                for i in range(self.block_count):
                    if self.blocks[i].pc < b.pc < self.blocks[i].end and self.blocks[i].listed == 1:
                        self.blocks[i].dead = some = True
        return some

    cdef int drop_compiled(self) except -1:
        """Let no jump lead to compiled code that is to go."""
        if self.h.jit != NULL and not jit_drop(self.h.jit):
            self.pending = MemoryError("the host refuses to change compiled code; --engine interp runs without")
        return 0

    # ------------------------------------------------------------ caches
    def use_caches(self, Cache icache, Cache dcache):
        """Let caches look at fetches and at data accesses to memory; call it before the first instruction.

        Parameters
        ----------
        icache, dcache : Cache or None
            The second with `timed`.
        """
        self.caching = icache is not None or dcache is not None
        if not self.caching:
            return
        self.icache, self.dcache = icache, dcache
        self.interpret, self.handlers, self.fused = hart_run_cached, cached_handler_address, &cached_fused_address
        self.h.data, self.h.fetch, self.h.fence_i = cached_data, cached_fetch, cached_fence_i
        self.h.data_recent = &self.h.data_lines
        if dcache is not None:
            dcache.owner = self
            cache_move_recent(dcache.c, &self.h.data_lines)
            self.h.dcache = dcache.c
            self.h.data_shift, self.h.data_mask = dcache.c.line_shift, 0xffffffff
            # A misaligned access is two, an atomic operation too.
            self.worst_access = 2 * (<uint64_t>dcache.c.refill_cycles + dcache.c.writeback_cycles + dcache.c.write_cycles)
        if icache is not None:
            icache.owner = self
            cache_move_recent(icache.c, &self.h.fetch_lines)
            self.h.icache = icache.c
            self.fetch_shift = icache.c.line_shift
            self.worst_fetch = 2 * <uint64_t>icache.c.refill_cycles

    def use_reuse(self, Reuse fetch, Reuse data):
        """Take the stack distances of fetches and of data accesses, instead of caches; call it before the first instruction."""
        if self.caching:
            raise ValueError("the core has caches")
        self.caching = True
        self.fetch_reuse, self.data_reuse = fetch, data
        self.interpret, self.handlers, self.fused = hart_run_cached, cached_handler_address, &cached_fused_address
        self.h.data, self.h.fetch, self.h.fence_i = reuse_data, reuse_fetch, reuse_fence_i
        self.h.data_reuse, self.h.fetch_reuse, self.h.data_mask = data.r, fetch.r, 0xffffffff
        self.h.data_recent, self.h.data_shift = &data.r.recent, data.r.line_shift
        self.fetch_shift = fetch.r.line_shift

    def use_pipeline(self, shown, uint32_t most):
        """Show a core's pipeline what retires, and take its cycles; call it before the first instruction.

        Parameters
        ----------
        shown : capsule
            `rvsim.timing._exact.Pipeline.shown`; the pipeline has to live as long as this object.
        most : int
            Cycles that no instruction takes more than.
        """
        if self.caching:
            raise ValueError("the core has caches")
        self.h.timed = <timed *>PyMem_Calloc(1, sizeof(timed))
        if self.h.timed == NULL:
            raise MemoryError
        self.h.timed.pipeline = <timing_pipeline *>PyCapsule_GetPointer(shown, "rvsim.timing.pipeline")
        self.h.timed.describe = describe_at
        self.h.timed.pipeline.memory.at, self.h.timed.pipeline.memory.code = timed_at, &self.h
        self.caching = True
        self.interpret, self.handlers, self.fused = hart_run_cached, cached_handler_address, &cached_fused_address
        self.h.data, self.h.fetch, self.h.fence_i = timed_data, timed_fetch, timed_fence_i
        self.h.data_recent, self.h.data_shift, self.h.data_mask = &self.h.data_lines, 2, 0xffffffff
        memset(&self.h.data_lines, 0xff, sizeof(self.h.data_lines))
        self.most_cycles = most

    def view_pipeline(self, sink, int begin=0, uint64_t cycle=0, uint32_t at=0, uint32_t until=0, uint64_t most=0):
        """Note what goes through the pipeline from here on.

        Parameters
        ----------
        sink : callable or None
            Takes pieces of bytes, `timed_record` after `timed_record`; None ends it.
        begin : int
            Where it begins: 0 at once, 1 with the first retirement in `cycle` or later, 2 with a store to `at` (and ends with one to
            `until`, up to the next to `at`), 3 with the instruction at `at`.
        most : int
            Instructions, all together.

        Returns
        -------
        bool
            Whether what ends here left out instructions beyond its `most`.
        """
        cdef bint cut = False
        if self.h.timed == NULL:
            raise ValueError("there is no pipeline to look at")
        if self.viewed != NULL:
            self.flush_view()
            cut = self.viewed.cut
        self.h.timed.view, self.h.timed.report.staged, self.view_sink = NULL, 0, sink
        if sink is None:
            return cut
        if self.viewed == NULL:
            self.viewed = <timed_view *>PyMem_Calloc(1, sizeof(timed_view))
            if self.viewed == NULL:
                raise MemoryError
        self.viewed.begun = self.viewed.cut = self.viewed.count = 0
        self.viewed.from_ = begin
        self.viewed.cycle, self.viewed.at, self.viewed.until, self.viewed.left = cycle, at, until, most
        self.viewed.stalls, self.viewed.stalled, self.viewed.drain = &self.stall_cycles, self.stall_cycles, drain_view
        self.viewed.behind = NO_STAGE if self.h.timed.pipeline.cycles else 0  # fetching begins with cycle 0
        self.h.timed.view, self.h.timed.report.staged = self.viewed, 1
        return cut

    def flush_view(self):
        """Hand over what went through the pipeline and is still held."""
        if self.viewed != NULL and self.viewed.count:
            noted = (<char *>self.viewed.record)[: self.viewed.count * sizeof(timed_record)]
            self.viewed.count = 0
            self.view_sink(noted)

    def drop_pipeline(self):
        """Tell the pipeline no more, between two runs: what it counted stays counted."""
        self.flush()
        self.folded_cycles += self.h.timed.pipeline.cycles
        PyMem_Free(self.h.timed)
        self.h.timed = NULL
        self.caching, self.most_cycles = False, 0
        self.interpret, self.handlers, self.fused = hart_run, handler_address, &fused_address
        self.h.data, self.h.fetch, self.h.fence_i = NULL, NULL, NULL
        self.h.data_recent, self.h.data_shift, self.h.data_mask = NULL, 0, 0

    cdef int operations(self, block *b) except -1:
        """What the pipeline sees of a block's instructions."""
        cdef uint32_t i, at, following
        cdef Region *r
        for i in range(b.count_n):
            at = b.pc + b.meta[i + 1].offset if i + 1 < b.count_n else b.end
            following = self.following(at)
            described = <bytes>self.machine.operation(b.meta[i].instruction, b.meta[i].word, following)
            memcpy(&b.ops[i], <const char *>described, sizeof(timing_op))
        return 0

    cdef uint32_t following(self, uint32_t at) noexcept nogil:
        """Whether 32-bit instructions would begin at an address (bit 0) and in the half-word behind it (bit 1)."""
        return <uint32_t>((self.half_word(at) & 3) == 3) | <uint32_t>((self.half_word(at + 2) & 3) == 3) << 1

    cdef uint32_t half_word(self, uint32_t at) noexcept nogil:
        """Two bytes of memory, 0 where there is none."""
        cdef uint16_t half = 0
        cdef Region *r = self.region(at)
        if r != NULL and r.data != NULL and r.last - at >= 1:
            memcpy(&half, r.data + (at - r.base), 2)
        return half

    cdef void tell(self, uint32_t to, uint32_t next_pc) noexcept nogil:
        """Tell the pipeline what has retired: of the block it is in, the instructions before one."""
        if self.h.timed != NULL and self.h.timed.block != NULL:
            timed_tell(&self.h, min(to, self.h.timed.block.count_n), next_pc, 4 if self.half_word(next_pc) & 3 == 3 else 2)
            self.h.timed.block = NULL

    def lost(self):
        """With exact cycles: by address of an instruction, the cycles it lost by each cause (enum timing_cause)."""
        cdef int i
        cdef uint32_t j
        cdef block *b
        self.fold_dead()
        all = {pc: list(entry) for pc, entry in self.folded_lost.items()}
        for i in range(self.block_count):
            b = self.blocks[i]
            for j in range(b.count_n if b.lost != NULL else 0):
                add_lost(all, b.pc + b.meta[j].offset, &b.lost[j * CAUSES])
        return all

    def restore_lost(self, rows):
        """Go back to what `lost` gave, behind `restore`.

        Raises
        ------
        TypeError, ValueError, OverflowError
            They are none; nothing has changed.
        """
        all = {int(pc) & 0xffffffff: [check_count(value) for value in entry] for pc, *entry in rows}
        if any(len(entry) != CAUSES for entry in all.values()):
            raise ValueError("the state's lost cycles are damaged")
        self.folded_lost = all

    def redirected(self, uint32_t pc, uint32_t target):
        """A trap, or an interrupt, before the instruction at `pc`; the cycles it takes."""
        cdef uint32_t word = self.half_word(pc)
        return self.system(pc, target, word | self.half_word(pc + 2) << 16 if word & 3 == 3 else word, False)

    def lose(self, uint32_t pc, int cause, uint64_t cycles):
        """With exact cycles: an instruction lost some in which the whole pipeline stood still."""
        cdef uint64_t lost[10]
        memset(lost, 0, sizeof(lost))
        lost[cause] = cycles
        add_lost(self.folded_lost, pc, lost)

    cdef uint32_t system(self, uint32_t pc, uint32_t target, uint32_t word, bint retires) except? 0xdead:
        """What goes on at `target` behind an instruction of the system, or without it having retired; the cycles it takes."""
        cdef timing_op op
        cdef retired r
        cdef uint64_t lost[10]
        cdef uint32_t cycles
        cdef int cause
        if self.h.timed == NULL:
            return 0
        memset(&op, 0, sizeof(op))
        memset(&r, 0, sizeof(r))
        op.kind, op.size = K_ECALL, 4
        r.pc, r.next_pc, r.next_size = pc, target, 4 if self.half_word(target) & 3 == 3 else 2
        cycles = self.h.timed.pipeline.step(self.h.timed.pipeline, &op, &r, &self.h.timed.report)
        for cause in range(CAUSES):
            lost[cause] = self.h.timed.report.lost[cause]
        lost[C_OTHER] += not retires
        add_lost(self.folded_lost, pc, lost)
        if self.h.timed.view != NULL:
            timed_note(&self.h, &op, &r, word, cycles, retires)
        return cycles

    def stamp(self):
        """The cycle in which the store that a device is told of is seen on the bus."""
        cdef uint32_t after, i = self.stands_at
        cdef uint64_t before
        if self.h.timed == NULL or self.standing == NULL or self.h.timed.block == NULL:
            return self.cycles
        after = self.standing.pc + self.standing.meta[i + 1].offset if i + 1 < self.standing.count_n else self.standing.end
        timed_tell(&self.h, i, self.standing.pc + self.standing.meta[i].offset, self.standing.ops[i].size)
        before = self.h.timed.pipeline.cycles
        timed_tell(&self.h, i + 1, after, 4 if self.half_word(after) & 3 == 3 else 2)
        return <int64_t>before + self.h.timed.report.seen + self.stall_cycles

    @property
    def stands(self):
        """Within an access to a device or a CSR: address of that instruction; else of the next."""
        return self.h.pc if self.standing == NULL else self.standing.pc + self.standing.meta[self.stands_at].offset

    def fence_i(self):
        """What fence.i does to caches, for an instruction of `machine.custom`."""
        if self.caching and self.standing != NULL:
            self.h.fence_i(&self.h, self.standing, &self.standing.code[self.stands_at])

    def cache_accesses(self):
        """Accesses that caches saw, one for each line they touch: fetches, loads and stores."""
        cdef int i
        loads = stores = 0
        fetch, accesses = self.traffic()
        for i in range(self.interval_count):
            if self.regions[self.intervals[i].region].data != NULL:
                loads += self.intervals[i].load_count
                stores += self.intervals[i].store_count
        fetches = sum(count for count, _ in fetch) + self.trapped_fetches
        return fetches + self.h.split[0], loads - self.port[0] + self.h.split[1], stores - self.port[1] + self.h.split[2]

    cdef uint64_t site_cycles(self, block *b, uint32_t i) noexcept nogil:
        """Cycles that an instruction waited for caches."""
        return b.sites[i].cycles if b.sites != NULL else 0

    def cache_sites(self):
        """By address of an instruction: its misses of fetch, load and store, and the cycles it waited for them."""
        cdef int i, k
        cdef uint32_t j
        cdef block *b
        self.fold_dead()
        sites = {pc: list(entry) for pc, entry in self.folded_sites.items()}
        for i in range(self.block_count):
            b = self.blocks[i]
            for j in range(b.count_n if b.sites != NULL else 0):
                add_site(sites, b.pc + b.meta[j].offset, &b.sites[j])
        return sites

    def cache_state(self):
        """What `state` does not have: counts of accesses and misses by instruction. `state` comes first."""
        return {
            "sites": [[pc, *entry] for pc, entry in sorted(self.folded_sites.items())],
            "counts": [self.h.split[0], self.h.split[1], self.h.split[2], self.trapped_fetches, self.port[0], self.port[1]],
        }

    def cache_restore(self, state):
        """Go back to a `cache_state`, behind `restore`.

        Raises
        ------
        KeyError, TypeError, ValueError, OverflowError
            The state is not one of this machine; nothing has changed.
        """
        sites = {int(pc) & 0xffffffff: [check_count(value) for value in entry] for pc, *entry in state["sites"]}
        counts = [check_count(value) for value in state["counts"]]
        if len(counts) != 6 or any(len(entry) != 4 for entry in sites.values()):
            raise ValueError("the state's counters are damaged")
        self.folded_sites = sites
        self.h.split[0], self.h.split[1], self.h.split[2], self.trapped_fetches, self.port[0], self.port[1] = counts

    # ------------------------------------------------------------ memory
    def map(self, regions, intervals, int home=0):
        """Lay out memory once, before the first instruction.

        Parameters
        ----------
        regions : list of (base, size, permissions)
            Sorted, without overlap; permissions: 8 device (no memory behind it), 4 read, 2 write, 1 execute.
        intervals : list of (low, last, region, hooked)
            Sorted; together they cover every region, none reaches beyond its own. Stores to a hooked one are told to the machine.
        home : int
            Number of the region that most accesses will be in.
        """
        cdef int i
        self.home = home
        if self.regions != NULL:
            raise ValueError("memory is mapped once")
        self.regions = <Region *>PyMem_Calloc(max(1, len(regions)), sizeof(Region))
        self.intervals = <Interval *>PyMem_Calloc(max(1, len(intervals)), sizeof(Interval))
        if self.regions == NULL or self.intervals == NULL:
            raise MemoryError
        for i, (base, size, permissions) in enumerate(regions):
            self.regions[i].base, self.regions[i].last = base, base + size - 1
            self.regions[i].permissions = permissions
            self.region_count = i + 1
            if permissions & DEVICE:
                continue
            # Eight bytes more: a window's last unit may be read with a wider host access in later versions of the loop.
            self.regions[i].data = <uint8_t *>PyMem_Calloc(size + 8, 1)
            self.regions[i].code = <uint8_t *>PyMem_Calloc(size // GRANULE + 2, 1)
            if self.regions[i].data == NULL or self.regions[i].code == NULL:
                raise MemoryError(f"no host memory for a region of {size} bytes")
        for i, (low, last, region, hooked) in enumerate(intervals):
            self.intervals[i].low, self.intervals[i].last, self.intervals[i].region = low, last, region
            self.intervals[i].hooked = hooked
        self.interval_count = len(intervals)

    cdef Region *region(self, uint32_t address) noexcept nogil:
        cdef int i
        for i in range(self.region_count):
            if self.regions[i].base <= address <= self.regions[i].last:
                return &self.regions[i]
        return NULL

    cdef int interval(self, uint32_t address) noexcept nogil:
        """Number of the interval that holds an address; -1 outside memory."""
        cdef int low = 0, high = self.interval_count - 1, middle
        while low <= high:
            middle = (low + high) >> 1
            if address < self.intervals[middle].low:
                high = middle - 1
            elif address > self.intervals[middle].last:
                low = middle + 1
            else:
                return middle
        return -1

    def view(self, uint32_t address, Py_ssize_t size, bint write):
        """Host view of guest memory, or None where it is not within one region that permits it."""
        cdef Region *r = self.region(address)
        if r == NULL or r.data == NULL or size < 1 or size - 1 > r.last - address or not r.permissions & (WRITE if write else READ):
            return None
        if write:
            self.code_written(r, address, size)
        return <uint8_t[:size]>(r.data + (address - r.base))

    def poke(self, uint32_t address, const uint8_t[::1] data):
        """Write guest memory whatever its permissions (loader, host calls); False where it leaves a region."""
        cdef Region *r = self.region(address)
        cdef Py_ssize_t size = data.shape[0]
        if size == 0:
            return True
        if r == NULL or r.data == NULL or size - 1 > r.last - address:
            return False
        self.code_written(r, address, size)
        memcpy(r.data + (address - r.base), &data[0], size)
        return True

    def peek(self, uint32_t address, Py_ssize_t size):
        """Bytes of guest memory whatever its permissions, or None where they leave a region."""
        cdef Region *r = self.region(address)
        if size == 0:
            return b""
        if r == NULL or r.data == NULL or size < 0 or size - 1 > r.last - address:
            return None
        return (<char *>(r.data + (address - r.base)))[:size]

    def count_access(self, uint32_t address, bint store, accesses, size):
        """Add traffic of another bus master to the interval at `address`."""
        cdef int n = self.interval(address)
        if n < 0:
            return
        if self.regions[self.intervals[n].region].data != NULL:
            self.port[1 if store else 0] += accesses
        if store:
            self.intervals[n].store_count += accesses
            self.intervals[n].store_bytes += size
        else:
            self.intervals[n].load_count += accesses
            self.intervals[n].load_bytes += size

    def load(self, uint32_t address, int size):
        """A load of the custom instruction that the machine executes now.

        Raises
        ------
        GuestTrap
            Outside readable memory, or misaligned where the core traps that.
        """
        return self.access_of_custom(address, size, False, 0)

    def store(self, uint32_t address, uint32_t value, int size):
        """A store of the custom instruction that the machine executes now; see `load`."""
        self.access_of_custom(address, size, True, value)

    cdef uint32_t access_of_custom(self, uint32_t address, int size, bint store, uint32_t value) except? 0xdead:
        """The access that a routine of the same instruction would make."""
        cdef block *b = self.standing
        cdef uint32_t i = self.stands_at
        cdef int how
        if b == NULL:
            raise ValueError("no custom instruction is being executed")
        self.stand(b, i, -1)
        how = slow_plain(&self.h, b, b.code + i, address, size, store, &value)
        self.stand(b, i, 1)
        if how == 1:
            raise GuestTrap(self.h.irq, self.h.cause, self.h.tval)
        return value

    # ------------------------------------------------------------ registers
    @property
    def pc(self):
        return self.h.pc

    @pc.setter
    def pc(self, uint32_t value):
        self.h.pc = value

    def register(self, int number):
        """Value of x`number`."""
        return self.h.x[number & 31]

    def forget_reservation(self):
        """A trap ends the reservation of lr.w, as in Spike; the manual leaves it open (unprivileged manual, section 14.2)."""
        self.h.reg_RESERVATION = 0

    def set_register(self, int number, uint32_t value):
        if number & 31:
            self.h.x[number & 31] = value

    # ------------------------------------------------------------ blocks
    def add_custom(self, mask, match, size, ends, jumps, accesses, cost, branch):
        """Let instructions of this encoding be served by ``machine.custom``; they are tried before the built-in ones.

        Parameters
        ----------
        mask, match, size : int
            Which words, of how many bytes.
        ends : bool
            Whether the machine has to look behind it when ``machine.custom`` executes it.
        jumps : bool
            Whether that is only because it may set the pc.
        accesses : int
            To memory, at most.
        cost : int
            In cycles.
        branch : bool
            Whether it is a conditional branch.
        """
        number = len(self.custom)
        self.custom.append((mask, match, size, ends, jumps, accesses, cost, branch))
        for low in range(128):
            if (low ^ match) & mask & 127 == 0:
                self.opcodes.setdefault(low, []).append((mask, match, size, number))

    cdef bint is_branch(self, uint16_t number) except -1:
        if number < self.kind_count:
            return self.kinds[number].is_branch
        return number != NO_INSTRUCTION and self.custom[number - self.kind_count][7]

    def add_hwloops(self, loops, uint32_t alignment):
        """Let hardware loops go round; once, behind `add_own_registers`.

        Parameters
        ----------
        loops : sequence of (start, end, count, ahead)
            Numbers of own registers, and how far before the end the last instruction is; in order of priority.
        alignment : int
            Bytes that instructions are aligned to.
        """
        cdef uint32_t n
        if len(loops) > HWLOOPS:
            raise ValueError(f"expected at most {HWLOOPS} hardware loops, found {len(loops)}")
        for n, (start, end, count, ahead) in enumerate(loops):
            if not all(0 <= each < self.own_count for each in (start, end, count)):
                raise IndexError((start, end, count))
            self.h.hwloop[n] = hwloop(start, end, count, ahead)
        self.h.hwloops, self.h.hwloop_mask = len(loops), 0xffffffff - (alignment - 1)
        self.forget_lasts()

    cdef int forget_lasts(self) except -1:
        """Keep only the ends that are in registers."""
        cdef uint32_t n
        self.lasts.clear()
        for n in range(HWLOOP_KNOWN):
            self.h.hwloop_last[n] = 1
        for n in range(self.h.hwloops):
            self.lasts.add(<uint32_t>(<uint32_t>self.h.own[self.h.hwloop[n].end] - self.h.hwloop[n].ahead))
        return 0

    cdef int add_last(self, uint32_t last) except -1:
        """Let blocks end behind the instruction at an address; whether some have died that did not."""
        cdef int i
        cdef block *b
        cdef bint some = False
        if last not in self.lasts:
            if len(self.lasts) >= MOST_LASTS:
                self.forget_lasts()
            self.lasts.add(last)
            for i in range(self.block_count):
                b = self.blocks[i]
                if b.pc <= last < b.end and not (b.hwloop and b.pc + b.meta[b.count_n - 1].offset == last):
                    b.dead = some = True
            if some:
                self.bury()
        self.h.hwloop_last[(last >> 1) % HWLOOP_KNOWN] = last
        return some

    cdef uint32_t behind_last(self, block *b, uint32_t i) noexcept:
        """Where to go on behind a block's instruction that has gone on in line."""
        cdef uint32_t last = b.pc + b.meta[i].offset
        return hwloop_next(&self.h, last, self.behind(b, i)) if last in self.lasts else self.behind(b, i)

    def add_routine(self, int custom, bytes steps, bint jumps, int accesses, int window, bint stores, bint computes, bint loops):
        """A routine (routine.h) that instructions of the encoding number `custom` may have; its number."""
        cdef routine *p
        cdef int more = max(64, 2 * self.routine_room)
        cdef routine **grown
        if self.routine_count == self.routine_room:
            grown = <routine **>PyMem_Realloc(self.h.routines, more * sizeof(routine *))
            if grown == NULL:
                raise MemoryError
            self.h.routines, self.routine_room = grown, more
        p = <routine *>PyMem_Malloc(sizeof(routine) + len(steps))
        if p == NULL:
            raise MemoryError
        p.count, p.custom, p.jumps, p.accesses = <uint32_t>(len(steps) // 16), custom, jumps, accesses
        p.window, p.stores, p.computes, p.loops = 0 if self.caching else window, stores, computes, loops  # caches see each access
        memcpy(<void *>p.steps, <char *>steps, len(steps))
        self.h.routines[self.routine_count] = p
        self.routine_count += 1
        return self.routine_count - 1

    def add_own_registers(self, list values):
        """Make room for registers of added sets; once, before the first instruction."""
        if self.h.own != NULL:
            raise ValueError("there are registers of added sets already")
        self.h.own = <uint64_t *>PyMem_Calloc(max(1, len(values)), sizeof(uint64_t))
        if self.h.own == NULL:
            raise MemoryError
        self.own_count = len(values)
        for n, value in enumerate(values):
            self.h.own[n] = <uint64_t>(value & 0xffffffffffffffff)

    def own_register(self, int number):
        """Value of a register of the added sets: 64 bits, unsigned."""
        if not 0 <= number < self.own_count:
            raise IndexError(number)
        return self.h.own[number]

    def set_own_register(self, int number, value):
        if not 0 <= number < self.own_count:
            raise IndexError(number)
        self.h.own[number] = <uint64_t>(value & 0xffffffffffffffff)
        for n in range(self.h.hwloops):
            if self.h.hwloop[n].end == <uint32_t>number:
                self.add_last(<uint32_t>self.h.own[number] - self.h.hwloop[n].ahead)

    cdef block **slot(self, bint single, uint32_t pc) noexcept nogil:
        cdef uint32_t n = (pc >> 1) & (HASH_SIZE - 1)
        return &self.singles[n] if single else &self.table[n]

    cdef block *find(self, bint single, uint32_t pc) noexcept nogil:
        cdef block *b = self.slot(single, pc)[0]
        while b != NULL and b.pc != pc:
            b = b.hash_next
        return b

    cdef block *obtain(self, uint32_t pc, bint single) except NULL:
        """The block at `pc`, or that of its first instruction alone; predecoded when it is new."""
        cdef block *b = self.find(single, pc)
        if b == NULL:
            b = self.build(pc, single, BLOCK_LIMIT)
            b.listed = 2 if single else 1
            self.insert(b)
        return b

    cdef const void *skipped(self, uint32_t at, uint32_t target) except? NULL:
        """Where a branch at the end of a block leads over one simple instruction: that one's handler under a condition, else NULL."""
        cdef Region *r = self.region(at)
        cdef uint32_t word = 0
        cdef decoded d
        # Compiled code has its own ways, and wants long blocks.
        if self.h.jit != NULL or self.rule_count or self.custom or target - at != 2 and target - at != 4 or self.is_breakpoint(at):
            return NULL
        if r == NULL or r.data == NULL or not r.permissions & EXECUTE or r.last - at < 3:
            return NULL
        memcpy(&word, r.data + (at - r.base), 4 if target - at == 4 else 2)
        if (word & 3 == 3) != (target - at == 4) or not decode(word, at, self.ialign4, &d) or not self.kinds[d.instruction].enabled:
            return NULL
        return self.fused.predicated[d.handler]

    cdef block *build(self, uint32_t pc, bint single, uint32_t most) except NULL:
        """Predecode the basic block at `pc`, of at most so many instructions.

        It ends before a debugger's breakpoint; one at `pc` itself has a block of its own.
        """
        cdef insn code[BLOCK_LIMIT + 1]
        cdef meta details[BLOCK_LIMIT]
        cdef int which[BLOCK_LIMIT]
        cdef decoded d
        cdef uint32_t n = 0, word, at = pc, room, fault
        cdef Region *r
        cdef block *b
        cdef bint ends = False, stops = False
        cdef bint broken = not single and self.is_breakpoint(pc)
        cdef uint32_t limit = 1 if single or broken else most
        cdef const void *predicated
        cdef block *skipped
        cdef uint64_t worst = self.taken_cost + 2 * self.straddle_cost
        cdef Kind *kind
        cdef int custom, number
        memset(code, 0, sizeof(code))
        memset(details, 0, sizeof(details))
        while n < limit and not ends and not stops:
            which[n] = -1
            if n and not single and (self.is_breakpoint(at) or self.joins and at in self.joins):
                break
            r = self.region(at)
            room = r.last - at + 1 if r != NULL and r.permissions & EXECUTE else 0
            # mtval: the part of the instruction that could not be fetched.
            fault = at if r == NULL or not r.permissions & EXECUTE else r.last + 1
            if self.rule_count and room > 1 and not self.fetchable(r, at, room):
                room = 0
                fault = at + 2 if self.permitted(at, 2, EXECUTE) else at
            if room == 1 or (room == 0 and n):
                if n:
                    break
                room = 0
            if room:
                word = 0
                memcpy(&word, r.data + (at - r.base), 2)
                if word & 3 == 3:
                    if room < 4:
                        if n:
                            break
                        room = 0
                    else:
                        memcpy(&word, r.data + (at - r.base), 4)
            details[n].offset = at - pc
            details[n].interval = -1
            details[n].instruction = NO_INSTRUCTION
            details[n].handler = NO_HANDLER
            if self.fetch_shift < 32 and room and ((at ^ pc) >> self.fetch_shift or (pc ^ (at + (3 if word & 3 == 3 else 1))) >> self.fetch_shift):
                # A block stays in a line of the instruction cache; an instruction in two lines has a block of its own.
                if n:
                    break
                limit = 1
            if room == 0:
                code[n].handler = self.handlers[HANDLER_FETCH_FAULT]
                code[n].k[0] = fault
                n += 1
                at += 2
                break
            details[n].word = word
            custom = self.find_custom(word) if self.custom else -1
            if custom >= 0:
                _, _, size, custom_ends, jumps, accesses, cost, branch = self.custom[custom]
                number = self.machine.routine(custom, word, at)
                if number >= 0:
                    ends = self.h.routines[number].jumps
                    code[n].handler = self.handlers[HANDLER_ROUTINE_JUMP if ends else HANDLER_ROUTINE]
                    code[n].k[0] = number
                    if ends:
                        code[n].k[1] = CUSTOM_JUMPS + branch
                    # Behind it a body may begin, which is a block of its own.
                    stops = self.h.routines[number].loops
                    if self.h.routines[number].computes:
                        code[n].host = <uint8_t *>self.h.routines[number]
                        if not broken:
                            details[n].handler = HANDLER_ROUTINE
                else:
                    ends = custom_ends
                    code[n].handler = self.handlers[HANDLER_CUSTOM_END if ends else HANDLER_CUSTOM]
                    code[n].k[0], code[n].k[1] = custom, (CUSTOM_JUMPS + branch if jumps else CUSTOM_LEAVES)
                details[n].instruction = self.kind_count + custom
                details[n].cost = cost
                worst += <uint64_t>accesses * (self.misaligned_cost + self.worst_access)
                at += size
            elif decode(word, at, self.ialign4, &d) and self.kinds[d.instruction].enabled:
                which[n] = d.handler
                if not broken:
                    details[n].handler = d.handler
                code[n].handler = self.handlers[d.handler]
                memcpy(code[n].r, d.r, 4)
                memcpy(code[n].k, d.k, 8)
                details[n].instruction = d.instruction
                details[n].cost = self.kinds[d.instruction].cost
                if self.kinds[d.instruction].is_csr:
                    details[n].cost = self.csr_cost(word, details[n].cost)
                if self.kinds[d.instruction].divide:
                    code[n].host = <uint8_t *>PyMem_Calloc(DIVIDE_BUCKETS, sizeof(uint64_t))
                    if code[n].host == NULL:
                        raise MemoryError
                ends = handler_ends[d.handler]
                at += d.size
            else:
                code[n].handler = self.handlers[HANDLER_ILLEGAL]
                ends = True
                at += 4 if word & 3 == 3 else 2
            n += 1
            if self.lasts and not stops:
                stops = pc + details[n - 1].offset in self.lasts
        code[n].handler = self.handlers[HANDLER_END]
        looped = self.lasts and pc + details[n - 1].offset in self.lasts
        if looped and not ends and not self.is_branch(details[n - 1].instruction):  # a branch's `taken` is its own
            code[n].handler = self.handlers[HANDLER_HWLOOP]
        if ends and not single and which[n - 1] >= 0 and handler_over[which[n - 1]]:
            predicated = self.skipped(at, code[n - 1].k[0])
            if predicated != NULL:
                if self.find(False, at) == NULL:
                    skipped = self.build(at, False, 1)
                    skipped.predicated, skipped.listed = predicated, 1
                    self.insert(skipped)
                code[n - 1].handler = self.fused.over[which[n - 1]]
                which[n - 1] = handler_over[which[n - 1]]
        fuse(code, which, n, self.fused)
        if broken:
            code[0].handler = self.handlers[HANDLER_BREAK]
        b = new_block(n, &self.h)
        if self.h.timed != NULL:
            b.ops = <timing_op *>PyMem_Calloc(n, sizeof(timing_op))
            b.lost = <uint64_t *>PyMem_Calloc(n * CAUSES, sizeof(uint64_t))
            if b.ops == NULL or b.lost == NULL:
                free_block(b, self)
                raise MemoryError
        if self.caching:
            b.sites = <missed *>PyMem_Calloc(n, sizeof(missed))
            if b.sites == NULL:
                free_block(b, self)
                raise MemoryError
        memcpy(b.code, code, (n + 1) * sizeof(insn))
        memcpy(b.meta, details, n * sizeof(meta))
        b.pc, b.end, b.count_n = pc, at, n
        if looped:
            b.hwloop = HWLOOP_MARKED if code[n].handler == self.handlers[HANDLER_HWLOOP] else HWLOOP_INLINE
        b.start = b.code[0].handler
        b.chain = jit_uncompiled(self.h.jit)
        b.recent = &b.key
        if self.h.timed != NULL:
            b.key, b.recent = 0, &no_key  # each way in is told
            self.operations(b)
        if self.fetch_shift < 32 and not broken and code[0].handler != self.handlers[HANDLER_FETCH_FAULT]:
            b.key = pc >> self.fetch_shift
            if (pc ^ (at - 1)) >> self.fetch_shift:
                b.recent = &no_key
            elif self.h.icache != NULL:
                b.recent = &self.h.icache.recent.lines[0][b.key % RECENT]
            else:
                b.recent = &self.h.fetch_reuse.last
        worst += self.worst_fetch + n * self.most_cycles
        for i in range(n):
            b.cycles += details[i].cost
            if details[i].instruction < self.kind_count:
                kind = &self.kinds[details[i].instruction]
                worst += (self.misaligned_cost + self.worst_access if kind.access else 0) + max(0, self.worst_divide - details[i].cost) * kind.divide
                b.divides |= kind.divide
        b.charge = <uint64_t>n << 32 | max(<uint64_t>1, worst + b.cycles)
        b.straddles = pc & 2 != 0 and details[0].word & 3 == 3
        if self.log is not None and details[0].instruction != NO_INSTRUCTION:
            b.rd = self.machine.destination(details[0].instruction, details[0].word)
        self.mark_code(pc, at)
        self.cached += n
        return b

    cdef int find_custom(self, uint32_t word) except -2:
        for mask, match, size, number in self.opcodes.get(word & 127, ()):
            if word & <uint32_t>mask == <uint32_t>match and (size == 4) == (word & 3 == 3):
                return number
        return -1

    cdef uint16_t csr_cost(self, uint32_t word, uint16_t cost) except? 0:
        """Writes of some CSRs flush the pipeline (timing tables, csr)."""
        cdef bint writes = (word >> 12) & 3 == 1 or (word >> 15) & 31 != 0
        return self.csr_costs.get(word >> 20, cost) if writes else cost

    cdef int insert(self, block *b) except -1:
        append(&self.blocks, &self.block_count, &self.block_room, b)
        self.enlist(b)
        return 0

    cdef void enlist(self, block *b) noexcept nogil:
        cdef block **slot = self.slot(b.listed == 2, b.pc)
        b.hash_next = slot[0]
        slot[0] = b

    cdef bint is_breakpoint(self, uint32_t pc) noexcept nogil:
        cdef int i
        for i in range(self.breakpoint_count):
            if self.breakpoints[i] == pc:
                return True
        return False

    cdef void mark_code(self, uint32_t low, uint32_t end) noexcept:
        """Flag the granules of a new block; store windows on their intervals are taken back."""
        cdef Region *r = self.region(low)
        cdef uint32_t g, at
        cdef int n
        cdef bint fresh = False
        if r == NULL or r.code == NULL:  # devices hold no code: what fetches from them traps
            return
        for g in range((low - r.base) // GRANULE, min(end - 1 - r.base, r.last - r.base) // GRANULE + 1):
            if not r.code[g]:
                r.code[g] = 1
                at = r.base + g * GRANULE
                n = self.interval(at)
                while 0 <= n < self.interval_count and self.intervals[n].low <= min(at + GRANULE - 1, r.last):
                    self.intervals[n].code = 1
                    fresh |= self.intervals[n].stored
                    n += 1
        if fresh:
            self.drop_store_windows()

    cdef void drop_store_windows(self) noexcept:
        cdef int i
        cdef uint32_t j
        cdef block *b
        self.forget_places()
        jit_fold(self.h.jit)
        jit_credit(self.h.jit)
        jit_close_stores(self.h.jit)
        for i in range(self.block_count):
            b = self.blocks[i]
            for j in range(b.count_n):
                if b.meta[j].interval >= 0 and self.stores(b, j):
                    self.settle(b, j)
                    b.code[j].units = 0
                    b.meta[j].interval = -1
                    b.unwanted = b.traces != 0
        self.drop_compiled()

    cdef bint code_written(self, Region *r, uint32_t address, Py_ssize_t size) noexcept nogil:
        """Unlink every block that overlaps freshly written bytes; whether there was one."""
        cdef uint32_t g
        cdef uint64_t end = <uint64_t>address + size
        cdef int i
        cdef bint hit = False
        cdef block *b
        for g in range((address - r.base) // GRANULE, <uint32_t>((address - r.base + size - 1) // GRANULE) + 1):
            if r.code[g]:
                hit = True
                break
        if not hit:
            return False
        hit = False
        for i in range(self.block_count):
            b = self.blocks[i]
            if b.pc < end and b.end > address:
                b.dead = 1
                hit = True
        if hit:
            bury_dead(self)
        return hit

    cdef int bury(self) except -1:
        """Unlink dead blocks everywhere; they are folded into the totals and freed at the next safe point."""
        cdef int i, kept = 0
        cdef bint compiled = False
        timed_forget(&self.h)
        cdef block *b
        for i in range(self.block_count):
            b = self.blocks[i]
            compiled |= b.unwanted or b.dead and (b.traces != 0 or b.loop != NULL)
            if b.next != NULL and b.next.dead:
                b.next = NULL
            if b.target != NULL and b.target.dead:
                b.target = NULL
        for i in range(JUMP_CACHE):
            if self.h.jump[i].dead:
                self.h.jump[i] = self.nowhere
        if compiled:
            self.drop_compiled()
        memset(self.table, 0, sizeof(self.table))
        memset(self.singles, 0, sizeof(self.singles))
        for i in range(self.block_count):
            b = self.blocks[i]
            if not b.dead:
                self.blocks[kept] = b
                kept += 1
                self.enlist(b)
                continue
            append(&self.dead, &self.dead_count, &self.dead_room, b)
        self.block_count = kept
        return 0

    cdef int fold_dead(self) except -1:
        """Take the counts of unlinked blocks into the totals and free them."""
        cdef int i
        cdef uint32_t j
        cdef block *b
        cdef uint64_t n
        for i in range(self.dead_count):
            b = self.dead[i]
            for j in range(b.count_n):
                self.settle(b, j)
            self.fold_flow(b)
            for j in range(b.count_n):
                n = executed(b, j)
                extra = self.extra_cycles(b, j)
                if b.sites != NULL:
                    add_site(self.folded_sites, b.pc + b.meta[j].offset, &b.sites[j])
                if b.lost != NULL:
                    add_lost(self.folded_lost, b.pc + b.meta[j].offset, &b.lost[j * CAUSES])
                if (n and b.meta[j].instruction != NO_INSTRUCTION) or extra:
                    size = (b.meta[j + 1].offset if j + 1 < b.count_n else b.end - b.pc) - b.meta[j].offset
                    # Under other words of the same address: a program that rewrites itself stays bounded by its memory.
                    entry = self.folded.setdefault((b.pc + b.meta[j].offset, b.meta[j].instruction), [0, 0, size])
                    entry[0] += n
                    entry[1] += n * b.meta[j].cost + self.divide_cycles(b, j) + extra
                    self.fetched(b.pc + b.meta[j].offset, n, size)
            self.folded_cycles += self.cycles_of(b)
            if b.count_n and self.is_branch(b.meta[b.count_n - 1].instruction):
                self.folded_taken += b.taken
            self.folded_misaligned += b.misaligned
            self.cached -= b.count_n
            free_block(b, self)
        self.dead_count = 0
        return 0

    cdef void flow_of(self, block *b, uint32_t j, flow_row *row, bint stands=False) noexcept nogil:
        cdef uint32_t end = b.pc + b.meta[j + 1].offset if j + 1 < b.count_n else b.end
        memset(row, 0, sizeof(flow_row))
        row.pc, row.word, row.instruction = b.pc + b.meta[j].offset, b.meta[j].word, b.meta[j].instruction
        row.size = <uint16_t>(end - row.pc)
        row.executed, row.misaligned = executed(b, j), b.meta[j].misaligned
        row.entered = b.entered if j == 0 else 0
        row.taken = b.taken if j + 1 == b.count_n else 0
        if self.standing == b and j >= self.stands_at + stands:
            row.executed -= 1

    cdef int fold_flow(self, block *b) except -1:
        cdef uint32_t j
        cdef int n
        cdef flow_row row
        for j in range(b.count_n):
            self.flow_of(b, j, &row)
            if row.executed or row.entered:
                # One of its words stands for all that a program may write to an address, whichever came first.
                entry = self.folded_flow.setdefault((row.pc, row.instruction), [row.word, row.size, 0, 0, 0, 0])
                entry[0] = max(entry[0], row.word)
                for n, count in enumerate((row.executed, row.taken, row.entered, row.misaligned)):
                    entry[2 + n] += count
            self.add_outcomes(b, j, self.folded_elsewhere, self.folded_divides)
        return 0

    cdef int add_outcomes(self, block *b, uint32_t j, dict elsewhere, dict divides) except -1:
        """Add an instruction's accesses outside the home region, and a division's operands."""
        cdef uint32_t pc = b.pc + b.meta[j].offset
        cdef uint64_t *histogram = <uint64_t *>b.code[j].host
        cdef int n
        if b.elsewhere != NULL:
            for n in range(self.region_count):
                if b.elsewhere[j * self.region_count + n]:
                    elsewhere[pc, n] = elsewhere.get((pc, n), 0) + b.elsewhere[j * self.region_count + n]
        if b.meta[j].instruction < self.kind_count and self.kinds[b.meta[j].instruction].divide:
            for n in range(DIVIDE_BUCKETS):
                if histogram[n]:
                    divides[pc, n] = divides.get((pc, n), 0) + histogram[n]
        return 0

    def control_flow(self, bint stands=False):
        """What decided which way the run went so far, instruction by instruction.

        Parameters
        ----------
        stands : bool
            Within an access to a device: count that instruction too.

        Returns
        -------
        bytes
            `flow_row`s (hart.h); an address may have several.
        dict of (pc, region) to int
            Accesses outside the home region.
        dict of (pc, bucket) to int
            Divisions by their operands (hart.h, DIVIDE_BUCKETS).
        """
        cdef int i
        cdef uint32_t j
        cdef block *b
        cdef flow_row row
        cdef bytearray rows = bytearray()
        self.fold_dead()
        jit_fold(self.h.jit)
        jit_credit(self.h.jit)
        elsewhere, divides = dict(self.folded_elsewhere), dict(self.folded_divides)
        for (pc, number), (word, size, executed, taken, entered, misaligned) in self.folded_flow.items():
            row = flow_row(pc, word, number, size, self.following((pc + size) & 0xffffffff), 0, executed, taken, entered, misaligned)
            rows += (<char *>&row)[:sizeof(flow_row)]
        for i in range(self.block_count):
            b = self.blocks[i]
            if not b.count:
                continue
            for j in range(b.count_n):
                self.settle(b, j)
                self.flow_of(b, j, &row, stands)
                if row.executed or row.entered:
                    row.following = self.following(row.pc + row.size)
                    rows += (<char *>&row)[:sizeof(flow_row)]
                if b.elsewhere != NULL or b.divides:
                    self.add_outcomes(b, j, elsewhere, divides)
        return bytes(rows), elsewhere, divides

    def flush(self):
        """Forget every predecoded block, keeping all counts."""
        cdef int i
        for i in range(self.block_count):
            self.blocks[i].dead = 1
        self.bury()
        self.fold_dead()

    # ------------------------------------------------------------ windows and counts of accesses
    cdef void settle(self, block *b, uint32_t i) noexcept nogil:
        """Credit an access instruction's executions since the last time to the interval of its window."""
        cdef meta *m = &b.meta[i]
        cdef uint64_t n
        cdef Interval *w
        cdef int size
        if m.interval < 0:
            return
        size = self.kinds[m.instruction].access if m.instruction < self.kind_count else self.h.routines[b.code[i].k[0]].window
        n = executed(b, i) - m.base
        m.base += n
        self.count_accesses(b, i, m.interval, n, size, self.stores(b, i))

    cdef inline void count_accesses(self, block *b, uint32_t i, int interval, uint64_t n, int size, bint store) noexcept nogil:
        """Credit accesses of an instruction to an interval."""
        cdef Interval *w = &self.intervals[interval]
        if store:
            w.store_count += n
            w.store_bytes += n * size
        else:
            w.load_count += n
            w.load_bytes += n * size
        if w.region != self.home and n:
            self.count_elsewhere(b, i, w.region, n)

    cdef void count_elsewhere(self, block *b, uint32_t i, int region, uint64_t n) noexcept nogil:
        # Without memory for it, they count as of the home region.
        if b.elsewhere == NULL:
            b.elsewhere = <uint64_t *>calloc(<size_t>b.count_n * self.region_count, sizeof(uint64_t))
        if b.elsewhere != NULL:
            b.elsewhere[i * self.region_count + region] += n

    cdef bint stores(self, block *b, uint32_t i) noexcept nogil:
        """Whether an instruction that has a window writes through it."""
        if b.meta[i].instruction < self.kind_count:
            return self.kinds[b.meta[i].instruction].is_store
        return self.h.routines[b.code[i].k[0]].stores

    cdef void forget_places(self) noexcept nogil:
        cdef int i
        for i in range(PLACES):
            self.places[0][i] = Place(1, 0, 0, NULL)
            self.places[1][i] = Place(1, 0, 0, NULL)

    cdef bint near(self, block *b, insn *e, uint32_t address, int size, bint store, uint8_t **host) noexcept nogil:
        """An access outside its window, in a place of which `access` has found out everything: count it.

        The window moves there when it was not used since the last such access; else most are in it, and it stays.
        """
        cdef uint32_t i = <uint32_t>(e - b.code), unit = size - 1, low
        cdef meta *m = &b.meta[i]
        cdef Place *to = &self.places[store][(address >> PLACE_SHIFT) % PLACES]
        cdef uint64_t hits
        if address < to.low or address > to.last or to.last - address < unit or address & unit:
            return False
        if m.interval < 0 or m.frozen or self.h.native_site != NULL or self.caching or self.stepping or self.rule_count:
            return False
        host[0] = to.host + (address - to.low)
        hits = executed(b, i) - 1 - m.base  # this execution, which the entry already counts, is not one
        m.base += hits
        if hits:
            self.count_accesses(b, i, m.interval, hits, size, store)
            m.base += 1
            self.count_accesses(b, i, to.interval, 1, size, store)
            return True
        low = (to.low + unit) & ~unit
        e.k[1] = low
        e.units = <uint32_t>((<uint64_t>(to.last - low) + 1) // size)
        e.host = to.host + (low - to.low)
        m.interval = to.interval
        return True

    cdef int access(self, block *b, insn *e, uint32_t address, int size, bint store, uint32_t value, bint window, uint8_t **host) noexcept nogil:
        """An access outside its window: check it, count it, move the window. The interval it is in, -1 for a trap."""
        cdef uint32_t i = <uint32_t>(e - b.code), low, last, unit = size - 1
        cdef meta *m = &b.meta[i]
        cdef int n = self.interval(address), k
        cdef Region *r
        cdef Interval *w
        if m.interval >= 0 and not m.frozen:
            # This execution, which the entry already counts, is credited below to where it really goes.
            self.count_accesses(b, i, m.interval, executed(b, i) - 1 - m.base, size, store)
            m.interval = -1
        if window and not m.frozen:
            e.units = 0
        if address & unit:
            if not self.split_misaligned:
                self.h.cause, self.h.irq, self.h.tval = 6 if store else 4, 0, address
                return -1
        if n < 0 or not self.regions[self.intervals[n].region].permissions & (WRITE if store else READ):
            self.h.cause, self.h.irq, self.h.tval = 7 if store else 5, 0, address
            return -1
        w = &self.intervals[n]
        r = &self.regions[w.region]
        if size - 1 > r.last - address:
            self.h.cause, self.h.irq, self.h.tval = 7 if store else 5, 0, r.last + 1
            return -1
        if not self.permitted(address, size, WRITE if store else READ):
            self.h.cause, self.h.irq, self.h.tval = 7 if store else 5, 0, self.refused(address, WRITE if store else READ)
            return -1
        if r.data == NULL and address & unit:
            # A device takes whole aligned accesses only.
            self.h.cause, self.h.irq, self.h.tval = 7 if store else 5, 0, address
            return -1
        # Within an aligned word a halfword is still one access (Ibex: lh at byte 1).
        if address & unit and (size == 4 or address & 3 == 3):
            b.misaligned += 1
            m.misaligned += 1
        self.count_accesses(b, i, n, 1, size, store)
        m.base += m.frozen  # counted here, not by the window
        if self.stepping:
            self.watched(address, size, store, value)
        host[0] = NULL
        if r.data == NULL:
            if self.h.timed != NULL:
                self.h.data(&self.h, b, e, address, size, store)
            return n
        host[0] = r.data + (address - r.base)
        if self.caching:
            self.h.data(&self.h, b, e, address, size, store)
        if not window or (m.frozen and self.h.native_site == NULL) or self.stepping or w.hooked or self.rule_count:
            return n
        low, last = w.low, w.last
        if store and w.code:
            # Only the bytes around that hold no code may be written without a check.
            if r.code[(address - r.base) // GRANULE]:
                return n
            low = max(w.low, r.base + (address - r.base) // GRANULE * GRANULE)
            last = min(w.last, r.base + ((address - r.base) // GRANULE * GRANULE + GRANULE - 1))
            for k in range(WINDOW_GRANULES):
                if low > w.low and not r.code[(low - 1 - r.base) // GRANULE]:
                    low = max(w.low, r.base + (low - 1 - r.base) // GRANULE * GRANULE)
                if last < w.last and not r.code[(last + 1 - r.base) // GRANULE]:
                    last = min(w.last, last + GRANULE)
        w.stored |= store
        self.places[store][(address >> PLACE_SHIFT) % PLACES] = Place(low, last, n, r.data + (low - r.base))
        # The window is made of whole aligned units; an access at the odd ends of an interval comes here each time.
        low = (low + unit) & ~unit
        if low > last or last - low < unit or address & unit or address < low or address - low + unit > last - low:
            return n
        if m.frozen:  # the second window of compiled code moves
            self.credit(self.h.native_site)
            self.h.native_site.base = low
            self.h.native_site.units = <uint32_t>((<uint64_t>(last - low) + 1) // size)
            self.h.native_site.host = r.data + (low - r.base)
            self.h.native_site.interval = n
            return n
        e.k[1] = low
        e.units = <uint32_t>((<uint64_t>(last - low) + 1) // size)
        e.host = r.data + (low - r.base)
        m.interval = n
        m.base = executed(b, i)
        return n

    cdef void credit(self, site *s) noexcept nogil:
        """Tell the interval of a compiled access's second window what it counted; those are not the first window's."""
        cdef meta *m = &s.member.block.meta[s.index]
        cdef Kind *kind = &self.kinds[m.instruction]
        if s.interval < 0 or not s.n:
            return
        self.count_accesses(s.member.block, s.index, s.interval, s.n, kind.access, kind.is_store)
        m.base += s.n
        s.hits += s.n
        s.n = 0

    cdef void adopt(self, site *s) noexcept nogil:
        """Make that window the instruction's own if it has most accesses; all have been credited, and the block is in no trace."""
        cdef block *b = s.member.block
        if s.interval < 0 or 2 * s.hits < b.count - s.since or b.dead:
            return
        self.settle(b, s.index)
        s.in_.k[1] = s.base
        s.in_.units = s.units
        s.in_.host = s.host
        b.meta[s.index].interval = s.interval
        b.meta[s.index].base = executed(b, s.index)

    cdef int write(self, block *b, insn *e, uint32_t address, int size, uint32_t value, bint window) noexcept nogil:
        """A store outside its window: 0 done, 1 trap, 2 done, and the block is to be left behind it."""
        cdef uint8_t *host = NULL
        cdef int n
        if window and self.near(b, e, address, size, True, &host):
            memcpy(host, &value, size)
            return 0
        n = self.access(b, e, address, size, True, value, window, &host)
        if n < 0:
            return 1
        if host == NULL:
            return 1 if device(&self.h, b, e, address, size, True, &value) else 2
        memcpy(host, &value, size)
        if self.intervals[n].hooked:
            self.h.pc = self.behind(b, <uint32_t>(e - b.code))
            tell_hooked(self, address)
            return 2
        return 2 if self.code_written(self.region(address), address, size) else 0

    cdef uint32_t behind(self, block *b, uint32_t i) noexcept nogil:
        """Address of the instruction after instruction i."""
        return b.end if i + 1 == b.count_n else b.pc + b.meta[i + 1].offset

    cdef void watched(self, uint32_t address, int size, bint store, uint32_t value) noexcept nogil:
        """Note an access for the commit log and watchpoints; the first of an instruction that one asks for is reported."""
        cdef int i
        if self.entry.accesses < COMMIT_ACCESSES:
            self.entry.access[self.entry.accesses] = commit_access(address, value, size, store)
            self.entry.accesses += 1
        for i in range(self.watch_count):
            if (
                self.watches[i].kinds & (WRITE if store else READ)
                and address <= self.watches[i].last
                and address + (size - 1) >= self.watches[i].low
                and not self.watch_hit
            ):
                self.watch_hit, self.watch_store = True, store
                self.watch_address = max(address, self.watches[i].low)

    cdef void stand(self, block *b, uint32_t i, int direction) noexcept:
        """Let the counters stand before instruction i, of which the block's entry already counted all: direction 1; -1 takes it back."""
        cdef uint32_t j
        self.unretired += direction * <int64_t>(b.count_n - i)
        self.standing, self.stands_at = (b if direction > 0 else NULL), i
        for j in range(i, b.count_n):
            self.stall_cycles -= direction * <int64_t>b.meta[j].cost

    cdef uint32_t device_load(self, block *b, uint32_t i, uint32_t address, int size) except? 0xdead:
        self.stand(b, i, 1)
        try:
            return self.machine.device_load(address, size)
        finally:
            self.stand(b, i, -1)

    cdef int device_store(self, block *b, uint32_t i, uint32_t address, int size, uint32_t value) except -1:
        self.stand(b, i, 1)
        try:
            self.machine.device_store(address, size, value)
        finally:
            self.stand(b, i, -1)
        return 0

    # ------------------------------------------------------------ running
    def run(self, long long limit, bint resumed=False):
        """Run until something needs the machine.

        Parameters
        ----------
        limit : int
            Instructions that may retire.
        resumed : bool
            A breakpoint at the pc has been reported: execute the instruction there.

        Returns
        -------
        tuple
            ("limit",), ("interrupted",), ("wait",), ("breakpoint",), ("watchpoint", address, is a store) or
            ("trap", pc, irq, cause, tval); the pc is where execution stands.
        """
        cdef block *b
        cdef block *left = NULL
        cdef int reason
        cdef int64_t given = 0
        cdef bint single
        cdef uint32_t start = self.h.pc
        cdef bint started = not resumed
        self.pending = None
        self.watch_hit = False
        self.h.fuel = 0                     # no cycles: look for interrupts first
        while True:
            if self.allowed() < BLOCK_LIMIT and given < limit:
                given -= self.give_back()
                try:
                    PyErr_CheckSignals()
                except KeyboardInterrupt:
                    return ("interrupted",)
                self.find_loops()
                if self.granted >= self.compile_at:
                    self.compile_hot()
                    self.split_hammocks()
                given += self.grant(min(self.period, limit - given))
            if self.pending is not None:    # of a custom instruction that has retired
                self.give_back()
                raise self.pending
            if self.dead_count:
                self.fold_dead()
            if self.cached > CACHE_LIMIT:
                self.flush()
            if not <uint32_t>self.h.fuel:
                self.attend()
            if not self.allowed():
                return ("limit",)
            single = self.stepping or (not started and self.h.pc == start and self.is_breakpoint(start))
            if self.stepping and started and self.is_breakpoint(self.h.pc):
                self.give_back()
                return ("breakpoint",)
            b = self.obtain(self.h.pc, single)
            if not single and b.count_n > self.allowed():
                single = True
                b = self.obtain(self.h.pc, True)
            if <uint32_t>b.charge > <uint32_t>self.h.fuel:
                # The bounds say that a deadline may fall into the block. What do exact cycles say?
                if self.slack_given - <uint32_t>self.h.fuel >= STALE or single and self.slack_given != <uint32_t>self.h.fuel:
                    self.h.fuel &= ~SLACK
                    continue
                # It does, or may: an instruction that begins before the deadline is still executed.
                b = self.obtain(self.h.pc, True)
                if <uint32_t>b.charge > <uint32_t>self.h.fuel:
                    self.slack_given += <uint32_t>b.charge - <uint32_t>self.h.fuel
                    self.h.fuel = self.h.fuel & ~SLACK | <uint32_t>b.charge
            if not self.hot and self.h.jit != NULL and b.compiled == NULL and b.listed == 1:
                self.compile_hot()
            started = True
            self.entry.accesses = self.entry.csrs = 0
            with nogil:
                reason = self.interpret(&self.h, b)
                while reason == EXIT_LOOKUP and self.stepping and not self.watch_hit:
                    # The common way of single steps: to an instruction that has been here before and may still run.
                    left = self.h.from_
                    b = self.find(True, self.h.pc)
                    if b == NULL or self.breakpoint_count or self.text_size > LOG_ROOM - COMMIT_LINE_MAX:
                        break
                    if (self.h.fuel - b.charge) & EXHAUSTED:
                        break
                    self.link(left, b)
                    self.note(left)
                    reason = self.interpret(&self.h, b)
                while reason == EXIT_LOOKUP and not self.stepping:
                    left = self.h.from_
                    b = self.find(False, self.h.pc)
                    if b == NULL:
                        break
                    self.link(left, b)
                    if (self.h.fuel - b.charge) & EXHAUSTED:
                        b = NULL
                        left = NULL
                        break
                    reason = self.interpret(&self.h, b)
            if reason == EXIT_LOOKUP and not self.stepping:
                self.tell(BLOCK_LIMIT, self.h.pc)
                if left != NULL and b == NULL:
                    self.link(left, self.obtain(self.h.pc, False))
                continue
            left = self.h.from_
            if reason == EXIT_MODIFIED:
                self.h.pc = self.behind_last(left, self.h.index - 1)
            if self.h.timed != NULL:
                if reason == EXIT_BREAK:
                    self.h.timed.block = NULL
                elif reason == EXIT_TRAP:
                    self.tell(self.h.index, left.pc + left.meta[self.h.index].offset)
                elif reason == EXIT_MODIFIED:
                    self.tell(self.h.index, self.h.pc)
                else:
                    self.tell(BLOCK_LIMIT, self.h.pc)
            if self.log is not None and reason != EXIT_TRAP and reason != EXIT_FUEL:
                if reason != EXIT_MODIFIED or self.h.index == 1:
                    self.note(left)
                if self.text_size > LOG_ROOM - COMMIT_LINE_MAX:
                    self.flush_log()
            if reason == EXIT_LOOKUP:
                self.link(left, self.obtain(self.h.pc, True))
            elif reason == EXIT_FUEL:
                continue
            elif reason == EXIT_BREAK:
                self.give_back()
                return ("breakpoint",)
            elif reason == EXIT_MODIFIED:
                self.leave_early(left, self.h.index)
                self.h.fuel &= ~SLACK
            elif reason == EXIT_SYSTEM:
                self.h.fuel &= ~SLACK
            elif reason == EXIT_TRAP:
                # The instruction did not retire.
                self.trapped_fetches += left.code[self.h.index].handler != self.handlers[HANDLER_FETCH_FAULT]
                self.leave_early(left, self.h.index)
                self.h.pc = left.pc + left.meta[self.h.index].offset
                self.give_back()
                self.trapped = left
                if self.pending is not None:
                    raise self.pending
                tval = self.h.tval
                if self.h.cause == 2 and not self.h.irq:
                    tval = left.meta[self.h.index].word
                self.h.tval = 0
                return ("trap", self.h.pc, self.h.irq, self.h.cause, tval)
            if self.pending is not None:
                self.give_back()
                raise self.pending
            if reason == EXIT_WAIT:
                self.give_back()
                return ("wait",)
            if self.watch_hit:
                self.give_back()
                return ("watchpoint", self.watch_address, self.watch_store)

    cdef inline int64_t allowed(self) noexcept nogil:
        """Instructions left of those granted."""
        return <int64_t>(self.h.fuel >> 32)

    cdef int64_t grant(self, int64_t instructions) noexcept nogil:
        self.h.fuel += <uint64_t>instructions << 32
        self.set_granted(self.granted + instructions)
        if self.h.dcache != NULL and self.granted - self.ranked_at >= LINE_TIME_RANGE:
            self.ranked_at = self.granted
            cache_rank(self.h.dcache, self.line_time())
        return instructions

    cdef inline void set_granted(self, int64_t instructions) noexcept nogil:
        if self.h.dcache != NULL and cache_shifts(self.h.dcache):
            cache_shift(self.h.dcache, <uint64_t>(instructions - self.granted) << 32)
        else:
            self.h.granted = <uint64_t>instructions << 32
        self.granted = instructions

    cdef inline uint64_t line_time(self) noexcept nogil:
        """Now, as data caches' lines tell the time (LINE_TIME of hart.h): it runs down, and comes round after 2^32 instructions."""
        return self.h.fuel - self.h.granted

    cdef int64_t give_back(self) noexcept nogil:
        """Take the instructions left out of the budget, so that what was granted has retired; how many there were."""
        cdef int64_t left = self.allowed()
        self.set_granted(self.granted - left)
        self.h.fuel &= SLACK
        return left

    cdef int attend(self) except -1:
        """Let the machine deliver an interrupt and say how many cycles may pass until it must look again."""
        cdef int64_t cycles = self.machine.attend()
        self.slack_given = <uint32_t>min(max(<int64_t>1, cycles), <int64_t>NO_DEADLINE)
        self.h.fuel = self.h.fuel & ~SLACK | self.slack_given
        return 0

    def attention(self):
        """Have the machine asked before the next block: something about interrupts has changed."""
        self.h.fuel &= ~SLACK

    def complete(self):
        """Retire the instruction that `run` has just reported as trapped: the host did its work (ecall, ebreak)."""
        cdef uint32_t i = self.h.index
        if self.log is not None:
            self.note(self.trapped)
        cdef uint32_t behind = self.behind_last(self.trapped, i)
        self.trapped.exits[i] -= 1
        self.trapped_fetches -= 1
        if self.h.timed != NULL:
            self.trapped.sites[i].cycles += self.system(self.h.pc, behind, self.trapped.meta[i].word, True)
        self.set_granted(self.granted + self.trapped.count_n - i)
        self.h.pc = behind

    cdef int leave_early(self, block *b, uint32_t index) except -1:
        """The block was left before instruction `index` retired."""
        if index >= b.count_n:
            return 0
        if b.exits == NULL:
            b.exits = <uint64_t *>PyMem_Calloc(b.count_n, sizeof(uint64_t))
            if b.exits == NULL:
                raise MemoryError
        b.exits[index] += 1
        self.h.fuel += <uint64_t>(b.count_n - index) << 32
        return 0

    cdef void link(self, block *left, block *b) noexcept nogil:
        """Remember where the edge just taken leads."""
        # Blocks of one instruction stay apart, so that stepping sees each of them.
        cdef bint chain = left.listed == 1 and b.listed == 1
        if self.h.edge == EDGE_NEXT:
            if chain and left.hwloop != HWLOOP_INLINE:
                left.next = b
        elif self.h.edge == EDGE_TAKEN:
            if chain:
                left.target = b
            if left.target_straddles != b.straddles:
                jit_fold(self.h.jit)
                # Code at the target has changed: what was taken before this once led to the other kind.
                left.straddled += (left.taken - 1 - left.straddled_from) * left.target_straddles
                left.straddled_from = left.taken - 1
                left.target_straddles = b.straddles
        elif self.h.edge == EDGE_INDIRECT:
            if chain:
                self.h.jump[(b.pc >> 1) & (JUMP_CACHE - 1)] = b
            b.entered += 1

    # ------------------------------------------------------------ protection
    def protect(self, rules):
        """Set the rules of physical memory protection; may be called by a CSR write of the running program.

        Parameters
        ----------
        rules : sequence of (low, last, permissions)
            In order of priority; 4 read, 2 write, 1 execute.
        """
        cdef int i
        if not rules and not self.rule_count:
            return
        PyMem_Free(self.rules)
        self.rule_count = 0
        self.rules = <Watch *>PyMem_Calloc(max(1, len(rules)), sizeof(Watch))
        if self.rules == NULL:
            raise MemoryError
        for i, (low, last, kinds) in enumerate(rules):
            self.rules[i] = Watch(low, last, kinds)
        self.rule_count = len(rules)
        # Windows and predecoded instructions are permissions checked before. The running block is freed later.
        for i in range(self.block_count):
            self.blocks[i].dead = 1
        self.bury()

    cdef bint permitted_byte(self, uint32_t address, int kind) noexcept nogil:
        """Whether protection lets an access to a byte through: the first rule that holds it decides."""
        cdef int i
        for i in range(self.rule_count):
            if self.rules[i].low <= address <= self.rules[i].last:
                return self.rules[i].kinds & kind != 0
        return True

    cdef bint permitted(self, uint32_t address, uint32_t size, int kind) noexcept nogil:
        """Whether protection lets an access of at most four bytes through.

        What leaves an aligned word is two accesses. Rules hold whole words, so one byte speaks for each.
        """
        return self.permitted_byte(address, kind) and self.permitted_byte(address + (size - 1), kind)

    cdef uint32_t refused(self, uint32_t address, int kind) noexcept nogil:
        """mtval of an access that is not permitted: the part of it that protection stops (3.1.16)."""
        return (address & ~<uint32_t>3) + 4 if self.permitted_byte(address, kind) else address

    cdef bint fetchable(self, Region *r, uint32_t at, uint32_t room) noexcept nogil:
        """Whether protection lets both halves of the instruction be fetched."""
        cdef uint16_t half = 0
        memcpy(&half, r.data + (at - r.base), 2)
        return self.permitted(at, 2, EXECUTE) and (half & 3 != 3 or room < 4 or self.permitted(at + 2, 2, EXECUTE))

    # ------------------------------------------------------------ debugging
    def debug(self, breakpoints, watchpoints):
        """Set what stops a run.

        Parameters
        ----------
        breakpoints : iterable of int
            Addresses before whose instruction it stops.
        watchpoints : iterable of (low, last, kinds)
            Addresses (both inclusive) behind whose access it stops; kinds: 4 read, 2 write.
        """
        cdef int i
        addresses, watches = sorted(breakpoints), list(watchpoints)
        PyMem_Free(self.breakpoints)
        PyMem_Free(self.watches)
        self.breakpoint_count = self.watch_count = 0
        self.breakpoints = <uint32_t *>PyMem_Calloc(max(1, len(addresses)), sizeof(uint32_t))
        self.watches = <Watch *>PyMem_Calloc(max(1, len(watches)), sizeof(Watch))
        if self.breakpoints == NULL or self.watches == NULL:
            raise MemoryError
        for i, address in enumerate(addresses):
            self.breakpoints[i] = address
        for i, (low, last, kinds) in enumerate(watches):
            self.watches[i] = Watch(low, last, kinds)
        self.breakpoint_count, self.watch_count = len(addresses), len(watches)
        self.step_each()

    cdef int step_each(self) except -1:
        """Decide whether instructions are executed one by one; blocks and windows of the other way are forgotten."""
        self.stepping = self.watch_count > 0 or self.log is not None
        self.flush()
        return 0

    def log_commits(self, write):
        """Write a line for each retired instruction from here on.

        Parameters
        ----------
        write : callable or None
            Takes pieces of the log as bytes; None ends it.
        """
        if self.text == NULL:
            self.text = <char *>PyMem_Malloc(LOG_ROOM)
            if self.text == NULL:
                raise MemoryError
        self.flush_log()
        self.log, self.logged = write, write is not None
        self.step_each()

    def flush_log(self):
        """Hand over the lines that are still held."""
        if self.log is not None and self.text_size:
            text = self.text[:self.text_size]
            self.text_size = 0
            self.log(text)

    cdef void note(self, block *b) noexcept nogil:
        """Add the retired instruction of a single block to the commit log."""
        if not self.logged:
            return
        self.entry.pc, self.entry.word, self.entry.size = b.pc, b.meta[0].word, b.end - b.pc
        self.entry.rd, self.entry.value = b.rd, self.h.x[b.rd]
        self.text_size += commit_line(self.text + self.text_size, &self.entry)
        self.entry.accesses = self.entry.csrs = 0

    cdef int note_csrs(self, list written) except -1:
        """Keep what a CSR write or mret changed, for the line of the instruction."""
        cdef int n = 0
        cdef bytes name
        self.logged_csrs = written
        for name, number, value in written[:COMMIT_CSRS]:
            self.entry.csr[n].name = name
            self.entry.csr[n].number, self.entry.csr[n].value = number, value
            n += 1
        self.entry.csrs = n
        return 0

    # ------------------------------------------------------------ snapshots
    def pages(self, dict before):
        """Memory that is not zero.

        Parameters
        ----------
        before : dict of int to bytes
            An earlier result: pages that are still the same are shared with it.

        Returns
        -------
        dict of int to bytes
            Pages by address; of 4096 bytes each but at the end of a region.
        """
        cdef int i
        cdef uint64_t at, size, length
        cdef Region *r
        cdef bytes page
        result = {}
        for i in range(self.region_count):
            r = &self.regions[i]
            if r.data == NULL:
                continue
            size = <uint64_t>r.last - r.base + 1
            for at in range(0, size, PAGE):
                length = min(<uint64_t>PAGE, size - at)
                if r.data[at] == 0 and not memcmp(r.data + at, r.data + at + 1, length - 1):
                    continue
                page = before.get(r.base + at)
                if page is None or memcmp(<const char *>page, r.data + at, length):
                    page = (<char *>(r.data + at))[:length]
                result[r.base + at] = page
        return result

    def set_pages(self, dict pages):
        """Make memory what `pages` says, and zero elsewhere; blocks of code are forgotten.

        Raises
        ------
        ValueError
            A page is of another memory map.
        """
        cdef int i
        cdef uint64_t at, size, length
        cdef Region *r
        cdef bytes page
        self.flush()
        used = 0
        for i in range(self.region_count):
            r = &self.regions[i]
            if r.data == NULL:
                continue
            size = <uint64_t>r.last - r.base + 1
            memset(r.code, 0, size // GRANULE + 2)
            for at in range(0, size, PAGE):
                length = min(<uint64_t>PAGE, size - at)
                page = pages.get(r.base + at)
                if page is None:
                    if r.data[at] or memcmp(r.data + at, r.data + at + 1, length - 1):
                        memset(r.data + at, 0, length)
                    continue
                if <uint64_t>len(page) != length:
                    raise ValueError(f"the page at {r.base + at:#010x} has {len(page)} bytes, expected {length}")
                used += 1
                if memcmp(<const char *>page, r.data + at, length):
                    memcpy(r.data + at, <const char *>page, length)
        for i in range(self.interval_count):
            self.intervals[i].code = self.intervals[i].stored = 0
        if used != len(pages):
            raise ValueError("pages lie outside this machine's memory")

    def state(self):
        """Registers and counters: lists, dicts and integers only. Memory is apart (`pages`)."""
        cdef int i
        self.flush()
        return {
            "x": [self.h.x[i] for i in range(32)],
            "pc": self.h.pc,
            "reservation": self.h.reg_RESERVATION,
            "instructions": self.instructions,
            "stall_cycles": self.stall_cycles,
            "traps": self.traps,
            "cycles": self.folded_cycles,
            "taken": self.folded_taken,
            "misaligned": self.folded_misaligned,
            "executed": [[pc, instruction, *entry] for (pc, instruction), entry in self.folded.items()],
            "flow": [[pc, instruction, *entry] for (pc, instruction), entry in sorted(self.folded_flow.items())],
            "elsewhere": [[pc, region, n] for (pc, region), n in sorted(self.folded_elsewhere.items())],
            "divides": [[pc, bucket, n] for (pc, bucket), n in sorted(self.folded_divides.items())],
            "fetch": [[self.regions[i].fetch_count, self.regions[i].fetch_bytes] for i in range(self.region_count)],
            "access": [
                [self.intervals[i].load_count, self.intervals[i].load_bytes, self.intervals[i].store_count, self.intervals[i].store_bytes]
                for i in range(self.interval_count)
            ],
        }

    def restore(self, state):
        """Go back to a `state` of this machine or one of the same map.

        Raises
        ------
        KeyError, TypeError, ValueError, OverflowError
            The state is not one of this machine; nothing has changed.
        """
        cdef int i
        cdef Region *r
        x, fetch, access = [int(v) & 0xffffffff for v in state["x"]], list(state["fetch"]), list(state["access"])
        folded = {(int(pc), int(number)): [int(n), int(cycles), int(size)] for pc, number, n, cycles, size in state["executed"]}
        flow = {(int(pc), int(number)): [check_count(v) for v in row] for pc, number, *row in state["flow"]}
        elsewhere, divides = ({(int(pc), int(which)): check_count(n) for pc, which, n in state[key]} for key in ("elsewhere", "divides"))
        if any(len(row) != 6 or not 0 <= pc < 1 << 32 or row[0] >> 32 or row[1] >> 16 or not 0 <= number <= NO_INSTRUCTION for (pc, number), row in flow.items()):
            raise ValueError("the state's ways are damaged")
        if any(not 0 <= n < self.region_count for _, n in elsewhere) or any(not 0 <= n < DIVIDE_BUCKETS for _, n in divides):
            raise ValueError("the state's accesses or divisions are damaged")
        if len(x) != 32 or len(fetch) != self.region_count or len(access) != self.interval_count:
            raise ValueError("the state is of another machine")
        if any(not 0 <= number < self.kind_count + len(self.custom) and number != NO_INSTRUCTION for _, number in folded):
            raise ValueError("the state counts instructions of another set")
        counts = [[check_count(v) for v in row] for row in fetch + access]
        if any(len(row) != 2 for row in fetch) or any(len(row) != 4 for row in access):
            raise ValueError("the state's counters are damaged")
        scalars = [check_count(state[key]) for key in ("instructions", "stall_cycles", "traps", "cycles", "taken", "misaligned")]
        pc, reservation = check_count(state["pc"]) & 0xfffffffe, check_count(state["reservation"]) & 0xffffffff
        self.flush()
        for i in range(32):
            self.h.x[i] = x[i]
        self.h.pc, self.h.reg_RESERVATION = pc, reservation
        self.h.fuel = self.unretired = 0
        self.compile_at = min(self.compile_at, scalars[0] + self.period)
        granted, self.stall_cycles, self.traps, self.folded_cycles, self.folded_taken, self.folded_misaligned = scalars
        self.set_granted(granted)
        self.ranked_at = granted
        self.folded = folded
        self.folded_flow, self.folded_elsewhere, self.folded_divides = flow, elsewhere, divides
        for i in range(self.region_count):
            self.regions[i].fetch_count, self.regions[i].fetch_bytes = counts[i]
        for i in range(self.interval_count):
            (
                self.intervals[i].load_count,
                self.intervals[i].load_bytes,
                self.intervals[i].store_count,
                self.intervals[i].store_bytes,
            ) = counts[self.region_count + i]

    # ------------------------------------------------------------ totals
    @property
    def instructions(self):
        """Instructions retired so far."""
        return self.granted - self.allowed() - self.unretired

    cdef int64_t extra_cycles(self, block *b, uint32_t i) except? -1:
        """Cycles beyond an instruction's own cost: of its split accesses, and of ways into and out of the block."""
        return b.meta[i].misaligned * self.misaligned_cost + self.edge_cycles(b, i)

    cdef int64_t edge_cycles(self, block *b, uint32_t i) except? -1:
        """Cycles of the way into a block at the first instruction, of the way out at the last."""
        cdef int64_t total = 0
        if i == 0 and b.straddles:
            total += b.entered * self.straddle_cost
        if i == b.count_n - 1:
            if self.is_branch(b.meta[b.count_n - 1].instruction):
                total += b.taken * self.taken_cost
            total += (b.straddled + (b.taken - b.straddled_from) * b.target_straddles) * self.straddle_cost
        return total

    cdef int64_t divide_cycles(self, block *b, uint32_t i) except? -1:
        """Cycles by which a division's operands change its cost."""
        cdef int64_t total = 0
        cdef int64_t cost = b.meta[i].cost
        cdef uint64_t *histogram = <uint64_t *>b.code[i].host
        cdef int n
        if self.divide_costs is None or b.meta[i].instruction >= self.kind_count or not self.kinds[b.meta[i].instruction].divide:
            return 0
        for n in range(DIVIDE_BUCKETS):
            if histogram[n]:
                total += histogram[n] * (<int64_t>self.divide_costs[n] - cost)
        return total

    cdef int64_t cycles_of(self, block *b) except? -1:
        cdef int64_t total = <int64_t>(b.count * b.cycles)
        cdef uint32_t i, j
        if b.exits != NULL:
            for i in range(b.count_n):
                if b.exits[i]:
                    for j in range(i, b.count_n):
                        total -= b.exits[i] * b.meta[j].cost
        total += b.misaligned * self.misaligned_cost + self.edge_cycles(b, 0)
        if b.count_n > 1:
            total += self.edge_cycles(b, b.count_n - 1)
        if b.divides:
            for i in range(b.count_n):
                total += self.divide_cycles(b, i)
        return total

    @property
    def cycles(self):
        """Cycles so far. Within a CSR access: those before the instruction."""
        cdef int64_t total = self.folded_cycles + self.stall_cycles + self.traps * self.trap_cost
        if self.h.timed != NULL:
            if self.standing != NULL and self.h.timed.block != NULL:
                timed_tell(&self.h, self.stands_at, self.standing.pc + self.standing.meta[self.stands_at].offset, self.standing.ops[self.stands_at].size)
            total += self.h.timed.pipeline.cycles
        if self.dcache is not None:
            total += self.dcache.c.stall_cycles
        if self.icache is not None:
            total += self.icache.c.stall_cycles
        cdef int i
        jit_fold(self.h.jit)
        for i in range(self.block_count):
            total += self.cycles_of(self.blocks[i])
        for i in range(self.dead_count):
            total += self.cycles_of(self.dead[i])
        return total

    cdef int fetched(self, uint32_t pc, uint64_t n, int size) except -1:
        cdef Region *r = self.region(pc)
        if r != NULL:
            r.fetch_count += n
            r.fetch_bytes += n * size
        return 0

    def traffic(self):
        """Counts of all accesses so far.

        Returns
        -------
        tuple of list
            For each region (fetch count, fetch bytes); for each interval (load count, load bytes, store count, store bytes).
        """
        cdef int i
        cdef uint32_t j, size
        cdef block *b
        cdef Region *r
        self.fold_dead()
        jit_fold(self.h.jit)
        jit_credit(self.h.jit)
        fetch = [(self.regions[i].fetch_count, self.regions[i].fetch_bytes) for i in range(self.region_count)]
        for i in range(self.block_count):
            b = self.blocks[i]
            r = self.region(b.pc)
            if r == NULL:
                continue
            count = bytes_ = 0
            for j in range(b.count_n):
                self.settle(b, j)
                if b.meta[j].instruction == NO_INSTRUCTION:
                    continue
                size = (b.meta[j + 1].offset if j + 1 < b.count_n else b.end - b.pc) - b.meta[j].offset
                count += executed(b, j)
                bytes_ += executed(b, j) * size
            n = r - self.regions
            fetch[n] = (fetch[n][0] + count, fetch[n][1] + bytes_)
        accesses = [
            (self.intervals[i].load_count, self.intervals[i].load_bytes, self.intervals[i].store_count, self.intervals[i].store_bytes)
            for i in range(self.interval_count)
        ]
        return fetch, accesses

    def profile(self):
        """Executions by instruction.

        Returns
        -------
        list of (pc, instruction number, size, executions, cycles)
            Cycles include what the instruction's branch, split accesses and operands cost; an address may appear more than once, and one
            that stalled without retiring has no executions.
        """
        cdef int i
        cdef uint32_t j, size
        cdef uint64_t n
        cdef block *b
        self.fold_dead()
        jit_fold(self.h.jit)
        rows = [(pc, instruction, entry[2], entry[0], entry[1]) for (pc, instruction), entry in self.folded.items()]
        rows += [(pc, NO_INSTRUCTION, 0, 0, entry[3]) for pc, entry in self.folded_sites.items() if entry[3]]
        for i in range(self.block_count):
            b = self.blocks[i]
            for j in range(b.count_n):
                n = executed(b, j)
                extra = self.extra_cycles(b, j) + self.site_cycles(b, j)
                if (b.meta[j].instruction == NO_INSTRUCTION or not n) and not extra:
                    continue
                size = (b.meta[j + 1].offset if j + 1 < b.count_n else b.end - b.pc) - b.meta[j].offset
                cycles = n * b.meta[j].cost + self.divide_cycles(b, j) + extra
                rows.append((b.pc + b.meta[j].offset, b.meta[j].instruction, size, n, cycles))
        return rows

    def instruction_counts(self):
        """Executions of each instruction of the ISA, by number; those added at run time follow."""
        cdef int i
        cdef uint32_t j
        cdef block *b
        totals = [0] * (self.kind_count + len(self.custom))
        jit_fold(self.h.jit)
        for (_, number), entry in self.folded.items():
            if number != NO_INSTRUCTION:
                totals[number] += entry[0]
        for i in range(self.block_count + self.dead_count):
            b = self.blocks[i] if i < self.block_count else self.dead[i - self.block_count]
            if b.count:
                for j in range(b.count_n):
                    if b.meta[j].instruction != NO_INSTRUCTION:
                        totals[b.meta[j].instruction] += executed(b, j)
        if self.standing != NULL:
            for j in range(self.stands_at, self.standing.count_n):
                if self.standing.meta[j].instruction != NO_INSTRUCTION:
                    totals[self.standing.meta[j].instruction] -= 1
        return totals

    @property
    def taken_branches(self):
        """Conditional branches that were taken."""
        cdef int i
        cdef block *b
        jit_fold(self.h.jit)
        total = self.folded_taken
        for i in range(self.block_count + self.dead_count):
            b = self.blocks[i] if i < self.block_count else self.dead[i - self.block_count]
            if self.is_branch(b.meta[b.count_n - 1].instruction):
                total += b.taken
        return total

    @property
    def misaligned_accesses(self):
        """Loads and stores that were split in two."""
        cdef int i
        total = self.folded_misaligned
        for i in range(self.block_count):
            total += self.blocks[i].misaligned
        for i in range(self.dead_count):
            total += self.dead[i].misaligned
        return total


cdef check_count(value):
    """A counter of a snapshot."""
    if not isinstance(value, int) or not 0 <= value < 1 << 62:
        raise ValueError(f"expected a count, found {value!r}")
    return value


cdef int append(block ***list_, int *count, int *room, block *b) except -1:
    """Add a block to a growing list."""
    cdef int more = max(256, 2 * room[0])
    cdef block **grown
    if count[0] == room[0]:
        grown = <block **>PyMem_Realloc(list_[0], more * sizeof(block *))
        if grown == NULL:
            raise MemoryError
        list_[0], room[0] = grown, more
    list_[0][count[0]] = b
    count[0] += 1
    return 0


cdef int add_lost(dict all, uint32_t pc, uint64_t *lost) except -1:
    """Add the cycles that an instruction lost to those by address."""
    cdef int cause
    cdef uint64_t total = 0
    for cause in range(CAUSES):
        total += lost[cause]
    if total:
        entry = all.setdefault(pc, [0] * CAUSES)
        for cause in range(CAUSES):
            entry[cause] += lost[cause]
    return 0


cdef int add_site(dict sites, uint32_t pc, missed *s) except -1:
    """Add what an instruction missed to the counts by address."""
    if s.misses[0] or s.misses[1] or s.misses[2] or s.cycles:
        entry = sites.setdefault(pc, [0, 0, 0, 0])
        entry[0] += s.misses[0]
        entry[1] += s.misses[1]
        entry[2] += s.misses[2]
        entry[3] += s.cycles
    return 0


cdef inline size_t next_line(size_t address) noexcept nogil:
    return (address + CACHE_LINE - 1) & ~<size_t>(CACHE_LINE - 1)


cdef block *new_block(uint32_t n, const hart *h) except NULL:
    """A block of n instructions, all zeros, at the start of a cache line.

    Running it reads it all the time and writes guest registers between. No address of it has the lower 12 bits of one
    of theirs: the host would look for what a load reads in the last stores to registers, and lose a third of its speed
    (AMD and Intel, optimization manuals: store-to-load forwarding, 4-KByte aliasing).
    """
    cdef size_t size = sizeof(block) + (n + 1) * sizeof(insn), registers = <size_t>&h.x, offset
    cdef void *allocation = PyMem_Calloc(1, size + CACHE_LINE)
    cdef block *b
    if allocation != NULL:
        offset = (next_line(<size_t>allocation) - registers) % ALIAS
        if offset < sizeof(h.x) or offset + size > ALIAS:
            PyMem_Free(allocation)
            allocation = PyMem_Calloc(1, size + sizeof(h.x) + size + 2 * CACHE_LINE)
    if allocation == NULL:
        raise MemoryError
    b = <block *>next_line(<size_t>allocation)
    offset = (<size_t>b - registers) % ALIAS
    if offset < sizeof(h.x) or offset + size > ALIAS:
        b = <block *>next_line(<size_t>b + (sizeof(h.x) - offset) % ALIAS)
    b.allocation = allocation
    b.meta = <meta *>PyMem_Calloc(max(<uint32_t>1, n), sizeof(meta))
    if b.meta == NULL:
        PyMem_Free(allocation)
        raise MemoryError
    return b


cdef void free_block(block *b, Hart hart_) noexcept:
    cdef uint32_t j
    if b == NULL:
        return
    for j in range(b.count_n):
        if b.meta[j].instruction < hart_.kind_count and hart_.kinds[b.meta[j].instruction].divide:
            PyMem_Free(b.code[j].host)
    PyMem_Free(b.meta)
    PyMem_Free(b.exits)
    PyMem_Free(b.sites)
    PyMem_Free(b.ops)
    PyMem_Free(b.lost)
    free(b.elsewhere)
    PyMem_Free(b.allocation)


# ------------------------------------------------------------ called from the loop
# What needs the interpreter lock is in functions of its own: one that contains `with gil` takes it whenever it is called.
cdef void describe_at(hart *h, uint32_t pc, timing_op *op) noexcept with gil:
    cdef Hart self = <Hart>h.self
    cdef uint32_t word = self.half_word(pc), number = NO_INSTRUCTION, following
    cdef decoded d
    try:
        if word & 3 == 3:
            word |= self.half_word(pc + 2) << 16
        if decode(word, pc, self.ialign4, &d) and self.kinds[d.instruction].enabled:
            number = d.instruction
        following = self.following(pc + (4 if word & 3 == 3 else 2))
        described = <bytes>self.machine.operation(number, word, following)
        memcpy(op, <const char *>described, sizeof(timing_op))
    except BaseException as error:
        self.pending = error


cdef void drain_view(hart *h) noexcept with gil:
    cdef Hart self = <Hart>h.self
    try:
        self.flush_view()
    except BaseException as error:  # it cannot be written: the run ends before the next block
        self.pending = error
        self.h.timed.view, self.h.timed.report.staged = NULL, 0
        self.h.fuel &= ~SLACK


cdef void bury_dead(Hart self) noexcept with gil:
    self.bury()


cdef void tell_hooked(Hart self, uint32_t address) noexcept with gil:
    try:
        self.machine.hooked_store(address)
    except BaseException as error:
        self.pending = error


cdef int slow_load(hart *h, block *b, insn *e, uint32_t address, int size, uint32_t *value) noexcept nogil:
    cdef uint8_t *host = NULL
    value[0] = 0
    if (<Hart>h.self).near(b, e, address, size, False, &host):
        memcpy(value, host, size)
        return 0
    if (<Hart>h.self).access(b, e, address, size, False, 0, True, &host) < 0:
        return 1
    if host == NULL:
        return device(h, b, e, address, size, False, value)
    memcpy(value, host, size)
    return 0


cdef int slow_store(hart *h, block *b, insn *e, uint32_t address, int size, uint32_t value) noexcept nogil:
    return (<Hart>h.self).write(b, e, address, size, value, True)


cdef int slow_plain(hart *h, block *b, insn *e, uint32_t address, int size, int is_store, uint32_t *value) noexcept nogil:
    cdef uint8_t *host = NULL
    if is_store:
        return (<Hart>h.self).write(b, e, address, size, value[0], False)
    if (<Hart>h.self).access(b, e, address, size, False, 0, False, &host) < 0:
        return 1
    if host == NULL:
        return device(h, b, e, address, size, False, value)
    memcpy(value, host, size)
    return 0


cdef void site_credit(hart *h, site *s) noexcept nogil:
    (<Hart>h.self).credit(s)


cdef void site_adopt(hart *h, site *s) noexcept nogil:
    (<Hart>h.self).adopt(s)


cdef int slow_probe(hart *h, uint32_t address) noexcept nogil:
    """Whether a word cannot be written; devices take no atomic accesses."""
    cdef Region *r = (<Hart>h.self).region(address)
    if r == NULL or r.data == NULL or not r.permissions & WRITE or 3 > r.last - address or not (<Hart>h.self).permitted(address, 4, WRITE):
        h.irq, h.cause, h.tval = 0, 7, address
        return 1
    return 0


cdef int device(hart *h, block *b, insn *e, uint32_t address, int size, bint is_store, uint32_t *value) noexcept with gil:
    """An access to a device; 1 when it traps."""
    cdef Hart self = <Hart>h.self
    try:
        if is_store:
            self.device_store(b, <uint32_t>(e - b.code), address, size, value[0])
        else:
            value[0] = self.device_load(b, <uint32_t>(e - b.code), address, size)
    except GuestTrap as trap:
        h.irq, h.cause, h.tval = trap.irq, trap.cause, trap.tval
        return 1
    except BaseException as error:
        self.pending = error
        if is_store:  # it has taken place: the run ends behind it
            return 0
        h.irq, h.cause = 0, 24
        return 1
    return 0


cdef int slow_csr(hart *h, block *b, insn *e, uint32_t number, int write, uint32_t *value) noexcept with gil:
    cdef Hart self = <Hart>h.self
    cdef uint32_t i = <uint32_t>(e - b.code)
    try:
        # The access itself has not retired: instructions and cycles are those before it.
        self.stand(b, i, 1)
        try:
            if write:
                self.machine.csr_write(number, value[0])
                if self.log is not None:
                    self.note_csrs(self.machine.written_csrs(number, value[0]))
            else:
                value[0] = self.machine.csr_read(number)
        finally:
            self.stand(b, i, -1)
    except GuestTrap as trap:
        h.irq, h.cause, h.tval = trap.irq, trap.cause, trap.tval
        return 1
    except BaseException as error:
        self.pending = error
        h.irq, h.cause = 0, 24
        return 1
    return 0


cdef int slow_hwloop_new(hart *h, uint32_t last) noexcept with gil:
    cdef Hart self = <Hart>h.self
    try:
        return self.add_last(last)
    except BaseException as error:
        self.pending = error
        return 1


cdef int slow_custom(hart *h, block *b, insn *e) noexcept with gil:
    cdef Hart self = <Hart>h.self
    cdef uint32_t i = <uint32_t>(e - b.code)
    cdef uint32_t pc = b.pc + b.meta[i].offset
    try:
        # What reads the counters has not retired.
        self.stand(b, i, 1)
        try:
            target = self.machine.custom(e.k[0], b.meta[i].word, pc)
        finally:
            self.stand(b, i, -1)
        h.pc = target if target is not None else self.behind(b, i) if e.k[1] else self.behind_last(b, i)
    except GuestTrap as trap:
        h.irq, h.cause, h.tval = trap.irq, trap.cause, trap.tval
        return 1
    except BaseException as error:
        self.pending = error
        h.irq, h.cause = 0, 24
        return 1
    return 0


cdef uint32_t slow_leave(hart *h) noexcept with gil:
    cdef Hart self = <Hart>h.self
    try:
        target = self.machine.trap_return()
        if self.log is not None:
            self.note_csrs(self.machine.trap_return_csrs())
        return target
    except BaseException as error:
        self.pending = error
        return h.pc
