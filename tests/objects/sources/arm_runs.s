@ Functions of one int, each using relocation types at work. The test calls each with the number before
@ the arrow, and expects the one behind it.

    .syntax unified
    .arch armv7-a
    .fpu vfpv3
    .eabi_attribute 28, 1
    .macro function name, state
    .text
    .balign 4
    .\state
    .globl \name
    .type \name, %function
\name:
    .endm
    .data
    .balign 4
    .globl far
far: .word 1234567, 0x80018002, 55
    .section .tdata, "awT", %progbits
    .balign 4
    .globl tvar
    .word 1
tvar: .word 77
function a_double, arm
    add r0, r0, r0
    bx lr
function t_double, thumb
    adds r0, r0, r0
    bx lr

function bl_to_thumb, arm @ 21 -> 42
    push {r4, lr}
    at CALL, t_double, .inst 0xebfffffe
    pop {r4, pc}

function blx_to_arm, arm @ 21 -> 42
    push {r4, lr}
    at CALL, a_double, .inst 0xfafffffe
    pop {r4, pc}

function conditional, arm @ 21 -> 42
    push {r4, lr}
    cmp r0, #0
    at JUMP24, t_double, .inst 0x1bfffffe
    pop {r4, pc}

function b_to_thumb, arm @ 21 -> 42
    at JUMP24, t_double, .inst 0xeafffffe

function old_branch, arm @ 21 -> 42
    at PC24, t_double, .inst 0xeafffffe

function old_plt, arm @ 21 -> 42
    push {r4, lr}
    at PLT32, t_double, .inst 0xebfffffe
    pop {r4, pc}

function groups, arm @ 0 -> 1234567
    at ALU_PC_G0_NC, far, sub r1, pc, #8
    at ALU_PC_G1_NC, far, sub r1, r1, #4
    at LDR_PC_G2, far, ldr r0, [r1, #0]
    bx lr

function half_groups, arm @ 0 -> 32770
    at ALU_PC_G0_NC, far, sub r1, pc, #4
    at ALU_PC_G1_NC, far, add r1, r1, #0
    at LDRS_PC_G2, far, ldrh r0, [r1, #4]
    bx lr

function vfp_groups, arm @ 0 -> 1234567
    at ALU_PC_G0_NC, far, sub r1, pc, #8
    at ALU_PC_G1_NC, far, sub r1, r1, #4
    at LDC_PC_G2, far, vldr s0, [r1, #0]
    vmov r0, s0
    bx lr

function alu_groups, arm @ 0 -> 1234567
    at ALU_PC_G0_NC, far, sub r1, pc, #8
    at ALU_PC_G1_NC, far, sub r1, r1, #4
    at ALU_PC_G2, far, add r1, r1, #0
    ldr r0, [r1]
    bx lr

function single_group, arm @ 0 -> 9
    at ALU_PC_G0, 1f, sub r1, pc, #8
    ldr r0, [r1]
    bx lr
1:
    .word 9

function near_load, arm @ 0 -> 9
    at LDR_PC_G0, 1f, ldr r0, [pc, #-8]
    bx lr
1:
    .word 9

function near_half, arm @ 0 -> 9
    at LDRS_PC_G0, 1f, ldrh r0, [pc, #-8]
    bx lr
1:
    .word 9

function near_vfp, arm @ 0 -> 9
    at LDC_PC_G0, 1f, vldr s0, [pc, #-8]
    vmov r0, s0
    bx lr
1:
    .word 9

function moves, arm @ 0 -> 55
    at MOVW_ABS_NC, far, movw r1, #8
    at MOVT_ABS, far, movt r1, #8
    ldr r0, [r1]
    bx lr

function pc_moves, arm @ 0 -> 1234567
    at MOVW_PREL_NC, far, movw r1, #0xfff0
    at MOVT_PREL, far, movt r1, #0xfff4
    ldr r0, [pc, r1]
    bx lr

function got_slot, arm @ 0 -> 1234567
    ldr r1, 1f
    ldr r0, [pc, r1]
    ldr r0, [r0]
    bx lr
1:
    at GOT_PREL, far, .word 4

function got_base, arm @ 0 -> 1234567
    adr r1, 1f
    ldr r2, [r1]
    add r2, r2, r1
    ldr r3, [r1, #4]
    ldr r0, [r2, r3]
    ldr r0, [r0]
    bx lr
1:
    at BASE_PREL, _GLOBAL_OFFSET_TABLE_, .word 0
    at GOT_BREL, far, .word 0

function got_12, arm @ 0 -> 1234567
    ldr r1, 1f
    at GOT_BREL12, far, ldr r0, [r1, #0]
    ldr r0, [r0]
    bx lr
1:
    at BASE_ABS, _GLOBAL_OFFSET_TABLE_, .word 0

function got_offset, arm @ 0 -> 55
    ldr r1, 1f
    ldr r2, 2f
    ldr r0, [r1, r2]
    bx lr
1:
    at BASE_ABS, _GLOBAL_OFFSET_TABLE_, .word 0
2:
    at GOTOFF32, far, .word 8

function static_base, arm @ 0 -> 1234567
    ldr r1, 1f
    at ALU_SB_G0_NC, far, add r1, r1, #0
    at ALU_SB_G1_NC, far, add r1, r1, #0
    at LDR_SB_G2, far, ldr r0, [r1, #0]
    bx lr
1:
    at BASE_ABS, _GLOBAL_OFFSET_TABLE_, .word 0

function static_base_moves, arm @ 0 -> 1234567
    ldr r1, 1f
    at MOVW_BREL_NC, far, movw r2, #0
    at MOVT_BREL, far, movt r2, #0
    ldr r0, [r1, r2]
    bx lr
1:
    at BASE_ABS, _GLOBAL_OFFSET_TABLE_, .word 0

function target2, arm @ 0 -> 1234567
    adr r1, 1f
    ldr r0, [r1]
    ldr r0, [r0, r1]
    ldr r0, [r0]
    bx lr
1:
    at TARGET2, far, .word 0

function pointer, arm @ 4 -> 8
    ldr r1, 1f
    bx r1
1:
    at TARGET1, t_double, .word 0

function no_interworking, arm @ 4 -> 8
    ldr r1, 1f
    orr r1, r1, #1
    bx r1
1:
    at ABS32_NOI, t_double, .word 0

function tls_le, arm @ 0 -> 77
    mrc p15, 0, r1, c13, c0, 3
    ldr r0, 1f
    ldr r0, [r0, r1]
    bx lr
1:
    at TLS_LE32, tvar, .word 0

function tls_le12, arm @ 0 -> 77
    mrc p15, 0, r1, c13, c0, 3
    at TLS_LE12, tvar, ldr r0, [r1, #0]
    bx lr

function tls_ie, arm @ 0 -> 77
    mrc p15, 0, r1, c13, c0, 3
    adr r2, 1f
    ldr r0, [r2]
    ldr r0, [r0, r2]
    ldr r0, [r0, r1]
    bx lr
1:
    at TLS_IE32, tvar, .word 0

function tls_ie12, arm @ 0 -> 77
    mrc p15, 0, r2, c13, c0, 3
    ldr r1, 1f
    at TLS_IE12GP, tvar, ldr r0, [r1, #0]
    ldr r0, [r0, r2]
    bx lr
1:
    at BASE_ABS, _GLOBAL_OFFSET_TABLE_, .word 0

function tls_gd, arm @ 0 -> 77
    push {r4, lr}
    adr r2, 1f
    ldr r0, [r2]
    add r0, r0, r2
    bl __tls_get_addr
    ldr r0, [r0]
    pop {r4, pc}
1:
    at TLS_GD32, tvar, .word 0

function tls_ld, arm @ 0 -> 77
    push {r4, lr}
    adr r2, 1f
    ldr r0, [r2]
    add r0, r0, r2
    bl __tls_get_addr
    ldr r1, 2f
    ldr r0, [r0, r1]
    pop {r4, pc}
1:
    at TLS_LDM32, tvar, .word 0
2:
    at TLS_LDO32, tvar, .word 0

function tls_ldo12, arm @ 0 -> 77
    push {r4, lr}
    adr r2, 1f
    ldr r0, [r2]
    add r0, r0, r2
    bl __tls_get_addr
    at TLS_LDO12, tvar, ldr r0, [r0, #0]
    pop {r4, pc}
1:
    at TLS_LDM32, tvar, .word 0

function tls_descriptor, arm @ 0 -> 77
    push {r4, lr}
    ldr r0, 1f
2:
    at TLS_CALL, tvar, .inst 0xebfffffe
    mrc p15, 0, r1, c13, c0, 3
    ldr r0, [r0, r1]
    pop {r4, pc}
1:
    at TLS_GOTDESC, tvar, .word (. - 2b)

function tls_sequence, arm @ 0 -> 77
    push {r4, lr}
    ldr r2, 1f
2:
    at TLS_DESCSEQ, tvar, add r0, pc, r2
    at TLS_DESCSEQ, tvar, ldr r1, [r0, #4]
    at TLS_DESCSEQ, tvar, blx r1
    mrc p15, 0, r1, c13, c0, 3
    ldr r0, [r0, r1]
    pop {r4, pc}
1:
    at TLS_GOTDESC, tvar, .word (. - 2b)

function t_bl, thumb @ 21 -> 42
    push {r4, lr}
    at THM_CALL, t_double, .inst.w 0xf7fffffe
    pop {r4, pc}

function t_bl_to_arm, thumb @ 21 -> 42
    push {r4, lr}
    at THM_CALL, a_double, .inst.w 0xf7fffffe
    pop {r4, pc}

function t_bl_to_arm_2, thumb @ 21 -> 42
    push {r4, lr}
    nop
    at THM_CALL, a_double, .inst.w 0xf7fffffe
    pop {r4, pc}

function t_b, thumb @ 21 -> 42
    at THM_JUMP24, t_double, .inst.w 0xf7ffbffe

function t_b_to_arm, thumb @ 21 -> 42
    at THM_JUMP24, a_double, .inst.w 0xf7ffbffe

function t_beq_to_arm, thumb @ 21 -> 42
    cmp r0, r0
    at THM_JUMP19, a_double, .inst.w 0xf43faffe
    bx lr

function t_short, thumb @ 0 -> 3
    at THM_JUMP11, 1f, .inst.n 0xe7fe
    bx lr
1:
    movs r0, #3
    bx lr

function t_conditional, thumb @ 0 -> 3
    cmp r0, r0
    at THM_JUMP8, 1f, .inst.n 0xd0fe
    bx lr
1:
    movs r0, #3
    bx lr

function t_cbz, thumb @ 0 -> 0
    at THM_JUMP6, 1f, .inst.n 0xbbf0
    bx lr
1:
    movs r0, #3
    bx lr

function t_cbnz, thumb @ 5 -> 5
    at THM_JUMP6, 1f, .inst.n 0xbbf8
    bx lr
1:
    movs r0, #3
    bx lr

function t_moves, thumb @ 0 -> 55
    at THM_MOVW_ABS_NC, far, movw r1, #8
    at THM_MOVT_ABS, far, movt r1, #8
    ldr r0, [r1]
    bx lr

function t_pc_moves, thumb @ 0 -> 1234567
2:
    at THM_MOVW_PREL_NC, far, movw r1, #0
    at THM_MOVT_PREL, far, movt r1, #4
    adr.w r2, 2b
    ldr r0, [r1, r2]
    bx lr

function t_bytes, thumb @ 0 -> 1234567
    at THM_ALU_ABS_G3, far, movs r1, #0
    lsls r1, r1, #8
    at THM_ALU_ABS_G2_NC, far, adds r1, #0
    lsls r1, r1, #8
    at THM_ALU_ABS_G1_NC, far, adds r1, #0
    lsls r1, r1, #8
    at THM_ALU_ABS_G0_NC, far, adds r1, #0
    ldr r0, [r1]
    bx lr

function t_adr, thumb @ 0 -> 9
    at THM_ALU_PREL_11_0, 1f, .inst.w 0xf2af0004
    ldr r0, [r0]
    bx lr
    .balign 4
1:
    .word 9

function t_literal, thumb @ 0 -> 9
    at THM_PC12, 1f, .inst.w 0xf85f0004
    bx lr
    .balign 4
1:
    .word 9

function t_short_literal, thumb @ 0 -> 9
    at THM_PC8, 1f, .inst.n 0x48ff
    bx lr
    .balign 4
1:
    .word 9

function t_static_base, thumb @ 0 -> 1234567
    ldr r1, 1f
    at THM_MOVW_BREL_NC, far, movw r2, #0
    at THM_MOVT_BREL, far, movt r2, #0
    ldr r0, [r1, r2]
    bx lr
    .balign 4
1:
    at BASE_ABS, _GLOBAL_OFFSET_TABLE_, .word 0

function t_descriptor, thumb @ 0 -> 77
    push {r4, lr}
    ldr r0, 1f
2:
    at THM_TLS_CALL, tvar, .inst.w 0xf7fffffe
    mrc p15, 0, r1, c13, c0, 3
    ldr r0, [r0, r1]
    pop {r4, pc}
    .balign 4
1:
    at TLS_GOTDESC, tvar, .word (. - 2b)

function t_sequence, thumb @ 0 -> 77
    push {r4, lr}
    ldr r0, 1f
2:
    at THM_TLS_DESCSEQ16, tvar, add r0, pc
    at THM_TLS_DESCSEQ32, tvar, ldr.w r1, [r0, #4]
    at THM_TLS_DESCSEQ16, tvar, blx r1
    mrc p15, 0, r1, c13, c0, 3
    ldr r0, [r0, r1]
    pop {r4, pc}
    .balign 4
1:
    at TLS_GOTDESC, tvar, .word (. - 2b)

function two_groups, arm @ 0 -> 9
    at ALU_PC_G0, 1f, sub r1, pc, #8
    at ALU_PC_G1, 1f, sub r1, r1, #4
    ldr r0, [r1]
    bx lr
1:
    .word 9

function group_and_load, arm @ 0 -> 9
    at ALU_PC_G0_NC, 1f, sub r1, pc, #8
    at LDR_PC_G1, 1f, ldr r0, [r1, #-4]
    bx lr
1:
    .word 9

function group_and_half, arm @ 0 -> 9
    at ALU_PC_G0_NC, 1f, sub r1, pc, #8
    at LDRS_PC_G1, 1f, ldrh r0, [r1, #-4]
    bx lr
1:
    .word 9

function group_and_vfp, arm @ 0 -> 9
    at ALU_PC_G0_NC, 1f, sub r1, pc, #8
    at LDC_PC_G1, 1f, vldr s0, [r1, #-4]
    vmov r0, s0
    bx lr
1:
    .word 9

function static_base_alu, arm @ 0 -> 1234567
    ldr r1, 1f
    at ALU_SB_G0_NC, far, add r1, r1, #0
    at ALU_SB_G1_NC, far, add r1, r1, #0
    at ALU_SB_G2, far, add r1, r1, #0
    ldr r0, [r1]
    bx lr
1:
    at BASE_ABS, _GLOBAL_OFFSET_TABLE_, .word 0

function static_base_half, arm @ 0 -> 32770
    ldr r1, 1f
    at ALU_SB_G0_NC, far, add r1, r1, #4
    at ALU_SB_G1_NC, far, add r1, r1, #4
    at LDRS_SB_G2, far, ldrh r0, [r1, #4]
    bx lr
1:
    at BASE_ABS, _GLOBAL_OFFSET_TABLE_, .word 0

function static_base_vfp, arm @ 0 -> 1234567
    ldr r1, 1f
    at ALU_SB_G0_NC, far, add r1, r1, #0
    at ALU_SB_G1_NC, far, add r1, r1, #0
    at LDC_SB_G2, far, vldr s0, [r1, #0]
    vmov r0, s0
    bx lr
1:
    at BASE_ABS, _GLOBAL_OFFSET_TABLE_, .word 0

function static_base_word, arm @ 0 -> 1234567
    ldr r1, 1f
    ldr r2, 2f
    ldr r0, [r1, r2]
    bx lr
1:
    at BASE_ABS, _GLOBAL_OFFSET_TABLE_, .word 0
2:
    at SBREL32, far, .word 0

function static_base_31, arm @ 0 -> 1234567
    ldr r1, 1f
    ldr r2, 2f
    lsl r2, r2, #1
    add r1, r1, r2, asr #1
    ldr r0, [r1]
    bx lr
1:
    at BASE_ABS, _GLOBAL_OFFSET_TABLE_, .word 0
2:
    at SBREL31, far, .word 0

function prel31, arm @ 0 -> 1234567
    adr r2, 1f
    ldr r1, [r2]
    lsl r1, r1, #1
    add r1, r2, r1, asr #1
    ldr r0, [r1]
    bx lr
1:
    at PREL31, far, .word 0x80000000

function got_address, arm @ 0 -> 1234567
    ldr r1, 1f
    ldr r0, [r1]
    ldr r0, [r0]
    bx lr
1:
    at GOT_ABS, far, .word 0

function plt_address, arm @ 4 -> 8
    ldr r1, 1f
    bx r1
1:
    at PLT32_ABS, t_double, .word 0

@ Short distances: of the static base from itself, and of a symbol below 4096.
    .macro short name, state, type, symbol, code:vararg
function \name, \state
    adr r1, short_words
    at \type, \symbol, \code
    .endm
    short absolute_12, arm, ABS12, eight, ldr r0, [r1, #4] @ 0 -> 103
    bx lr
    short t_absolute_5, thumb, THM_ABS5, eight, ldr r0, [r1, #4] @ 0 -> 103
    bx lr
    short base_offset_12, arm, GOTOFF12, _GLOBAL_OFFSET_TABLE_, ldr r0, [r1, #12] @ 0 -> 103
    bx lr
    short base_movw, arm, MOVW_BREL, _GLOBAL_OFFSET_TABLE_, movw r0, #30000 @ 0 -> 30000
    bx lr
    short t_base_movw, thumb, THM_MOVW_BREL, _GLOBAL_OFFSET_TABLE_, movw r0, #30000 @ 0 -> 30000
    bx lr
    short base_alu_0, arm, ALU_SB_G0, _GLOBAL_OFFSET_TABLE_, add r1, r1, #12 @ 0 -> 103
    ldr r0, [r1]
    bx lr
    short base_alu_1, arm, ALU_SB_G1, _GLOBAL_OFFSET_TABLE_, add r1, r1, #12 @ 0 -> 100
    ldr r0, [r1]
    bx lr
    short base_ldr_0, arm, LDR_SB_G0, _GLOBAL_OFFSET_TABLE_, ldr r0, [r1, #12] @ 0 -> 103
    bx lr
    short base_ldr_1, arm, LDR_SB_G1, _GLOBAL_OFFSET_TABLE_, ldr r0, [r1, #0x808] @ 0 -> 102
    bx lr
    short base_ldrh_0, arm, LDRS_SB_G0, _GLOBAL_OFFSET_TABLE_, ldrh r0, [r1, #12] @ 0 -> 103
    bx lr
    short base_ldrh_1, arm, LDRS_SB_G1, _GLOBAL_OFFSET_TABLE_, ldrh r0, [r1, #12] @ 0 -> 100
    bx lr
    short base_vldr_0, arm, LDC_SB_G0, _GLOBAL_OFFSET_TABLE_, vldr s0, [r1, #12] @ 0 -> 103
    vmov r0, s0
    bx lr
    short base_vldr_1, arm, LDC_SB_G1, _GLOBAL_OFFSET_TABLE_, vldr s0, [r1, #12] @ 0 -> 100
    vmov r0, s0
    bx lr
    .balign 4
short_words: .word 100, 101, 102, 103
