# One function for each type, or for each sequence of types, in either width: it takes a number and returns one.
# "function NAME # 5 -> 10" says that NAME(5) is 10; "at TYPE, SYMBOL, INSTRUCTION" puts an entry at an instruction.
# XLEN is 32 or 64.

    .macro get register, offset, base # a word of the ISA
    .if XLEN == 64
    ld \register, \offset(\base)
    .else
    lw \register, \offset(\base)
    .endif
    .endm
    .macro pair label, high, symbol, low:vararg
.L\label:
    at \high, \symbol, auipc a0, 0
    at \low
    .endm
    .if XLEN == 64
    .macro slot label, high, symbol
    pair \label, \high, \symbol, PCREL_LO12_I, .L\label, ld a0, 0(a0)
    .endm
    .else
    .macro slot label, high, symbol
    pair \label, \high, \symbol, PCREL_LO12_I, .L\label, lw a0, 0(a0)
    .endm
    .endif

    .option norelax
    .option norvc
    .text
wrong:
    li a0, -1
    ret
twice:
    add a0, a0, a0
    ret

# ---------------------------------------------------------------- branches
function branch # 21 -> 42
    at BRANCH, twice, beq zero, zero, 0
    j wrong
function jal # 21 -> 42
    at JAL, twice, jal zero, 0
function rvc_branch # 21 -> 42
    li a1, 0
    .option rvc
    at RVC_BRANCH, twice, c.beqz a1, 0
    .option norvc
    j wrong
function rvc_jump # 21 -> 42
    .option rvc
    at RVC_JUMP, twice, c.j 0
    .option norvc
    .balign 4
function call # 21 -> 42
    at CALL, twice, auipc t1, 0
    jalr zero, t1, 0
function call_plt # 21 -> 42
    at CALL_PLT, twice, auipc t1, 0
    jalr zero, t1, 0
function plt32 # 21 -> 42
    lla a1, .Lplt32
    lw a2, 0(a1)
    add a1, a1, a2
    jr a1

# ---------------------------------------------------------------- addresses
function absolute # 0 -> 4660
    at HI20, v, lui a0, 0
    at LO12_I, v, lw a0, 0(a0)
    ret
function absolute_store # 17 -> 17
    at HI20, w, lui a1, 0
    at LO12_S, w, sw a0, 0(a1)
    lla a1, w
    lw a0, 0(a1)
    ret
function relative # 0 -> 4660
    pair relative, PCREL_HI20, v, PCREL_LO12_I, .Lrelative, lw a0, 0(a0)
    ret
function relative_store # 18 -> 18
    mv a1, a0
    pair store, PCREL_HI20, w, PCREL_LO12_S, .Lstore, sw a1, 0(a0)
    lla a1, w
    lw a0, 0(a1)
    ret
function got # 0 -> 4660
    slot got, GOT_HI20, v
    lw a0, 0(a0)
    ret
function got32_pcrel # 0 -> 4660
    lla a1, .Lgot32
    lw a2, 0(a1)
    add a1, a1, a2
    get a1, 0, a1
    lw a0, 0(a1)
    ret
function pcrel32 # 0 -> 4660
    lla a1, .Lpcrel32
    lw a2, 0(a1)
    add a1, a1, a2
    lw a0, 0(a1)
    ret
function word # 0 -> 4660
    lla a1, .Lword
    get a1, 0, a1
    lw a0, 0(a1)
    ret

# ---------------------------------------------------------------- thread-local storage
function local_exec # 0 -> 77
    at TPREL_HI20, t, lui a0, 0
    at TPREL_ADD, t, add a0, a0, tp
    at TPREL_LO12_I, t, lw a0, 0(a0)
    ret
function local_exec_store # 19 -> 19
    at TPREL_HI20, u, lui a1, 0
    at TPREL_ADD, u, add a1, a1, tp
    at TPREL_LO12_S, u, sw a0, 0(a1)
    at TPREL_LO12_I, u, lw a0, 0(a1)
    ret
function initial_exec # 0 -> 77
    slot ie, TLS_GOT_HI20, t
    add a0, a0, tp
    lw a0, 0(a0)
    ret
function general_dynamic # 0 -> 77
    addi sp, sp, -16
    sw ra, 0(sp)
    .if XLEN == 64
    sd ra, 0(sp)
    .endif
    pair gd, TLS_GD_HI20, t, PCREL_LO12_I, .Lgd, addi a0, a0, 0
    at CALL_PLT, __tls_get_addr, auipc ra, 0
    jalr ra, ra, 0
    get ra, 0, sp
    addi sp, sp, 16
    lw a0, 0(a0)
    ret
function descriptor # 0 -> 77
.Ldesc:
    at TLSDESC_HI20, t, auipc a1, 0
    .if XLEN == 64
    at TLSDESC_LOAD_LO12, .Ldesc, ld a2, 0(a1)
    .else
    at TLSDESC_LOAD_LO12, .Ldesc, lw a2, 0(a1)
    .endif
    at TLSDESC_ADD_LO12, .Ldesc, addi a0, a1, 0
    at TLSDESC_CALL, .Ldesc, jalr t0, 0(a2)
    add a0, a0, tp
    lw a0, 0(a0)
    ret

# ---------------------------------------------------------------- data
    .macro sum name, load, first, second, directive, value
    .pushsection .data, "aw"
.L\name:
    .reloc ., R_RISCV_\first, after
    .reloc ., R_RISCV_\second, before
    \directive \value
    .popsection
function \name
    lla a1, .L\name
    \load a0, 0(a1)
    .endm
    sum sum8, lbu, ADD8, SUB8, .byte, 5 # 0 -> 47
    ret
    sum sum16, lhu, ADD16, SUB16, .half, 0x105 # 0 -> 303
    ret
    sum sum32, lw, ADD32, SUB32, .word, 0x10005 # 0 -> 65583
    ret
    sum sum64, lw, ADD64, SUB64, .dword, 0x1000000ff # 0 -> 297
    ret
    sum set6, lbu, SET6, SUB6, .byte, 0xc5 # 0 -> 234
    ret
    sum set8, lbu, SET8, SUB8, .byte, 5 # 0 -> 42
    ret
    sum set16, lhu, SET16, SUB16, .half, 5 # 0 -> 42
    ret
    sum set32, lw, SET32, SUB32, .word, 5 # 0 -> 42
    ret
    sum uleb, lhu, SET_ULEB128, SUB_ULEB128, .half, 0x00fd # 0 -> 170
    ret

    .data
    .globl v, w
    .space 0x7fc
before:
    .space 42
after:
    .balign 8
v: .word 4660
w: .word 0
.Lpcrel32:
    at 32_PCREL, v, .word 0
.Lgot32:
    at GOT32_PCREL, v, .word 0
.Lplt32:
    at PLT32, twice, .word 0
    .balign 8
.Lword:
    .if XLEN == 64
    .dword v
    .else
    .word v
    .endif
    .section .tdata, "awT", @progbits
    .dword 0
    .globl t, u
t: .word 77
u: .word 78
