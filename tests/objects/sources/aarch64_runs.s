// One function for each type, or for each sequence of types: it takes a number and returns one.
// "function NAME // 5 -> 10" says that NAME(5) is 10; "at TYPE, SYMBOL, INSTRUCTION" puts an entry at an instruction.

    .macro got // x1: the global offset table
    at ADR_PREL_PG_HI21, _GLOBAL_OFFSET_TABLE_, adrp x1, 0
    at ADD_ABS_LO12_NC, _GLOBAL_OFFSET_TABLE_, add x1, x1, 0
    .endm
    .macro pointed // x0: the address of a slot → what the symbol in it holds
    ldr x0, [x0]
    ldr w0, [x0]
    ret
    .endm
    .macro thread_local // x0: the pair of a slot → what the symbol holds
    stp x29, x30, [sp, -16]!
    at CALL26, __tls_get_addr, bl 0
    ldp x29, x30, [sp], 16
    ldr w0, [x0]
    ret
    .endm
    .macro block // x0: the pair of the own module → x1: the address of its block
    stp x29, x30, [sp, -16]!
    at CALL26, __tls_get_addr, bl 0
    ldp x29, x30, [sp], 16
    mov x1, x0
    .endm
    .macro own_block
    at TLSLD_ADR_PREL21, t, adr x0, 0
    block
    .endm
    .macro from_thread // x0: an offset from the thread pointer → what lies there
    mrs x1, tpidr_el0
    ldr w0, [x1, x0]
    ret
    .endm

    .text
wrong:
    mov x0, -1
    ret
twice:
    add x0, x0, x0
    ret

// ---------------------------------------------------------------- branches
function test_branch // 21 -> 42
    at TSTBR14, twice, tbz xzr, 0, 0
    b wrong
function conditional // 21 -> 42
    at CONDBR19, twice, cbz xzr, 0
    b wrong
function jump // 21 -> 42
    at JUMP26, twice, b 0
function call // 21 -> 42
    mov x10, x30
    at CALL26, twice, bl 0
    br x10
function plt32 // 21 -> 42
    adr x1, .Lplt32
    ldrsw x2, [x1]
    add x1, x1, x2
    br x1
.Lplt32:
    at PLT32, twice, .word 0
function replaced_instruction // 21 -> 42
    at PATCHINST, doubling, mov x0, -1
    ret
function kept_instruction // 21 -> 42
    .weak nowhere
    at PATCHINST, nowhere, add x0, x0, x0
    ret

// ---------------------------------------------------------------- addresses
function near // 0 -> 4660
    at ADR_PREL_LO21, .Lnear, adr x0, 0
    ldr w0, [x0]
    ret
function literal // 0 -> 4660
    at LD_PREL_LO19, .Lnear, ldr w0, 0
    ret
    .balign 4
.Lnear:
    .word 4660
function page // 0 -> 4660
    at ADR_PREL_PG_HI21, v, adrp x0, 0
    at ADD_ABS_LO12_NC, v, add x0, x0, 0
    ldr w0, [x0]
    ret
function page_unchecked // 0 -> 4660
    at ADR_PREL_PG_HI21_NC, v, adrp x0, 0
    at LDST32_ABS_LO12_NC, v, ldr w0, [x0]
    ret
    .macro load name, size, instruction:vararg
function \name
    at ADR_PREL_PG_HI21, v, adrp x0, 0
    at LDST\size\()_ABS_LO12_NC, v, \instruction
    .endm
    load byte, 8, ldrb w0, [x0] // 0 -> 52
    ret
    load half, 16, ldrh w0, [x0] // 0 -> 4660
    ret
    load double, 64, ldr x0, [x0] // 0 -> 4294971956
    ret
    load quad, 128, ldr q0, [x0] // 0 -> 4294971956
    fmov x0, d0
    ret
function words_of_data // 0 -> 4660
    adr x1, .Lwords
    ldr x0, [x1]
    ldrsw x2, [x1, 8]
    ldr x3, [x1, 16]
    add x2, x2, x1
    add x3, x3, x1
    sub x2, x2, x0
    sub x3, x3, x0
    ldr w0, [x0]
    add x0, x0, x2
    add x0, x0, x3
    ret
    .balign 8
.Lwords:
    at ABS64, v, .xword 0
    at PREL32, v+8, .word 0
    .word 0
    at PREL64, v+16, .xword 0

// ---------------------------------------------------------------- values in 16-bit parts
function unsigned_16 // 0 -> 60000
    at MOVW_UABS_G0, value16, movz x0, 0
    ret
function unsigned_32 // 0 -> 4000000000
    at MOVW_UABS_G1, value32, movz x0, 0, lsl 16
    at MOVW_UABS_G0_NC, value32, movk x0, 0
    ret
function unsigned_48 // 0 -> 200000000000000
    at MOVW_UABS_G2, value48, movz x0, 0, lsl 32
    at MOVW_UABS_G1_NC, value48, movk x0, 0, lsl 16
    at MOVW_UABS_G0_NC, value48, movk x0, 0
    ret
function absolute // 0 -> 4660
    at MOVW_UABS_G3, v, movz x0, 0, lsl 48
    at MOVW_UABS_G2_NC, v, movk x0, 0, lsl 32
    at MOVW_UABS_G1_NC, v, movk x0, 0, lsl 16
    at MOVW_UABS_G0_NC, v, movk x0, 0
    ldr w0, [x0]
    ret
function signed_16 // 0 -> 60000
    at MOVW_SABS_G0, value16, movz x0, 0
    ret
function signed_16_below // 0 -> -60000
    at MOVW_SABS_G0, below16, movz x0, 0
    ret
function signed_32 // 0 -> -4000000000
    at MOVW_SABS_G1, below32, movz x0, 0, lsl 16
    at MOVW_UABS_G0_NC, below32, movk x0, 0
    ret
function signed_48 // 0 -> -200000000000000
    at MOVW_SABS_G2, below48, movz x0, 0, lsl 32
    at MOVW_UABS_G1_NC, below48, movk x0, 0, lsl 16
    at MOVW_UABS_G0_NC, below48, movk x0, 0
    ret
// Each part is a distance from its own place.
function distance_16 // 0 -> 4660
    adr x1, .Ldistance_16
.Ldistance_16:
    at MOVW_PREL_G0, .Lnear, movz x0, 0
    ldr w0, [x1, x0]
    ret
function distance_32 // 0 -> 4660
    adr x1, .Ldistance_32
.Ldistance_32:
    at MOVW_PREL_G1, .Lnear, movz x0, 0, lsl 16
    at MOVW_PREL_G0_NC, .Lnear+4, movk x0, 0
    ldr w0, [x1, x0]
    ret
function distance_48 // 0 -> 4660
    adr x1, .Ldistance_48
.Ldistance_48:
    at MOVW_PREL_G2, v, movz x0, 0, lsl 32
    at MOVW_PREL_G1_NC, v+4, movk x0, 0, lsl 16
    at MOVW_PREL_G0_NC, v+8, movk x0, 0
    ldr w0, [x1, x0]
    ret
function distance_64 // 0 -> 4660
    adr x1, .Ldistance_64
.Ldistance_64:
    at MOVW_PREL_G3, v, movz x0, 0, lsl 48
    at MOVW_PREL_G2_NC, v+4, movk x0, 0, lsl 32
    at MOVW_PREL_G1_NC, v+8, movk x0, 0, lsl 16
    at MOVW_PREL_G0_NC, v+12, movk x0, 0
    ldr w0, [x1, x0]
    ret

// ---------------------------------------------------------------- the global offset table
function slot_near // 0 -> 4660
    at GOT_LD_PREL19, v, ldr x0, 0
    ldr w0, [x0]
    ret
function slot_in_page // 0 -> 4660
    at ADR_GOT_PAGE, v, adrp x0, 0
    at LD64_GOT_LO12_NC, v, ldr x0, [x0]
    ldr w0, [x0]
    ret
function slot_in_pages_of_table // 0 -> 4660
    at ADR_PREL_PG_HI21, _GLOBAL_OFFSET_TABLE_, adrp x0, 0
    at LD64_GOTPAGE_LO15, v, ldr x0, [x0]
    ldr w0, [x0]
    ret
function slot_in_table // 0 -> 4660
    got
    at LD64_GOTOFF_LO15, v, ldr x0, [x1]
    ldr w0, [x0]
    ret
function slot_16 // 0 -> 4660
    got
    at MOVW_GOTOFF_G0, v, movz x0, 0
    add x0, x1, x0
    pointed
function slot_32 // 0 -> 4660
    got
    at MOVW_GOTOFF_G1, v, movz x0, 0, lsl 16
    at MOVW_GOTOFF_G0_NC, v, movk x0, 0
    add x0, x1, x0
    pointed
function slot_48 // 0 -> 4660
    got
    at MOVW_GOTOFF_G2, v, movz x0, 0, lsl 32
    at MOVW_GOTOFF_G1_NC, v, movk x0, 0, lsl 16
    at MOVW_GOTOFF_G0_NC, v, movk x0, 0
    add x0, x1, x0
    pointed
function slot_64 // 0 -> 4660
    got
    at MOVW_GOTOFF_G3, v, movz x0, 0, lsl 48
    at MOVW_GOTOFF_G2_NC, v, movk x0, 0, lsl 32
    at MOVW_GOTOFF_G1_NC, v, movk x0, 0, lsl 16
    at MOVW_GOTOFF_G0_NC, v, movk x0, 0
    add x0, x1, x0
    pointed
function slot_from_here // 0 -> 4660
    adr x0, .Lgotpcrel32
    ldrsw x1, [x0]
    add x0, x0, x1
    pointed
.Lgotpcrel32:
    at GOTPCREL32, v, .word 0
function from_table // 0 -> 9320
    got
    adr x0, .Lgotrel
    ldrsw x2, [x0]
    ldr x3, [x0, 8]
    ldr w0, [x1, x2]
    ldr w1, [x1, x3]
    add x0, x0, x1
    ret
    .balign 8
.Lgotrel:
    at GOTREL32, v, .word 0
    .word 0
    at GOTREL64, v, .xword 0

// ---------------------------------------------------------------- general dynamic
function general_dynamic_tiny // 0 -> 77
    at TLSGD_ADR_PREL21, t, adr x0, 0
    thread_local
function general_dynamic // 0 -> 77
    at TLSGD_ADR_PAGE21, t, adrp x0, 0
    at TLSGD_ADD_LO12_NC, t, add x0, x0, 0
    thread_local
function general_dynamic_large // 0 -> 77
    got
    at TLSGD_MOVW_G1, t, movz x0, 0, lsl 16
    at TLSGD_MOVW_G0_NC, t, movk x0, 0
    add x0, x1, x0
    thread_local

// ---------------------------------------------------------------- local dynamic
function local_dynamic_tiny // 0 -> 77
    own_block
    at TLSLD_ADD_DTPREL_LO12, t, add x0, x1, 0
    ldr w0, [x0]
    ret
function local_dynamic // 0 -> 88
    at TLSLD_ADR_PAGE21, far, adrp x0, 0
    at TLSLD_ADD_LO12_NC, far, add x0, x0, 0
    block
    at TLSLD_ADD_DTPREL_HI12, far, add x0, x1, 0, lsl 12
    at TLSLD_ADD_DTPREL_LO12_NC, far, add x0, x0, 0
    ldr w0, [x0]
    ret
function local_dynamic_large // 0 -> 88
    got
    at TLSLD_MOVW_G1, far, movz x0, 0, lsl 16
    at TLSLD_MOVW_G0_NC, far, movk x0, 0
    add x0, x1, x0
    block
    at TLSLD_MOVW_DTPREL_G2, far, movz x0, 0, lsl 32
    at TLSLD_MOVW_DTPREL_G1_NC, far, movk x0, 0, lsl 16
    at TLSLD_MOVW_DTPREL_G0_NC, far, movk x0, 0
    ldr w0, [x1, x0]
    ret
function own_module // 0 -> 77
    at TLSLD_LD_PREL19, t, ldr x0, 0
    sub sp, sp, 32
    at TLSLD_MOVW_DTPREL_G0, t, movz x1, 0
    stp x0, x1, [sp]
    str x30, [sp, 16]
    mov x0, sp
    at CALL26, __tls_get_addr, bl 0
    ldr x30, [sp, 16]
    add sp, sp, 32
    ldr w0, [x0]
    ret
function local_dynamic_32 // 0 -> 88
    own_block
    at TLSLD_MOVW_DTPREL_G1, far, movz x0, 0, lsl 16
    at TLSLD_MOVW_DTPREL_G0_NC, far, movk x0, 0
    ldr w0, [x1, x0]
    ret
    .macro load_dynamic name, size, instruction:vararg
function \name
    own_block
    at TLSLD_LDST\size\()_DTPREL_LO12, wide, \instruction
    .endm
    load_dynamic dynamic_8, 8, ldrb w0, [x1] // 0 -> 52
    ret
    load_dynamic dynamic_16, 16, ldrh w0, [x1] // 0 -> 4660
    ret
    load_dynamic dynamic_32, 32, ldr w0, [x1] // 0 -> 4660
    ret
    load_dynamic dynamic_64, 64, ldr x0, [x1] // 0 -> 4294971956
    ret
    load_dynamic dynamic_128, 128, ldr q0, [x1] // 0 -> 9
    mov x0, v0.d[1]
    ret
    .macro load_dynamic_far name, size, instruction:vararg
function \name
    own_block
    at TLSLD_ADD_DTPREL_HI12, far_wide, add x1, x1, 0, lsl 12
    at TLSLD_LDST\size\()_DTPREL_LO12_NC, far_wide, \instruction
    .endm
    load_dynamic_far dynamic_far_8, 8, ldrb w0, [x1] // 0 -> 52
    ret
    load_dynamic_far dynamic_far_16, 16, ldrh w0, [x1] // 0 -> 4660
    ret
    load_dynamic_far dynamic_far_32, 32, ldr w0, [x1] // 0 -> 4660
    ret
    load_dynamic_far dynamic_far_64, 64, ldr x0, [x1] // 0 -> 4294971956
    ret
    load_dynamic_far dynamic_far_128, 128, ldr q0, [x1] // 0 -> 8
    mov x0, v0.d[1]
    ret

// ---------------------------------------------------------------- initial exec
function initial_exec_tiny // 0 -> 77
    at TLSIE_LD_GOTTPREL_PREL19, t, ldr x0, 0
    from_thread
function initial_exec // 0 -> 77
    at TLSIE_ADR_GOTTPREL_PAGE21, t, adrp x0, 0
    at TLSIE_LD64_GOTTPREL_LO12_NC, t, ldr x0, [x0]
    from_thread
function initial_exec_large // 0 -> 77
    got
    at TLSIE_MOVW_GOTTPREL_G1, t, movz x0, 0, lsl 16
    at TLSIE_MOVW_GOTTPREL_G0_NC, t, movk x0, 0
    ldr x0, [x1, x0]
    from_thread

// ---------------------------------------------------------------- local exec
function local_exec_tiny // 0 -> 77
    mrs x0, tpidr_el0
    at TLSLE_ADD_TPREL_LO12, t, add x0, x0, 0
    ldr w0, [x0]
    ret
function local_exec // 0 -> 88
    mrs x0, tpidr_el0
    at TLSLE_ADD_TPREL_HI12, far, add x0, x0, 0, lsl 12
    at TLSLE_ADD_TPREL_LO12_NC, far, add x0, x0, 0
    ldr w0, [x0]
    ret
function local_exec_16 // 0 -> 77
    at TLSLE_MOVW_TPREL_G0, t, movz x0, 0
    from_thread
function local_exec_32 // 0 -> 88
    at TLSLE_MOVW_TPREL_G1, far, movz x0, 0, lsl 16
    at TLSLE_MOVW_TPREL_G0_NC, far, movk x0, 0
    from_thread
function local_exec_48 // 0 -> 88
    at TLSLE_MOVW_TPREL_G2, far, movz x0, 0, lsl 32
    at TLSLE_MOVW_TPREL_G1_NC, far, movk x0, 0, lsl 16
    at TLSLE_MOVW_TPREL_G0_NC, far, movk x0, 0
    from_thread
    .macro load_exec name, size, instruction:vararg
function \name
    mrs x1, tpidr_el0
    at TLSLE_LDST\size\()_TPREL_LO12, wide, \instruction
    .endm
    load_exec exec_8, 8, ldrb w0, [x1] // 0 -> 52
    ret
    load_exec exec_16, 16, ldrh w0, [x1] // 0 -> 4660
    ret
    load_exec exec_32, 32, ldr w0, [x1] // 0 -> 4660
    ret
    load_exec exec_64, 64, ldr x0, [x1] // 0 -> 4294971956
    ret
    load_exec exec_128, 128, ldr q0, [x1] // 0 -> 9
    mov x0, v0.d[1]
    ret
    .macro load_exec_far name, size, instruction:vararg
function \name
    mrs x1, tpidr_el0
    at TLSLE_ADD_TPREL_HI12, far_wide, add x1, x1, 0, lsl 12
    at TLSLE_LDST\size\()_TPREL_LO12_NC, far_wide, \instruction
    .endm
    load_exec_far exec_far_8, 8, ldrb w0, [x1] // 0 -> 52
    ret
    load_exec_far exec_far_16, 16, ldrh w0, [x1] // 0 -> 4660
    ret
    load_exec_far exec_far_32, 32, ldr w0, [x1] // 0 -> 4660
    ret
    load_exec_far exec_far_64, 64, ldr x0, [x1] // 0 -> 4294971956
    ret
    load_exec_far exec_far_128, 128, ldr q0, [x1] // 0 -> 8
    mov x0, v0.d[1]
    ret

// ---------------------------------------------------------------- descriptors
function descriptor_tiny // 0 -> 77
    mov x10, x30
    at TLSDESC_LD_PREL19, t, ldr x1, 0
    at TLSDESC_ADR_PREL21, t, adr x0, 0
    at TLSDESC_CALL, t, blr x1
    mov x30, x10
    from_thread
function descriptor // 0 -> 77
    mov x10, x30
    at TLSDESC_ADR_PAGE21, t, adrp x0, 0
    at TLSDESC_LD64_LO12, t, ldr x1, [x0]
    at TLSDESC_ADD_LO12, t, add x0, x0, 0
    at TLSDESC_CALL, t, blr x1
    mov x30, x10
    from_thread
function descriptor_large // 0 -> 77
    mov x10, x30
    got
    at TLSDESC_OFF_G1, t, movz x0, 0, lsl 16
    at TLSDESC_OFF_G0_NC, t, movk x0, 0
    at TLSDESC_LDR, t, ldr x2, [x1, x0]
    at TLSDESC_ADD, t, add x0, x1, x0
    at TLSDESC_CALL, t, blr x2
    mov x30, x10
    from_thread

    .globl value16, value32, value48, below16, below32, below48
    .set value16, 60000
    .set value32, 4000000000
    .set value48, 200000000000000
    .set below16, -60000
    .set below32, -4000000000
    .set below48, -200000000000000

    .data
    .balign 16
    .globl v
v: .xword 4294971956, 0

    .section .tdata, "awT", @progbits
    .balign 16
    .globl t, wide, far, far_wide
    .xword 0
t: .word 77, 0
wide: .xword 4294971956, 9
    .space 0x3450
far: .word 88, 0, 0, 0
far_wide: .xword 4294971956, 8
