/* A larger program of many functions, as whole applications are: an expression compiler and its stack machine, hash table,
   search tree, heap, strings, compression, a hash function, big integers, fixed-point transforms, matrices, sorting, graph search,
   a pattern matcher, objects with virtual calls, recursion. Each module adds to one checksum. */
#include "rt.h"
#define CALL __attribute__((noinline)) static
typedef uint32_t u32;
typedef int32_t i32;
typedef uint8_t u8;
/* C leaves the order of arguments open: at most one of a call draws, or changes anything. */
static u32 seed;
CALL u32 rnd(u32 below) { return lcg(&seed) % below; }

/* ---------------------------------------------------------------- memory: a bump allocator and lists of free cells */
enum { HEAP = 1 << 16, CLASSES = 8 };
static u32 heap[HEAP / 4], used;
static u32 *cells[CLASSES];
CALL void *take(u32 size) {
  u32 c = (size + 15) / 16;
  if (c < CLASSES && cells[c]) { u32 *p = cells[c]; cells[c] = (u32 *)(void *)heap + p[0]; if (p[0] == HEAP) cells[c] = 0; return p; }
  u32 at = used;
  used += c * 4;
  return used <= HEAP / 4 ? heap + at : (void *)0;
}
CALL void give(void *p, u32 size) {
  u32 c = (size + 15) / 16, *q = p;
  if (c >= CLASSES) return;
  q[0] = cells[c] ? (u32)(cells[c] - heap) : HEAP;
  cells[c] = q;
}
CALL void heap_reset(void) { used = 0; for (int i = 0; i < CLASSES; i++) cells[i] = 0; }

/* ---------------------------------------------------------------- strings */
CALL u32 length(const char *s) { u32 n = 0; while (s[n]) n++; return n; }
CALL int compare(const char *a, const char *b) { while (*a && *a == *b) a++, b++; return (u8)*a - (u8)*b; }
CALL char *copy(char *d, const char *s) { while ((*d = *s++)) d++; return d; }
CALL void reverse(char *s, u32 n) { for (u32 i = 0; i < n / 2; i++) { char c = s[i]; s[i] = s[n - 1 - i]; s[n - 1 - i] = c; } }
CALL u32 print_number(char *d, i32 v, u32 base) {
  u32 n = 0, u = v < 0 ? 0u - (u32)v : (u32)v;
  do { u32 k = u % base; d[n++] = (char)(k < 10 ? '0' + k : 'a' + k - 10); u /= base; } while (u);
  if (v < 0) d[n++] = '-';
  reverse(d, n);
  d[n] = 0;
  return n;
}
CALL i32 read_number(const char **s, u32 base) {
  i32 sign = 1; u32 v = 0;
  if (**s == '-') { sign = -1; ++*s; }
  for (;; ++*s) {
    u32 c = (u8)**s, k = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
    if (k >= base) return (i32)((u32)sign * v);
    v = v * base + k;
  }
}
CALL const char *find(const char *s, const char *part) {
  for (; *s; s++) { u32 i = 0; while (part[i] && s[i] == part[i]) i++; if (!part[i]) return s; }
  return 0;
}
CALL u32 edits(const char *a, const char *b) {
  static u8 row[64];
  u32 n = length(b);
  for (u32 j = 0; j <= n; j++) row[j] = (u8)j;
  for (u32 i = 1; *a; a++, i++) {
    u32 left_up = row[0];
    row[0] = (u8)i;
    for (u32 j = 1; j <= n; j++) {
      u32 up = row[j], best = left_up + (*a != b[j - 1]);
      if (up + 1 < best) best = up + 1;
      if (row[j - 1] + 1u < best) best = row[j - 1] + 1u;
      left_up = up;
      row[j] = (u8)best;
    }
  }
  return row[n];
}
static const char *const words[] = {"branch", "trap", "hart", "retire", "cycle", "fetch", "decode", "window", "register", "counter", "memory", "store",
                                    "load", "immediate", "compressed", "multiply", "divide", "interrupt", "stack", "return"};
enum { WORDS = sizeof words / sizeof *words };
CALL u32 strings(void) {
  char a[64], b[64]; u32 h = 1;
  for (u32 i = 0; i < 24; i++) {
    char *e = copy(a, words[rnd(WORDS)]); u32 base = 2 + rnd(30); e += print_number(e, (i32)(lcg(&seed) << 8), base); copy(e, words[rnd(WORDS)]);
    e = copy(b, words[rnd(WORDS)]); copy(e, words[rnd(WORDS)]);
    const char *at = find(a, words[rnd(WORDS)]), *p;
    if (!(i & 3)) h = mix(h, edits(a, b));
    h = mix(h, at ? (u32)(at - a) : 99);
    h = mix(h, (u32)(compare(a, b) < 0));
    base = 2 + rnd(30); i32 v = (i32)(lcg(&seed) << 8); print_number(b, v, base); p = b;
    if (read_number(&p, base) != v) return 0;
    h = mix(h, length(b) ^ (u8)*p);
  }
  return h;
}

/* ---------------------------------------------------------------- a hash table of strings */
struct entry { struct entry *next; char name[20]; u32 value; };
static struct entry *table[32];
CALL u32 hash(const char *s) { u32 h = 2166136261u; while (*s) h = (h ^ (u8)*s++) * 16777619u; return h ^ h >> 15; }
CALL struct entry *look_up(const char *name, int make) {
  struct entry **p = &table[hash(name) & 31];
  for (; *p; p = &(*p)->next) if (!compare((*p)->name, name)) return *p;
  if (!make) return 0;
  struct entry *e = take(sizeof *e);
  e->next = 0; e->value = 0; copy(e->name, name);
  return *p = e;
}
CALL int forget(const char *name) {
  for (struct entry **p = &table[hash(name) & 31]; *p; p = &(*p)->next)
    if (!compare((*p)->name, name)) { struct entry *e = *p; *p = e->next; give(e, sizeof *e); return 1; }
  return 0;
}
CALL u32 tables(void) {
  char name[24]; u32 h = 3;
  for (u32 i = 0; i < 32; i++) table[i] = 0;
  for (u32 i = 0; i < 160; i++) {
    char *e = copy(name, words[rnd(WORDS)]); print_number(e, (i32)rnd(9), 10);
    u32 what = rnd(4);
    if (what < 2) look_up(name, 1)->value += i;
    else if (what == 2) { struct entry *e = look_up(name, 0); h = mix(h, e ? e->value : i); }
    else h = mix(h, (u32)forget(name));
  }
  return h;
}

/* ---------------------------------------------------------------- expressions: parser, code, stack machine */
enum { PUSH, VAR, ADD, SUB, MUL, DIV, MOD, AND, OR, XOR, SHL, SHR, LT, EQ, NEG, NOT, JZ, JMP, CALLF, RET, ARG, STOP };
static i32 code[512], variables[26], stack[256];
static u32 emitted, faults;
static const char *text;
CALL void emit(i32 op, i32 operand) { code[emitted++] = op; code[emitted++] = operand; }
CALL void skip(void) { while (*text == ' ') text++; }
CALL int accept(char c) { skip(); if (*text != c) return 0; text++; return 1; }
CALL void expression(u32 level);
CALL void primary(void) {
  skip();
  if (accept('(')) { expression(0); if (!accept(')')) faults++; }
  else if (accept('-')) { primary(); emit(NEG, 0); }
  else if (accept('!')) { primary(); emit(NOT, 0); }
  else if (*text >= '0' && *text <= '9') emit(PUSH, read_number(&text, 10));
  else if (*text >= 'a' && *text <= 'z') emit(VAR, *text++ - 'a');
  else { faults++; emit(PUSH, 1); if (*text) text++; }
}
static const struct { char sign; u8 level, op; } operators[] = {{'|', 0, OR}, {'^', 1, XOR}, {'&', 2, AND}, {'=', 3, EQ}, {'<', 4, LT}, {'l', 5, SHL},
                                                               {'r', 5, SHR}, {'+', 6, ADD}, {'~', 6, SUB}, {'*', 7, MUL}, {'/', 7, DIV}, {'%', 7, MOD}};
CALL void expression(u32 level) {
  if (level == 8) { primary(); return; }
  expression(level + 1);
  for (;;) {
    skip();
    u32 n = 0;
    while (n < 12 && !(operators[n].level == level && operators[n].sign == *text)) n++;
    if (n == 12) break;
    text++;
    expression(level + 1);
    emit(operators[n].op, 0);
  }
  if (level == 0 && accept('?')) { /* a conditional, with jumps */
    u32 to_else = emitted; emit(JZ, 0); expression(0);
    u32 to_end = emitted; emit(JMP, 0);
    code[to_else + 1] = (i32)emitted;
    if (!accept(':')) faults++;
    expression(0);
    code[to_end + 1] = (i32)emitted;
  }
}
CALL i32 divide(i32 a, i32 b) { return b == 0 ? -1 : b == -1 ? (i32)(0u - (u32)a) : a / b; }
CALL i32 modulo(i32 a, i32 b) { return b == 0 ? a : b == -1 ? 0 : a % b; }
CALL i32 machine(u32 pc, i32 argument) {
  u32 sp = 0, frames = 0;
  static struct { u32 back; i32 argument; } frame[64];
  for (;;) {
    i32 op = code[pc], operand = code[pc + 1], *t = &stack[sp];
    pc += 2;
    switch (op) {
    case PUSH: t[0] = operand; sp++; break;
    case VAR: t[0] = variables[operand]; sp++; break;
    case ARG: t[0] = argument; sp++; break;
    case ADD: t[-2] = (i32)((u32)t[-2] + (u32)t[-1]); sp--; break;
    case SUB: t[-2] = (i32)((u32)t[-2] - (u32)t[-1]); sp--; break;
    case MUL: t[-2] = (i32)((u32)t[-2] * (u32)t[-1]); sp--; break;
    case DIV: t[-2] = divide(t[-2], t[-1]); sp--; break;
    case MOD: t[-2] = modulo(t[-2], t[-1]); sp--; break;
    case AND: t[-2] &= t[-1]; sp--; break;
    case OR: t[-2] |= t[-1]; sp--; break;
    case XOR: t[-2] ^= t[-1]; sp--; break;
    case SHL: t[-2] = (i32)((u32)t[-2] << (t[-1] & 31)); sp--; break;
    case SHR: t[-2] >>= t[-1] & 31; sp--; break;
    case LT: t[-2] = t[-2] < t[-1]; sp--; break;
    case EQ: t[-2] = t[-2] == t[-1]; sp--; break;
    case NEG: t[-1] = (i32)(0u - (u32)t[-1]); break;
    case NOT: t[-1] = !t[-1]; break;
    case JZ: sp--; if (!t[-1]) pc = (u32)operand; break;
    case JMP: pc = (u32)operand; break;
    case CALLF: frame[frames].back = pc; frame[frames++].argument = argument; argument = t[-1]; sp--; pc = (u32)operand; break;
    case RET: pc = frame[--frames].back; argument = frame[frames].argument; break;
    default: return t[-1];
    }
  }
}
CALL i32 fibonacci(i32 n) { /* as code of the machine */
  static const i32 body[] = {ARG, 0, CALLF, 6, STOP, 0, ARG, 0, PUSH, 2, LT, 0, JZ, 18, ARG, 0, RET, 0, ARG, 0, PUSH, 1, SUB, 0, CALLF, 6,
                             ARG, 0, PUSH, 2, SUB, 0, CALLF, 6, ADD, 0, RET, 0};
  for (u32 i = 0; i < sizeof body / 4; i++) code[i] = body[i];
  return machine(0, n);
}
CALL u32 random_text(char *d, u32 depth) {
  u32 n = 0, what = depth ? rnd(8) : 6 + rnd(2);
  if (what < 4) { n += random_text(d, depth - 1); d[n++] = " |^&=<lr+~*/%"[1 + rnd(12)]; n += random_text(d + n, depth - 1); }
  else if (what == 4) { d[n++] = '('; n += random_text(d + n, depth - 1); d[n++] = '?'; n += random_text(d + n, 0); d[n++] = ':'; n += random_text(d + n, 0); d[n++] = ')'; }
  else if (what == 5) { d[n++] = rnd(2) ? '-' : '!'; d[n++] = '('; n += random_text(d + n, depth - 1); d[n++] = ')'; }
  else if (what == 6) n += print_number(d, (i32)rnd(1000), 10);
  else d[n++] = (char)('a' + rnd(26));
  d[n] = 0;
  return n;
}
CALL u32 expressions(void) {
  static char source[2048]; u32 h = 5;
  for (u32 i = 0; i < 26; i++) variables[i] = (i32)(lcg(&seed) << 4);
  for (u32 i = 0; i < 6; i++) {
    random_text(source, 4); text = source; emitted = 0; faults = 0;
    expression(0); skip();
    h = mix(h, faults ^ (u8)*text); emit(STOP, 0);
    for (u32 k = 0; k < 8; k++) { i32 v = machine(0, 0); variables[rnd(26)] = v ^ (i32)k; h = mix(h, (u32)v); }
  }
  return mix(h, (u32)fibonacci(11));
}

/* ---------------------------------------------------------------- a search tree (treap), by recursion */
struct tree { struct tree *left, *right; u32 key, priority, count; };
CALL u32 count(struct tree *t) { return t ? t->count : 0; }
CALL struct tree *recount(struct tree *t) { t->count = 1 + count(t->left) + count(t->right); return t; }
CALL struct tree *turn_right(struct tree *t) { struct tree *l = t->left; t->left = l->right; l->right = recount(t); return recount(l); }
CALL struct tree *turn_left(struct tree *t) { struct tree *r = t->right; t->right = r->left; r->left = recount(t); return recount(r); }
CALL struct tree *insert(struct tree *t, u32 key) {
  if (!t) { t = take(sizeof *t); t->left = t->right = 0; t->key = key; t->priority = lcg(&seed); t->count = 1; return t; }
  if (key < t->key) { t->left = insert(t->left, key); if (t->left->priority > t->priority) return turn_right(t); }
  else if (key > t->key) { t->right = insert(t->right, key); if (t->right->priority > t->priority) return turn_left(t); }
  return recount(t);
}
CALL struct tree *delete(struct tree *t, u32 key) {
  if (!t) return 0;
  if (key < t->key) t->left = delete(t->left, key);
  else if (key > t->key) t->right = delete(t->right, key);
  else if (!t->left || !t->right) { struct tree *rest = t->left ? t->left : t->right; give(t, sizeof *t); return rest; }
  else if (t->left->priority > t->right->priority) { t = turn_right(t); t->right = delete(t->right, key); }
  else { t = turn_left(t); t->left = delete(t->left, key); }
  return recount(t);
}
CALL u32 rank(struct tree *t, u32 key) { return !t ? 0 : key <= t->key ? rank(t->left, key) : 1 + count(t->left) + rank(t->right, key); }
CALL u32 walk(struct tree *t, u32 h) { return t ? walk(t->right, mix(walk(t->left, h), t->key)) : h; }
CALL u32 trees(void) {
  struct tree *t = 0; u32 h = 7;
  for (u32 i = 0; i < 90; i++) { t = insert(t, rnd(500)); if (i % 3 == 2) t = delete(t, rnd(500)); if (!(i & 7)) h = mix(h, rank(t, rnd(500))); }
  return walk(t, h);
}

/* ---------------------------------------------------------------- sorting, through a function that compares */
typedef int (*less)(u32, u32);
CALL int by_value(u32 a, u32 b) { return a < b; }
CALL int by_sign(u32 a, u32 b) { return (i32)a < (i32)b; }
CALL int by_digits(u32 a, u32 b) { return a % 1000 != b % 1000 ? a % 1000 < b % 1000 : a < b; }
CALL int by_bits(u32 a, u32 b) { u32 n = 0, m = 0; for (u32 v = a; v; v &= v - 1) n++; for (u32 v = b; v; v &= v - 1) m++; return n != m ? n < m : a < b; }
static const less orders[] = {by_value, by_sign, by_digits, by_bits};
static u32 items[128], spare[128];
CALL void sift(u32 *a, u32 at, u32 n, less f) {
  for (u32 k; (k = 2 * at + 1) < n; at = k) { if (k + 1 < n && f(a[k], a[k + 1])) k++; if (!f(a[at], a[k])) break; u32 v = a[at]; a[at] = a[k]; a[k] = v; }
}
CALL void heap_sort(u32 *a, u32 n, less f) {
  for (u32 i = n / 2; i-- > 0;) sift(a, i, n, f);
  for (u32 i = n; i-- > 1;) { u32 v = a[0]; a[0] = a[i]; a[i] = v; sift(a, 0, i, f); }
}
CALL void merge_sort(u32 *a, u32 n, less f) {
  if (n < 2) return;
  u32 m = n / 2, i = 0, j = m, k = 0;
  merge_sort(a, m, f); merge_sort(a + m, n - m, f);
  while (i < m && j < n) spare[k++] = f(a[j], a[i]) ? a[j++] : a[i++];
  while (i < m) spare[k++] = a[i++];
  for (i = 0; i < k; i++) a[i] = spare[i];
}
CALL void shell_sort(u32 *a, u32 n, less f) {
  for (u32 gap = n / 2; gap; gap /= 2)
    for (u32 i = gap; i < n; i++) { u32 v = a[i], j = i; for (; j >= gap && f(v, a[j - gap]); j -= gap) a[j] = a[j - gap]; a[j] = v; }
}
CALL void radix_sort(u32 *a, u32 n) {
  for (u32 s = 0; s < 32; s += 8) {
    u32 start[257] = {0};
    for (u32 i = 0; i < n; i++) start[(a[i] >> s & 255) + 1]++;
    for (u32 i = 0; i < 256; i++) start[i + 1] += start[i];
    for (u32 i = 0; i < n; i++) spare[start[a[i] >> s & 255]++] = a[i];
    for (u32 i = 0; i < n; i++) a[i] = spare[i];
  }
}
typedef void (*sorter)(u32 *, u32, less);
CALL u32 sorting(void) {
  static const sorter how[] = {heap_sort, merge_sort, shell_sort};
  u32 h = 9;
  for (u32 s = 0; s < 4; s++) {
    u32 n = 20 + rnd(20);
    for (u32 i = 0; i < n; i++) items[i] = lcg(&seed) << (i & 8);
    if (s == 3) radix_sort(items, n); else how[s](items, n, orders[rnd(4)]);
    for (u32 i = 0; i < n; i += 3) h = mix(h, items[i]);
  }
  return h;
}

/* ---------------------------------------------------------------- compression: LZ and back, Huffman lengths, run lengths, base64 */
static u8 plain[512], packed[1024], back[512];
CALL u32 lz_pack(u8 *d, const u8 *s, u32 n) {
  static uint16_t last[256];
  u32 k = 0;
  for (u32 i = 0; i < 256; i++) last[i] = 0xffff;
  for (u32 i = 0; i < n;) {
    u32 slot = i + 2 < n ? (s[i] * 31u + s[i + 1] * 7u + s[i + 2]) & 255 : 0, at = last[slot], run = 0;
    if (i + 2 < n) last[slot] = (uint16_t)i;
    if (at != 0xffff && i - at < 255) while (i + run < n && run < 127 && s[at + run] == s[i + run]) run++;
    if (run > 2) { d[k++] = (u8)(128 + run); d[k++] = (u8)(i - at); i += run; }
    else { d[k++] = (u8)(s[i] & 127); i++; }
  }
  return k;
}
CALL u32 lz_unpack(u8 *d, const u8 *s, u32 n) {
  u32 k = 0;
  for (u32 i = 0; i < n; i++)
    if (s[i] < 128) d[k++] = s[i];
    else { u32 run = s[i] - 128u, far = s[++i]; while (run--) { d[k] = d[k - far]; k++; } }
  return k;
}
CALL u32 huffman_bits(const u8 *s, u32 n) {
  static uint16_t weight[256], parent[256];
  u32 top = 128, bits = 0;
  for (u32 i = 0; i < 256; i++) weight[i] = parent[i] = 0;
  for (u32 i = 0; i < n; i++) weight[s[i] & 63]++;
  for (;; top++) {
    u32 a = 256, b = 256;
    for (u32 i = 0; i < top; i++) {
      if (i == 64) i = 128;
      if (i >= top) break;
      if (!weight[i] || parent[i]) continue;
      if (a == 256 || weight[i] < weight[a]) { b = a; a = i; } else if (b == 256 || weight[i] < weight[b]) b = i;
    }
    if (b == 256) break;
    weight[top] = (uint16_t)(weight[a] + weight[b]);
    parent[a] = parent[b] = (uint16_t)top;
  }
  for (u32 i = 0; i < 64; i++) { u32 depth = 0; for (u32 k = i; parent[k]; k = parent[k]) depth++; bits += depth * weight[i]; }
  return bits;
}
CALL u32 base64(u8 *d, const u8 *s, u32 n) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  u32 k = 0;
  for (u32 i = 0; i < n; i += 3) {
    u32 v = (u32)s[i] << 16 | (i + 1 < n ? (u32)s[i + 1] << 8 : 0) | (i + 2 < n ? s[i + 2] : 0);
    for (u32 j = 0; j < 4; j++, v <<= 6) d[k++] = i + j > n ? '=' : (u8)digits[v >> 18 & 63];
  }
  return k;
}
CALL u32 compression(void) {
  u32 n = 0, h = 11;
  while (n < 280) { const char *w = words[rnd(WORDS)]; n += (u32)(copy((char *)plain + n, w) - ((char *)plain + n)); plain[n++] = rnd(4) ? ' ' : (u8)('0' + rnd(10)); }
  u32 k = lz_pack(packed, plain, n);
  if (lz_unpack(back, packed, k) != n) return 0;
  for (u32 i = 0; i < n; i++) if (back[i] != plain[i]) return 0;
  h = mix(mix(h, k), huffman_bits(plain, n));
  k = base64(packed, plain, n);
  for (u32 i = 0; i < k; i += 5) h = mix(h, packed[i]);
  return h;
}

/* ---------------------------------------------------------------- a hash of the shape of SHA-256 (FIPS 180-4), with constants of its own */
static u32 k256[64], state[8];
CALL u32 root_fraction(u32 p, u32 cube) { /* the square or cube root, 16 bits behind the point, as far as 32 bits */
  uint64_t low = 0, high = 32ull << 32;
  while (high - low > 1) {
    uint64_t m = (low + high) / 2, a = m >> 16;
    uint64_t power = cube ? (a * a >> 16) * a >> 16 : a * a >> 16;
    if (power > (uint64_t)p << 16) high = m; else low = m;
  }
  return (u32)low;
}
CALL void sha_constants(void) {
  u32 n = 0;
  for (u32 p = 2; n < 64; p++) { u32 d = 2; while (d * d <= p && p % d) d++; if (d * d > p) { k256[n] = root_fraction(p, 1); if (n < 8) state[n] = root_fraction(p, 0); n++; } }
}
CALL u32 rotate(u32 v, u32 n) { return v >> n | v << (32 - n); }
CALL u32 sigma(u32 v, u32 a, u32 b, u32 c) { return rotate(v, a) ^ rotate(v, b) ^ rotate(v, c); }
CALL void sha_block(const u8 *s) {
  u32 w[64], r[8];
  for (u32 i = 0; i < 16; i++) w[i] = (u32)s[4 * i] << 24 | (u32)s[4 * i + 1] << 16 | (u32)s[4 * i + 2] << 8 | s[4 * i + 3];
  for (u32 i = 16; i < 64; i++) w[i] = w[i - 16] + (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] + (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10);
  for (u32 i = 0; i < 8; i++) r[i] = state[i];
  for (u32 i = 0; i < 64; i++) {
    u32 t1 = r[7] + sigma(r[4], 6, 11, 25) + ((r[4] & r[5]) ^ (~r[4] & r[6])) + k256[i] + w[i], t2 = sigma(r[0], 2, 13, 22) + ((r[0] & r[1]) ^ (r[0] & r[2]) ^ (r[1] & r[2]));
    for (u32 k = 7; k; k--) r[k] = r[k - 1];
    r[4] += t1; r[0] = t1 + t2;
  }
  for (u32 i = 0; i < 8; i++) state[i] += r[i];
}
CALL u32 digest(void) {
  for (u32 i = 0; i < 64; i++) plain[i] = (u8)rnd(256);
  for (u32 i = 0; i < 2; i++) sha_block(plain + 32 * i);
  return mix(state[0], state[7]);
}

/* ---------------------------------------------------------------- big integers: factorial, powers, decimal digits */
struct big { u32 n, digit[24]; };
CALL void big_set(struct big *a, u32 v) { a->n = 1; a->digit[0] = v; }
CALL void big_scale(struct big *a, u32 m, u32 add) {
  uint64_t c = add;
  for (u32 i = 0; i < a->n; i++) { c += (uint64_t)a->digit[i] * m; a->digit[i] = (u32)c; c >>= 32; }
  if (c && a->n < 24) a->digit[a->n++] = (u32)c;
}
CALL u32 big_divide(struct big *a, u32 d) {
  uint64_t r = 0;
  for (u32 i = a->n; i-- > 0;) { r = r << 32 | a->digit[i]; a->digit[i] = (u32)(r / d); r %= d; }
  while (a->n > 1 && !a->digit[a->n - 1]) a->n--;
  return (u32)r;
}
CALL void big_multiply(struct big *r, const struct big *a, const struct big *b) {
  for (u32 i = 0; i < 24; i++) r->digit[i] = 0;
  for (u32 i = 0; i < a->n; i++) {
    uint64_t c = 0;
    for (u32 j = 0; j < b->n && i + j < 24; j++) { c += (uint64_t)a->digit[i] * b->digit[j] + r->digit[i + j]; r->digit[i + j] = (u32)c; c >>= 32; }
    if (i + b->n < 24) r->digit[i + b->n] = (u32)c;
  }
  r->n = a->n + b->n < 24 ? a->n + b->n : 24;
  while (r->n > 1 && !r->digit[r->n - 1]) r->n--;
}
CALL u32 big_numbers(void) {
  struct big a, b, c; u32 h = 13;
  big_set(&a, 1);
  for (u32 i = 2; i < 18; i++) big_scale(&a, i, rnd(3));
  big_set(&b, 3 + rnd(100)); big_multiply(&c, &a, &b); big_multiply(&b, &c, &a);
  while (b.n > 1) h = mix(h, big_divide(&b, 1000000000));
  return mix(h, b.digit[0]);
}
CALL u32 power_modulo(u32 b, u32 e, u32 m) { uint64_t r = 1, v = b % m; for (; e; e >>= 1) { if (e & 1) r = r * v % m; v = v * v % m; } return (u32)r; }
CALL u32 gcd(u32 a, u32 b) { return b ? gcd(b, a % b) : a; }
CALL u32 isqrt(u32 v) { u32 r = 0; for (u32 bit = 1u << 30; bit; bit >>= 2) { if (v >= r + bit) { v -= r + bit; r = r / 2 + bit; } else r /= 2; } return r; }
CALL int probably_prime(u32 n) { return (n & 1) && power_modulo(2, n - 1, n) == 1 && power_modulo(3, n - 1, n) == 1; }
CALL u32 numbers(void) {
  u32 h = 15;
  for (u32 i = 0; i < 10; i++) { u32 a = lcg(&seed), b = lcg(&seed) | 1; h = mix(h, gcd(a, b) ^ isqrt(a)); if (i < 2) h = mix(h, (u32)probably_prime(b)); }
  return h;
}

/* ---------------------------------------------------------------- fixed point: transform, filter, matrices, rotation */
static i32 re[64], im[64], sine[64];
CALL i32 multiply(i32 a, i32 b) { return (i32)(((int64_t)a * b) >> 14); }
CALL void make_sine(void) { /* 16384 sin(2 pi i / 64), by the recurrence of rotation */
  i32 s = 0, c = 16384;
  for (u32 i = 0; i < 64; i++) { sine[i] = s; i32 t = multiply(s, 16305) + multiply(c, 1606); c = multiply(c, 16305) - multiply(s, 1606); s = t; }
}
CALL void transform(u32 n) {
  for (u32 i = 0, j = 0; i < n; i++) { if (i < j) { i32 t = re[i]; re[i] = re[j]; re[j] = t; } u32 m = n / 2; while (m && (j & m)) { j ^= m; m /= 2; } j |= m; }
  for (u32 size = 2; size <= n; size *= 2)
    for (u32 k = 0; k < size / 2; k++) {
      i32 wr = sine[(16 + k * (64 / size)) & 63], wi = -sine[k * (64 / size)];
      for (u32 i = k; i < n; i += size) {
        u32 j = i + size / 2;
        i32 tr = multiply(wr, re[j]) - multiply(wi, im[j]), ti = multiply(wr, im[j]) + multiply(wi, re[j]);
        re[j] = (re[i] - tr) >> 1; im[j] = (im[i] - ti) >> 1; re[i] = (re[i] + tr) >> 1; im[i] = (im[i] + ti) >> 1;
      }
    }
}
CALL u32 signals(void) {
  static const i32 taps[8] = {-310, 820, 2500, 5100, 5100, 2500, 820, -310};
  u32 h = 17;
  for (u32 i = 0; i < 64; i++) { re[i] = (i32)rnd(8192) - 4096; im[i] = 0; }
  for (u32 i = 8; i < 64; i++) { i32 s = 0; for (u32 k = 0; k < 8; k++) s += multiply(taps[k], re[i - k]); im[i] = s; }
  transform(64);
  for (u32 i = 0; i < 64; i += 3) h = mix(h, (u32)re[i] ^ (u32)im[i] << 8);
  return h;
}
enum { PRIME = 32749 };
typedef i32 matrix[6][6];
CALL void matrix_multiply(matrix r, matrix a, matrix b) { for (u32 i = 0; i < 6; i++) for (u32 j = 0; j < 6; j++) { i32 s = 0; for (u32 k = 0; k < 6; k++) s = (s + a[i][k] * b[k][j]) % PRIME; r[i][j] = s; } }
CALL i32 determinant(matrix a) {
  i32 d = 1;
  for (u32 c = 0; c < 6; c++) {
    u32 p = c;
    while (p < 6 && !a[p][c]) p++;
    if (p == 6) return 0;
    if (p != c) { d = PRIME - d; for (u32 k = 0; k < 6; k++) { i32 t = a[p][k]; a[p][k] = a[c][k]; a[c][k] = t; } }
    d = d * a[c][c] % PRIME;
    i32 inverse = (i32)power_modulo((u32)a[c][c], PRIME - 2, PRIME);
    for (u32 r = c + 1; r < 6; r++) { i32 f = a[r][c] * inverse % PRIME; for (u32 k = c; k < 6; k++) a[r][k] = (a[r][k] + (PRIME - f) * a[c][k]) % PRIME; }
  }
  return d;
}
CALL u32 matrices(void) {
  static matrix a, b, c;
  for (u32 i = 0; i < 6; i++) for (u32 j = 0; j < 6; j++) { a[i][j] = (i32)rnd(PRIME); b[i][j] = (i32)rnd(PRIME); }
  matrix_multiply(c, a, b);
  u32 h = (u32)c[5][3];
  return mix(h, (u32)determinant(c));
}

/* ---------------------------------------------------------------- graphs: shortest ways with a heap, components, flood */
enum { SIDE = 10, CELLS = SIDE * SIDE };
static u8 cost[CELLS], group[CELLS];
static u32 far[CELLS], queue[4 * CELLS], queued;
CALL void push(u32 v) { u32 i = queued++; for (; i && queue[(i - 1) / 2] > v; i = (i - 1) / 2) queue[i] = queue[(i - 1) / 2]; queue[i] = v; }
CALL u32 pop(void) {
  u32 top = queue[0], v = queue[--queued], i = 0;
  for (u32 k; (k = 2 * i + 1) < queued; i = k) { if (k + 1 < queued && queue[k + 1] < queue[k]) k++; if (queue[k] >= v) break; queue[i] = queue[k]; }
  queue[i] = v;
  return top;
}
CALL void reach(u32 at, u32 distance) { distance += cost[at]; if (distance < far[at]) { far[at] = distance; push(distance << 8 | at); } }
CALL u32 shortest(u32 from, u32 to) {
  for (u32 i = 0; i < CELLS; i++) far[i] = 99999;
  queued = 0; reach(from, 0);
  while (queued) {
    u32 v = pop(), at = v & 255, d = v >> 8;
    if (at == to) return d;
    if (d > far[at]) continue;
    if (at % SIDE) reach(at - 1, d);
    if (at % SIDE < SIDE - 1) reach(at + 1, d);
    if (at >= SIDE) reach(at - SIDE, d);
    if (at < CELLS - SIDE) reach(at + SIDE, d);
  }
  return 0;
}
CALL u32 flood(u32 at, u8 with) {
  if (group[at] || cost[at] > 5) return 0;
  group[at] = with;
  u32 n = 1;
  if (at % SIDE) n += flood(at - 1, with);
  if (at % SIDE < SIDE - 1) n += flood(at + 1, with);
  if (at >= SIDE) n += flood(at - SIDE, with);
  if (at < CELLS - SIDE) n += flood(at + SIDE, with);
  return n;
}
CALL u32 graphs(void) {
  u32 h = 19, groups = 0;
  for (u32 i = 0; i < CELLS; i++) { cost[i] = (u8)(1 + rnd(9)); group[i] = 0; }
  h = mix(h, shortest(0, rnd(CELLS)));
  for (u32 i = 0; i < CELLS; i++) { u32 n = flood(i, (u8)(groups + 1)); if (n) { groups++; h = mix(h, n); } }
  return mix(h, groups);
}

/* ---------------------------------------------------------------- patterns: . * [x-y] by recursion */
CALL int one(const char *p, char c, u32 *size) {
  if (*p == '[') { *size = 5; return c >= p[1] && c <= p[3]; }
  *size = 1;
  return *p == '.' || *p == c;
}
CALL int match(const char *p, const char *s) {
  u32 size;
  if (!*p) return 1;
  int fits = one(p, *s, &size) && *s;
  if (p[size] == '*') return match(p + size + 1, s) || (fits && match(p, s + 1));
  return fits && match(p + size, s + 1);
}
CALL u32 patterns(void) {
  static const char *const pattern[] = {"[a-m]*e", ".*t[e-r]r", "r.*[n-s]", "s*t*o*re", "c.[a-p]*r", ".*..[q-z]e*"};
  u32 h = 21;
  for (u32 i = 0; i < 20; i++) { const char *w = words[rnd(WORDS)]; u32 n = 0; for (; *w; w++) n += (u32)match(pattern[rnd(6)], w); h = mix(h, n); }
  return h;
}

/* ---------------------------------------------------------------- objects with virtual functions */
struct shape;
struct kind { i32 (*area)(struct shape *); void (*grow)(struct shape *, i32); i32 (*edge)(struct shape *); };
struct shape { const struct kind *kind; i32 a, b; };
CALL i32 box_area(struct shape *s) { return s->a * s->b; }
CALL void box_grow(struct shape *s, i32 n) { s->a += n; s->b = (s->b + n) & 1023; }
CALL i32 box_edge(struct shape *s) { return 2 * (s->a + s->b); }
CALL i32 disc_area(struct shape *s) { return s->a * s->a * 355 / 113; }
CALL void disc_grow(struct shape *s, i32 n) { s->a = (s->a + n) & 511; s->b ^= s->a; }
CALL i32 disc_edge(struct shape *s) { return 2 * s->a * 355 / 113; }
CALL i32 wedge_area(struct shape *s) { return s->kind->edge(s) * s->b / 4; }
CALL void wedge_grow(struct shape *s, i32 n) { disc_grow(s, n / 2); if (s->b < 0) s->b = -s->b; s->b &= 255; }
CALL i32 wedge_edge(struct shape *s) { return s->a + s->b + (i32)isqrt((u32)(s->a * s->a + s->b * s->b)); }
static const struct kind kinds[] = {{box_area, box_grow, box_edge}, {disc_area, disc_grow, disc_edge}, {wedge_area, wedge_grow, wedge_edge}};
CALL u32 objects(void) {
  struct shape all[12]; u32 h = 23;
  for (u32 i = 0; i < 12; i++) { all[i].kind = &kinds[rnd(3)]; all[i].a = (i32)rnd(100); all[i].b = (i32)rnd(100); }
  for (u32 k = 0; k < 5; k++)
    for (u32 i = 0; i < 12; i++) { struct shape *s = &all[i]; s->kind->grow(s, (i32)rnd(16)); h = mix(h, (u32)(s->kind->area(s) + s->kind->edge(s))); if (!rnd(9)) s->kind = &kinds[rnd(3)]; s->a &= 511; }
  return h;
}

/* ---------------------------------------------------------------- recursion and a game */
CALL u32 queens(u32 n, u32 columns, u32 left, u32 right) {
  u32 found = 0, all = (1u << n) - 1;
  if (columns == all) return 1;
  for (u32 free = all & ~(columns | left | right); free; free &= free - 1) { u32 bit = free & (0u - free); found += queens(n, columns | bit, (left | bit) << 1, (right | bit) >> 1); }
  return found;
}
CALL u32 ackermann(u32 m, u32 n) { return !m ? n + 1 : !n ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1)); }
CALL void hanoi(u32 n, u32 from, u32 to, u32 *h) { if (!n) return; hanoi(n - 1, from, 6 - from - to, h); *h = mix(*h, from * 4 + to); hanoi(n - 1, 6 - from - to, to, h); }
CALL u32 permute(u8 *p, u32 n, u32 at, u32 h) {
  if (at == n) return mix(h, (u32)p[0] | (u32)p[n - 1] << 8);
  for (u32 i = at; i < n; i++) { u8 t = p[at]; p[at] = p[i]; p[i] = t; h = permute(p, n, at + 1, h); t = p[at]; p[at] = p[i]; p[i] = t; }
  return h;
}
static u8 board[2][16][16];
CALL u32 neighbours(u32 b, u32 y, u32 x) { u32 n = 0; for (u32 i = 0; i < 9; i++) if (i != 4) n += board[b][(y + i / 3 + 15) & 15][(x + i % 3 + 15) & 15]; return n; }
CALL u32 life(u32 rounds) {
  u32 h = 25;
  for (u32 y = 0; y < 16; y++) for (u32 x = 0; x < 16; x++) board[0][y][x] = !rnd(3);
  for (u32 r = 0; r < rounds; r++)
    for (u32 y = 0; y < 16; y++) for (u32 x = 0; x < 16; x++) { u32 n = neighbours(r & 1, y, x); board[~r & 1][y][x] = n == 3 || (n == 2 && board[r & 1][y][x]); }
  for (u32 y = 0; y < 16; y++) { u32 v = 0; for (u32 x = 0; x < 16; x++) v = 2 * v + board[rounds & 1][y][x]; h = mix(h, v); }
  return h;
}
CALL u32 recursion(void) {
  u8 p[5] = {1, 2, 3, 4, 5}; u32 h = 27;
  h = mix(h, queens(5, 0, 0, 0)); h = mix(h, ackermann(2, 4 + rnd(3))); hanoi(6, 1, 3, &h);
  return mix(permute(p, 4, 0, h), life(1));
}

typedef u32 (*module)(void);
static const module modules[] = {strings, tables, expressions, trees, sorting, compression, digest, big_numbers,
                                 numbers, signals, matrices, graphs, patterns, objects, recursion};
uint32_t bench_run(unsigned reps) {
  u32 h = 2166136261u;
  seed = 4711;
  sha_constants(); make_sine();
  for (unsigned r = 0; r < reps; r++) {
    heap_reset();
    for (u32 i = 0; i < sizeof modules / sizeof *modules; i++) h = mix(h, modules[i]());
  }
  return h;
}
