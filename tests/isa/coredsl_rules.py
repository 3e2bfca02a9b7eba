"""The rules of CoreDSL 2 as tables of cases: result types, values, and what must be refused.

Each table states one kind of rule; a case is a piece of CoreDSL and what it must give. Pieces are read inside
`description(...)`, so they may use its registers, memory, fields and functions. Literals keep their own least width:
`5` is `unsigned<3>`.

Source: the behaviour of the reference CoreDSL front end and the language's wiki; where both are silent, what the public
RISC-V descriptions need.
"""

from __future__ import annotations


def description(behaviour: str = "{}", functions: str = "", state: str = "") -> str:
    """A complete file with one instruction, whose encoding has the fields imm (12 bits), rs1 and rd (5 bits)."""
    return f"""
InstructionSet Rules {{
    architectural_state {{
        unsigned int XLEN = 32;
        const unsigned int SEVEN = 7;
        register unsigned<XLEN> X[32] [[is_main_reg]];
        register unsigned<XLEN> PC [[is_pc]];
        register signed<40> ACC;
        extern unsigned<8> MEM[1 << XLEN] [[is_main_mem]];
        extern unsigned<XLEN> CSR[4096];
        {state}
    }}
    functions {{
        extern void raise(unsigned<1> irq, unsigned<5> cause);
        unsigned<8> low_byte(unsigned<32> x) {{ return x[7:0]; }}
        {functions}
    }}
    instructions {{
        CASE {{
            encoding: imm[11:0] :: rs1[4:0] :: 3'b000 :: rd[4:0] :: 7'b0001011;
            behavior: {behaviour}
        }}
    }}
}}
"""


# (expression, its type)
EXPRESSION_TYPES: list[tuple[str, str]] = [
    # Literals: the least width of the value, at least 1; leading zeros do not count. Sized ones have their own.
    ("0", "unsigned<1>"),
    ("42", "unsigned<6>"),
    ("052", "unsigned<6>"),
    ("0x2A", "unsigned<6>"),
    ("0x00FF", "unsigned<8>"),
    ("0b0001", "unsigned<1>"),
    ("true", "unsigned<1>"),
    ("5'd0", "unsigned<5>"),
    ("16'hFF_FF", "unsigned<16>"),
    ("4'sb1011", "signed<4>"),
    ("-1", "signed<2>"),
    # Operands of the description
    ("X[rs1]", "unsigned<32>"),
    ("imm", "unsigned<12>"),
    ("(signed)imm", "signed<12>"),
    ("ACC", "signed<40>"),
    ("SEVEN", "unsigned<32>"),
    ("PC + 4", "unsigned<33>"),
    ("low_byte(5)", "unsigned<8>"),
    # Sum and difference: one bit more than the wider; beside a signed operand an unsigned one gains a bit first.
    ("(unsigned<8>)1 + (unsigned<8>)2", "unsigned<9>"),
    ("(unsigned<8>)1 + (unsigned<16>)2", "unsigned<17>"),
    ("(signed<8>)1 + (signed<4>)2", "signed<9>"),
    ("(unsigned<8>)1 + (signed<8>)2", "signed<10>"),
    ("(signed<8>)1 + (unsigned<4>)2", "signed<9>"),
    ("X[rs1] + (signed)imm", "signed<34>"),
    ("(unsigned<8>)1 - (unsigned<8>)2", "signed<9>"),
    ("(signed<8>)1 - (unsigned<8>)2", "signed<10>"),
    # Product: the sum of the widths, also with mixed signs
    ("X[rs1] * X[rd]", "unsigned<64>"),
    ("(signed)X[rs1] * X[rd]", "signed<64>"),
    ("(signed<8>)1 * (signed<3>)1", "signed<11>"),
    # Quotient: the dividend's width, one more where the divisor may be -1
    ("(unsigned<8>)9 / (unsigned<16>)2", "unsigned<8>"),
    ("(unsigned<8>)9 / (signed<4>)2", "signed<9>"),
    ("(signed<8>)9 / (unsigned<4>)2", "signed<8>"),
    ("(signed<8>)9 / (signed<8>)2", "signed<9>"),
    # Remainder: the dividend's sign, no wider than either
    ("(unsigned<8>)9 % (unsigned<4>)2", "unsigned<4>"),
    ("(signed<8>)9 % (unsigned<4>)2", "signed<5>"),
    ("(unsigned<8>)9 % (signed<4>)2", "unsigned<3>"),
    ("(unsigned<8>)9 % (signed<1>)1", "unsigned<1>"),
    ("(signed<8>)9 % (signed<16>)2", "signed<8>"),
    # Bitwise: the wider width, signed if either is
    ("X[rs1] & (signed)imm", "signed<32>"),
    ("(unsigned<4>)1 | (unsigned<8>)1", "unsigned<8>"),
    ("(signed<4>)1 ^ (signed<8>)1", "signed<8>"),
    # Shifts keep the left operand's type, whatever the amount
    ("1 << 4", "unsigned<1>"),
    ("X[rs1] << (unsigned<64>)3", "unsigned<32>"),
    ("(signed)X[rs1] >> imm", "signed<32>"),
    # Unary: ~ and + keep the type, - adds a bit (also to a signed operand), ! gives one bit
    ("~0x1", "unsigned<1>"),
    ("~(signed<8>)1", "signed<8>"),
    ("+imm", "unsigned<12>"),
    ("-imm", "signed<13>"),
    ("-(signed<8>)1", "signed<9>"),
    ("!imm", "unsigned<1>"),
    # Comparisons and logic give one bit
    ("imm < -1", "unsigned<1>"),
    ("X[rs1] == PC", "unsigned<1>"),
    ("imm && X[rs1]", "unsigned<1>"),
    # ?: takes the smallest type that holds both
    ("rd == 0 ? (unsigned<8>)1 : (unsigned<4>)1", "unsigned<8>"),
    ("rd == 0 ? (unsigned<8>)1 : (signed<4>)1", "signed<9>"),
    ("rd == 0 ? (unsigned<8>)1 : (signed<16>)1", "signed<16>"),
    # Concatenation: the sum of the widths, always unsigned; weaker than ||, tighter than ?:
    ("imm :: rd :: 3'b000", "unsigned<20>"),
    ("(signed<8>)1 :: (signed<8>)2", "unsigned<16>"),
    ("rd :: imm || rs1", "unsigned<6>"),
    ("rd :: rd ? imm : rs1", "unsigned<12>"),
    # Bits and ranges: unsigned, high - low + 1 bits
    ("ACC[39]", "unsigned<1>"),
    ("ACC[7:0]", "unsigned<8>"),
    ("X[rs1][4:0]", "unsigned<5>"),
    # An address space: as many elements as the range has
    ("MEM[X[rs1]]", "unsigned<8>"),
    ("MEM[PC + 3:PC]", "unsigned<32>"),
    ("MEM[PC:PC + 1]", "unsigned<16>"),
    ("CSR[imm]", "unsigned<32>"),
    # Casts; without a width they keep it. A cast binds tighter than any binary operator.
    ("(unsigned<XLEN>)-1", "unsigned<32>"),
    ("(signed<2 * XLEN>)imm", "signed<64>"),
    ("(unsigned)ACC", "unsigned<40>"),
    ("(bool)rd", "unsigned<1>"),
    ("(char)rd", "signed<8>"),
    ("(unsigned short)rd", "unsigned<16>"),
    ("(int)rd", "signed<32>"),
    ("(long)rd", "signed<64>"),
    ("(unsigned<8>)rd << 4 | rs1", "unsigned<8>"),
    # Sizes have the least width of their value
    ("bitsizeof(X[rs1])", "unsigned<6>"),
    ("sizeof(X[rs1])", "unsigned<3>"),
    ("__encoding_size", "unsigned<6>"),
]

# (expression, its value as a number)
EXPRESSION_VALUES: list[tuple[str, int]] = [
    # Literals
    ("052", 42),
    ("0x2A", 42),
    ("0b10_1010", 42),
    ("1_000", 1000),
    ("8'o17", 15),
    ("8'd200", 200),
    ("4'b1011", 11),
    ("4'sb1011", -5),
    ("8'sh7F", 127),
    ("-1", -1),
    # What a type cannot hold is lost: literals are as narrow as their value.
    ("1 << 4", 0),
    ("5'd1 << 4", 16),
    ("0x1F << 1", 30),
    ("~0x1", 0),
    ("~0", 1),
    ("~(unsigned<8>)1", 254),
    ("~(signed<4>)5", -6),
    # No other operator loses anything.
    ("255 + 1", 256),
    ("0 - 255", -255),
    ("(signed<8>)-128 * (signed<8>)-128", 16384),
    ("(signed<8>)-128 / (signed<8>)-1", 128),
    ("-(signed<8>)-128", 128),
    # Division rounds towards zero, the remainder has the dividend's sign.
    ("-7 / 2", -3),
    ("7 / -2", -3),
    ("-7 % 2", -1),
    ("7 % -2", 1),
    # Shifts: >> of a signed operand fills with the sign; an amount beyond the width leaves nothing else.
    ("(signed<8>)-8 >> 1", -4),
    ("0xF0 >> 4", 15),
    ("0xF0 >> 8", 0),
    ("(signed<8>)-1 >> 9", -1),
    ("(unsigned<8>)1 << 8", 0),
    # Casts extend by the sign of what they are given, then reinterpret; narrower ones keep the low bits.
    ("(unsigned<8>)-1", 255),
    ("(signed<8>)0xFF", -1),
    ("(signed<8>)200", -56),
    ("(unsigned<4>)0x1F", 15),
    ("(unsigned<16>)(signed<8>)0x80", 0xFF80),
    ("(signed<16>)(unsigned<8>)0x80", 128),
    ("(signed)4'b1011", -5),
    ("(unsigned)4'sb1011", 11),
    # Bitwise operators extend each operand by its own sign. The result is a value of its type: signed<7> holds no 0x70,
    # and signed<13> reads 0x12F0 as negative.
    ("0x70 & (signed<8>)-1", 0x70),
    ("0x70 & (signed<4>)-1", -16),
    ("(unsigned<16>)(0x12F0 & (signed<6>)-16)", 0xF2F0),
    ("0xF0 & (signed<4>)-1", -16),
    ("0xFF ^ (signed<2>)0", -1),
    # Comparisons compare values, whatever the signs.
    ("-1 < 1", 1),
    ("(signed<8>)-1 == 255", 0),
    ("(signed<8>)-1 < (unsigned<32>)0", 1),
    ("255 >= (signed<4>)-8", 1),
    ("!5", 0),
    ("2 && 4", 1),
    # ?: keeps the value.
    ("true ? -1 : 255", -1),
    ("false ? -1 : 255", 255),
    # Concatenation: the first part is most significant.
    ("0b1010 :: 0b11", 43),
    ("4'd1 :: (signed<4>)-1", 31),
    ("true :: false || true", 3),
    # Bits and ranges
    ("0xF1[7:4]", 15),
    ("5[1]", 0),
    ("(-1)[1:0]", 3),
    # Precedence
    ("(unsigned<8>)15 << 4 | 1", 241),
    ("1 + 2 * 3", 7),
    ("6 & 3 == 3", 0),
    ("1 | 6 ^ 4 & 5", 3),
    ("10 - 4 - 3", 3),
    ("false ? 1 : true ? 2 : 3", 2),
    # Sizes: bits of an encoding, bytes of a type
    ("__encoding_size", 32),
    ("sizeof(unsigned<9>)", 2),
    ("bitsizeof(unsigned<9>)", 9),
]

# (behaviour, what the message must contain)
BEHAVIOUR_ERRORS: list[tuple[str, str]] = [
    # An implicit conversion never loses a value: the message names the type that was wanted or the one that was found.
    ("X[rd] = X[rs1] + X[rs1];", "unsigned<33>"),
    ("X[rd] = (signed)X[rs1];", "signed<32>"),
    ("X[rd] = X[rs1] - X[rs1];", "signed<33>"),
    ("{ unsigned<8> a = imm; }", "unsigned<8>"),
    ("{ signed<32> a = X[rs1]; }", "unsigned<32>"),
    ("{ unsigned<8> a = 256; }", "unsigned<8>"),
    ("{ unsigned<8> a = -1; }", "signed<2>"),
    ("{ unsigned<8> a; a = imm; }", "unsigned<12>"),
    ("MEM[X[rs1]] = X[rd];", "unsigned<32>"),
    ("MEM[PC + 1:PC] = X[rd];", "unsigned<16>"),
    ("X[rd][7:0] = imm;", "unsigned<12>"),
    ("X[rd] = low_byte(ACC);", "signed<40>"),
    ("raise(0, imm);", "unsigned<5>"),
    ("{ PC += 4; X[rd] = PC + 4; }", "unsigned<33>"),
    # Literals and types
    ("X[rd] = 4'd16;", "4 bits"),
    ("X[rd] = 2'sb111;", "2 bits"),
    ("X[rd] = (unsigned<0>)1;", "width"),
    ("{ unsigned<XLEN - 32> a = 0; }", "width"),
    ("{ unsigned<rd> a = 0; }", "constant"),
    # Names and scopes
    ("X[rd] = nothing;", "nothing"),
    ("{ unsigned<8> a = 1; unsigned<8> a = 2; }", "twice"),
    ("{ { unsigned<8> a = 1; } X[rd] = a; }", "not declared"),
    ("{ X[rd] = a; unsigned<8> a = 1; }", "not declared"),
    ("X[rd] = X;", "index"),
    ("X[rd] = nothing(1);", "nothing"),
    ("X[rd] = low_byte();", "argument"),
    ("X[rd] = raise(0, 2);", "raise"),
    # What can be assigned: variables, registers, elements, bits
    ("rd = 1;", "field"),
    ("XLEN = 64;", "parameter"),
    ("(X[1] :: X[2]) = 1;", "left"),
    ("X[rs1] + 1 = 2;", "left"),
    # Ranges have a constant size, written in one of the four shapes, high bound first for bits.
    ("X[rd] = MEM[X[rs1]:PC];", "constant"),
    ("X[rd] = MEM[1 + PC:PC];", "constant"),
    ("X[rd] = MEM[PC + 1 + 2:PC];", "constant"),
    ("X[rd] = X[rs1][0:31];", "reversed"),
    ("X[rd] = X[rs1][32];", "bit"),
    ("X[rd] = X[rs1][35:30];", "bits"),
    ("X[32] = 1;", "32"),
    # Statements
    ("break;", "break"),
    ("continue;", "continue"),
    ("return;", "return"),
    ("{ switch (rd) { case 1: break; case 1: break; } }", "twice"),
    ("{ switch (rd) { case rs1: break; } }", "constant"),
    ("X[rd] = X[rs1] << -1;", "negative"),
    ("spawn { X[rd] = 1; }", "spawn"),
    ("{ register unsigned<8> a; }", "register"),
    # A known local is no constant expression.
    ("{ unsigned<8> a = 5; unsigned<4> b = a; X[rd] = b; }", "unsigned<8>"),
]

# (functions, behaviour that calls them, what the message must contain)
FUNCTION_ERRORS: list[tuple[str, str, str]] = [
    ("unsigned<8> f() {}", "X[rd] = f();", "return"),
    ("unsigned<8> f(bool a) { if (a) return 1; }", "X[rd] = f(rd != 0);", "every path"),
    ("unsigned<8> f(unsigned<9> a) { return a; }", "X[rd] = f(1);", "unsigned<9>"),
    ("unsigned<8> f() { return 300 - 100; }", "X[rd] = f();", "signed<10>"),
    ("unsigned<8> f() { return; }", "X[rd] = f();", "unsigned<8>"),
    ("void f() { return 1; }", "f();", "returns nothing"),
    ("unsigned<8> f() { return f(); }", "X[rd] = f();", "recursion"),
    ("unsigned<8> f() { return imm[7:0]; }", "X[rd] = f();", "imm"),
    ("unsigned<8> f() { return 1; } unsigned<8> f() { return 2; }", "X[rd] = f();", "twice"),
    ("void f(void a) {}", "f(1);", "void"),
]

# (declarations in architectural_state, what the message must contain)
STATE_ERRORS: list[tuple[str, str]] = [
    ("register unsigned<0> A;", "width"),
    ("register unsigned<8> X;", "twice"),
    ("register unsigned<8> A[0];", "A"),
    ("register unsigned<8> A[MISSING];", "constant"),
    ("unsigned int SIZE; register unsigned<8> A[SIZE];", "SIZE"),
    ("unsigned int SIZE = SIZE + 1; register unsigned<8> A[SIZE];", "itself"),
    ("unsigned<16>& A = X[1];", "unsigned<32>"),
    ("unsigned<32>& A = X[32];", "32"),
]

# Behaviours that must be accepted, because public descriptions or the rules count on them.
BEHAVIOURS: list[str] = [
    "{}",
    ";",
    "X[rd] = 0xFFFFFFFF;",
    "X[rd] = 300 - 100;",
    "{ unsigned<8> a = 300 - 100; X[rd] = a; }",
    "X[rd] = rd != 0;",
    "{ signed<33> a = X[rs1]; X[rd] = (unsigned<32>)a; }",
    "{ unsigned<32> address = X[rs1]; address -= 4; address++; X[rd] = address; }",
    "if (imm) PC = X[rs1]; else X[rd] = PC;",
    "{ unsigned<8> a = 1; { unsigned<8> a = 2; X[rd] = a; } }",
    "MEM[PC:PC + 3] = X[rs1];",
    "X[rd][15:8] = MEM[X[rs1]];",
    "{ unsigned<32> n = 0; for (unsigned<6> i = 0; i < 32; i++) if (X[rs1][i]) n += 1; X[rd] = n; }",
    "{ unsigned<6> i = 0; while (i < 3) { i++; if (i == 2) continue; if (X[i] == 0) break; } X[rd] = i; }",
    "{ unsigned<6> i = 0; do { i += 1; } while (i < 3); X[rd] = i; }",
    "{ switch (rs1) { case 0: case SEVEN: X[rd] = 1; break; default: X[rd] = 2; } }",
    "X[rd] = X[rs1] >> (XLEN - 0);",
    "{ if (imm == 0) raise(0, 2); X[rd] = low_byte(X[rs1]); }",
]
