# One function for each type, or for each sequence of types: it takes a number and returns one.
# "function NAME # 5 -> 10" says that NAME(5) is 10; "at TYPE, SYMBOL, INSTRUCTION" puts an entry at an instruction.

    .macro absolute high, low, upper, symbol
    at \high, \symbol, lu12i.w $a0, 0
    at \low, \symbol, ori $a0, $a0, 0
    at \upper\()_LO20, \symbol, lu32i.d $a0, 0
    at \upper\()_HI12, \symbol, lu52i.d $a0, $a0, 0
    .endm
    .macro extreme high, low, upper, symbol
    at \high, \symbol, pcalau12i $t1, 0
    at \low, \symbol, addi.d $a0, $zero, 0
    at \upper\()_LO20, \symbol, lu32i.d $a0, 0
    at \upper\()_HI12, \symbol, lu52i.d $a0, $a0, 0
    add.d $a0, $a0, $t1
    .endm
    .macro thread_local # the pair at $a0 → what the symbol holds
    addi.d $sp, $sp, -16
    st.d $ra, $sp, 8
    at CALL36, __tls_get_addr, pcaddu18i $ra, 0
    jirl $ra, $ra, 0
    ld.d $ra, $sp, 8
    addi.d $sp, $sp, 16
    ld.d $a0, $a0, 0
    ret
    .endm
    .macro described # the descriptor at $a0 → what the symbol holds
    move $t8, $ra
    at TLS_DESC_LD, t, ld.d $ra, $a0, 0
    at TLS_DESC_CALL, t, jirl $ra, $ra, 0
    move $ra, $t8
    ldx.d $a0, $a0, $tp
    ret
    .endm
    .macro loaded
    ld.d $a0, $a0, 0
    ret
    .endm
    .macro step type, symbol=0
    .reloc ., R_LARCH_SOP_\type, \symbol
    .endm
    .macro push number
    step PUSH_ABSOLUTE, \number
    .endm

    .text
twice:
    add.d $a0, $a0, $a0
    ret
wrong:
    addi.d $a0, $zero, -1
    ret

# ---------------------------------------------------------------- branches
function b16 # 21 -> 42
    at B16, twice, beq $zero, $zero, 0
    b wrong
function b21 # 21 -> 42
    at B21, twice, beqz $zero, 0
    b wrong
function b26 # 21 -> 42
    at B26, twice, b 0
function call36 # 21 -> 42
    at CALL36, twice, pcaddu18i $t0, 0
    jirl $zero, $t0, 0
function call30 # 21 -> 42
    at CALL30, twice, pcaddu12i $t0, 0
    jirl $zero, $t0, 0
function pcala_call # 21 -> 42
    at PCALA_HI20, twice, pcalau12i $t0, 0
    at PCALA_LO12, twice, jirl $zero, $t0, 0
function pcaddi # 21 -> 42
    at PCREL20_S2, twice, pcaddi $t0, 0
    jirl $zero, $t0, 0

# ---------------------------------------------------------------- addresses
function absolute_address # 0 -> 4660
    absolute ABS_HI20, ABS_LO12, ABS64, v
    loaded
function normal # 0 -> 4660
    at PCALA_HI20, v, pcalau12i $a0, 0
    at PCALA_LO12, v, ld.d $a0, $a0, 0
    ret
function extreme_address # 0 -> 4660
    extreme PCALA_HI20, PCALA_LO12, PCALA64, v
    loaded
function pcadd # 0 -> 4660
.Lpcadd:
    at PCADD_HI20, v, pcaddu12i $a0, 0
    at PCADD_LO12, .Lpcadd, ld.d $a0, $a0, 0
    ret
function got # 0 -> 4660
    at GOT_PC_HI20, v, pcalau12i $a0, 0
    at GOT_PC_LO12, v, ld.d $a0, $a0, 0
    loaded
function got_extreme # 0 -> 4660
    extreme GOT_PC_HI20, GOT_PC_LO12, GOT64_PC, v
    ld.d $a0, $a0, 0
    loaded
function got_absolute # 0 -> 4660
    absolute GOT_HI20, GOT_LO12, GOT64, v
    ld.d $a0, $a0, 0
    loaded
function got_pcadd # 0 -> 4660
.Lgot:
    at GOT_PCADD_HI20, v, pcaddu12i $a0, 0
    at GOT_PCADD_LO12, .Lgot, ld.d $a0, $a0, 0
    loaded

# ---------------------------------------------------------------- thread-local storage
function local_exec # 0 -> 77
    absolute TLS_LE_HI20, TLS_LE_LO12, TLS_LE64, t
    ldx.d $a0, $a0, $tp
    ret
function local_exec_relaxable # 0 -> 77
    at TLS_LE_HI20_R, t, lu12i.w $a0, 0
    at TLS_LE_ADD_R, t, add.d $a0, $a0, $tp
    at TLS_LE_LO12_R, t, ld.d $a0, $a0, 0
    ret
function initial_exec # 0 -> 77
    at TLS_IE_PC_HI20, t, pcalau12i $a0, 0
    at TLS_IE_PC_LO12, t, ld.d $a0, $a0, 0
    ldx.d $a0, $a0, $tp
    ret
function initial_exec_extreme # 0 -> 77
    extreme TLS_IE_PC_HI20, TLS_IE_PC_LO12, TLS_IE64_PC, t
    ld.d $a0, $a0, 0
    ldx.d $a0, $a0, $tp
    ret
function initial_exec_absolute # 0 -> 77
    absolute TLS_IE_HI20, TLS_IE_LO12, TLS_IE64, t
    ld.d $a0, $a0, 0
    ldx.d $a0, $a0, $tp
    ret
function initial_exec_pcadd # 0 -> 77
.Lie:
    at TLS_IE_PCADD_HI20, t, pcaddu12i $a0, 0
    at TLS_IE_PCADD_LO12, .Lie, ld.d $a0, $a0, 0
    ldx.d $a0, $a0, $tp
    ret
function general_dynamic # 0 -> 77
    at TLS_GD_PC_HI20, t, pcalau12i $a0, 0
    at GOT_PC_LO12, t, addi.d $a0, $a0, 0
    thread_local
function general_dynamic_extreme # 0 -> 77
    extreme TLS_GD_PC_HI20, GOT_PC_LO12, GOT64_PC, t
    thread_local
function general_dynamic_absolute # 0 -> 77
    absolute TLS_GD_HI20, GOT_LO12, GOT64, t
    thread_local
function general_dynamic_pcaddi # 0 -> 77
    at TLS_GD_PCREL20_S2, t, pcaddi $a0, 0
    thread_local
function general_dynamic_pcadd # 0 -> 77
.Lgd:
    at TLS_GD_PCADD_HI20, t, pcaddu12i $a0, 0
    at TLS_GD_PCADD_LO12, .Lgd, addi.d $a0, $a0, 0
    thread_local
function local_dynamic # 0 -> 77
    at TLS_LD_PC_HI20, t, pcalau12i $a0, 0
    at GOT_PC_LO12, t, addi.d $a0, $a0, 0
    thread_local
function local_dynamic_absolute # 0 -> 77
    absolute TLS_LD_HI20, GOT_LO12, GOT64, t
    thread_local
function local_dynamic_pcaddi # 0 -> 77
    at TLS_LD_PCREL20_S2, t, pcaddi $a0, 0
    thread_local
function local_dynamic_pcadd # 0 -> 77
.Lld:
    at TLS_LD_PCADD_HI20, t, pcaddu12i $a0, 0
    at TLS_LD_PCADD_LO12, .Lld, addi.d $a0, $a0, 0
    thread_local
function descriptor # 0 -> 77
    at TLS_DESC_PC_HI20, t, pcalau12i $a0, 0
    at TLS_DESC_PC_LO12, t, addi.d $a0, $a0, 0
    described
function descriptor_extreme # 0 -> 77
    extreme TLS_DESC_PC_HI20, TLS_DESC_PC_LO12, TLS_DESC64_PC, t
    described
function descriptor_absolute # 0 -> 77
    absolute TLS_DESC_HI20, TLS_DESC_LO12, TLS_DESC64, t
    described
function descriptor_pcaddi # 0 -> 77
    at TLS_DESC_PCREL20_S2, t, pcaddi $a0, 0
    described
function descriptor_pcadd # 0 -> 77
.Ldesc:
    at TLS_DESC_PCADD_HI20, t, pcaddu12i $a0, 0
    at TLS_DESC_PCADD_LO12, .Ldesc, addi.d $a0, $a0, 0
    described

# ---------------------------------------------------------------- data
    .macro sum name, load, type, directive, value
    .pushsection .data, "aw"
.L\name:
    .reloc ., R_LARCH_ADD\type, after
    .reloc ., R_LARCH_SUB\type, before
    \directive \value
    .popsection
function \name
    la.local $a1, .L\name
    \load $a0, $a1, 0
    .endm
    sum sum6, ld.bu, 6, .byte, 0xc5 # 0 -> 239
    ret
    sum sum8, ld.bu, 8, .byte, 5 # 0 -> 47
    ret
    sum sum16, ld.hu, 16, .half, 0x105 # 0 -> 303
    ret
    sum sum24, ld.wu, 24, .word, 0x7f000105 # 0 -> 2130706735
    ret
    sum sum32, ld.wu, 32, .word, 0x10005 # 0 -> 65583
    ret
    sum sum64, ld.d, 64, .dword, 0x100000005 # 0 -> 4294967343
    ret
    sum uleb, ld.hu, _ULEB128, .half, 0x00fd # 0 -> 423
    ret
function pcrel32 # 0 -> 4660
    la.local $a1, .Lpcrel32
    ld.w $a0, $a1, 0
    add.d $a0, $a0, $a1
    loaded
function pcrel64 # 0 -> 4660
    la.local $a1, .Lpcrel64
    ld.d $a0, $a1, 0
    add.d $a0, $a0, $a1
    loaded

# ---------------------------------------------------------------- the stack machine
    .macro slot operation, symbol # the address of a slot, in $a0
    step PUSH_PCREL, _GLOBAL_OFFSET_TABLE_+0x800
    step \operation, \symbol
    step ADD
    push 12
    step SR
    step POP_32_S_5_20
    pcaddu12i $a0, 0
    step PUSH_PCREL, _GLOBAL_OFFSET_TABLE_+4
    step \operation, \symbol
    step ADD
    step PUSH_PCREL, _GLOBAL_OFFSET_TABLE_+0x804
    step \operation, \symbol
    step ADD
    push 12
    step SR
    push 12
    step SL
    step SUB
    step POP_32_S_10_12
    addi.d $a0, $a0, 0
    .endm
function old_got # 0 -> 4660
    slot PUSH_GPREL, v
    ld.d $a0, $a0, 0
    loaded
function old_initial_exec # 0 -> 77
    slot PUSH_TLS_GOT, t
    ld.d $a0, $a0, 0
    ldx.d $a0, $a0, $tp
    ret
function old_general_dynamic # 0 -> 77
    slot PUSH_TLS_GD, t
    thread_local
function old_local_exec # 0 -> 77
    step PUSH_TLS_TPREL, t
    push 12
    step SR
    step POP_32_S_5_20
    lu12i.w $a0, 0
    step PUSH_TLS_TPREL, t
    push 0xfff
    step AND
    step POP_32_U_10_12
    ori $a0, $a0, 0
    ldx.d $a0, $a0, $tp
    ret
function old_call # 21 -> 42
    step PUSH_PLT_PCREL, twice
    step POP_32_S_0_10_10_16_S2
    b 0
function old_beq # 21 -> 42
    step PUSH_PCREL, twice
    step POP_32_S_10_16_S2
    beq $zero, $zero, 0
    b wrong
function old_beqz # 21 -> 42
    step PUSH_PCREL, twice
    step POP_32_S_0_5_10_16_S2
    beqz $zero, 0
    b wrong
function old_shift # 5 -> 40
    push 3
    step POP_32_S_10_5
    slli.d $a0, $a0, 0
    ret
function old_addu16i # 5 -> 196613
    push 3
    step POP_32_S_10_16
    addu16i.d $a0, $a0, 0
    ret
function old_word # 5 -> 10
    push 0x02c01484 # addi.d $a0, $a0, 5
    step POP_32_U
    .word 0
    ret
function old_operators # 5 -> 12
    push 1
    step ASSERT
    push 0
    step NOT
    push 7
    push 9
    step IF_ELSE
    step PUSH_DUP
    step SUB
    push 7
    step ADD
    step POP_32_S_10_12
    addi.d $a0, $a0, 0
    ret

    .data
    .globl v
    .space 0x7fc
before:
    .space 42
after:
    .balign 8
v: .dword 4660
.Lpcrel32:
    at 32_PCREL, v, .word 0
.Lpcrel64:
    at 64_PCREL, v, .dword 0
    .section .tdata, "awT", @progbits
    .dword 0
    .globl t
t: .dword 77
