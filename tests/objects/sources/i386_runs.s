# One function for each type, or for each sequence of types: it takes a number and returns one.
# "function NAME # 5 -> 10" says that NAME(5) is 10. "last TYPE, SYMBOL, INSTRUCTION" puts an entry at the last
# four bytes of an instruction, which hold the addend; "ends SIZE, ..." at the last SIZE.

    .macro ends size, type, symbol, instruction:vararg
    \instruction
    .reloc . - \size, R_386_\type, \symbol
    .endm
    .macro last type, symbol, instruction:vararg
    ends 4, \type, \symbol, \instruction
    .endm
    .macro got # %ebx: the global offset table
    call 1f
1:  pop %ebx
    last GOTPC, _GLOBAL_OFFSET_TABLE_, .byte 0x81, 0xc3, 3, 0, 0, 0 # add $_GLOBAL_OFFSET_TABLE_ + 3, %ebx
    .endm

    .text
wrong:
    mov $-1, %eax
    ret
twice:
    mov 4(%esp), %eax
    add %eax, %eax
    ret

# ---------------------------------------------------------------- branches
function short # 21 -> 42
    ends 1, PC8, nearby, .byte 0xeb, -1
    jmp wrong
nearby:
    jmp twice
function jump # 21 -> 42
    last PLT32, twice, .byte 0xe9, -4, -1, -1, -1
function conditional # 21 -> 42
    cmp %eax, %eax
    last PC32, twice, .byte 0x0f, 0x84, -4, -1, -1, -1
    jmp wrong
function absolute_branch # 21 -> 42
    last 32PLT, twice, mov $0, %eax
    jmp *%eax

# ---------------------------------------------------------------- addresses
function immediate_8 # 0 -> 105
    ends 1, 8, value8, mov $5, %al
    movzbl %al, %eax
    ret
function immediate_16 # 0 -> 60005
    ends 2, 16, value16, mov $5, %ax
    movzwl %ax, %eax
    ret
function absolute # 0 -> 4660
    last 32, v, mov 0, %eax
    ret
function distance_16 # 0 -> 4660
    call 1f
1:  pop %edx
    ends 2, PC16, .Lword, mov $0, %ax
.Lbehind_16:
    movswl %ax, %eax
    mov .Lbehind_16 - 1b - 2(%edx, %eax), %eax
    ret
.Lword:
    .long 4660

# ---------------------------------------------------------------- the global offset table
    .macro table name, type, symbol, instruction:vararg
function \name
    push %ebx
    got
    last \type, \symbol, \instruction
    pop %ebx
    .endm
    table slot, GOT32, v, .byte 0x8b, 0x83, 0, 0, 0, 0 # 0 -> 4660
    mov (%eax), %eax
    ret
    table slot_relaxable, GOT32X, v, .byte 0x8b, 0x83, 0, 0, 0, 0 # 0 -> 4660
    mov (%eax), %eax
    ret
function slot_absolute # 0 -> 4660
    last GOT32, v, .byte 0x8b, 0x05, 0, 0, 0, 0
    mov (%eax), %eax
    ret
function slot_absolute_relaxable # 0 -> 4660
    last GOT32X, v, .byte 0x8b, 0x05, 0, 0, 0, 0
    mov (%eax), %eax
    ret
function slot_offset_by_lea # 0 -> 4660
    push %ebx
    got
    last GOT32, v, .byte 0x8d, 0x05, 0, 0, 0, 0
    mov (%ebx, %eax), %eax
    pop %ebx
    mov (%eax), %eax
    ret
function slot_address_by_lea # 0 -> 4660
    last GOT32X, v, .byte 0x8d, 0x05, 0, 0, 0, 0
    mov (%eax), %eax
    mov (%eax), %eax
    ret
    table table_offset, GOTOFF, v, .byte 0x8b, 0x83, 0, 0, 0, 0 # 0 -> 4660
    ret

# ---------------------------------------------------------------- thread-local storage
    .macro block # %eax: the pair of a slot → what it stands for
    last PLT32, ___tls_get_addr, .byte 0xe8, -4, -1, -1, -1
    .endm
    table general_dynamic, TLS_GD, t, .byte 0x8d, 0x83, 0, 0, 0, 0 # 0 -> 77
    block
    mov (%eax), %eax
    ret
    table local_dynamic, TLS_LDM, t, .byte 0x8d, 0x83, 0, 0, 0, 0 # 0 -> 77
    block
    last TLS_LDO_32, t, .byte 0x8b, 0x80, 0, 0, 0, 0
    ret
    table initial_exec, TLS_GOTIE, t, .byte 0x8b, 0x83, 0, 0, 0, 0 # 0 -> 77
    mov %gs:(%eax), %eax
    ret
function initial_exec_absolute # 0 -> 77
    last TLS_IE, t, .byte 0x8b, 0x05, 0, 0, 0, 0
    mov %gs:(%eax), %eax
    ret
function local_exec # 0 -> 77
    last TLS_LE, t, .byte 0x65, 0xa1, 0, 0, 0, 0
    ret
function local_exec_subtracted # 0 -> 77
    mov %gs:0, %eax
    last TLS_LE_32, t, .byte 0x2d, 0, 0, 0, 0
    mov (%eax), %eax
    ret
    table descriptor, TLS_GOTDESC, t, .byte 0x8d, 0x83, 0, 0, 0, 0 # 0 -> 77
    .reloc ., R_386_TLS_DESC_CALL, t
    call *(%eax)
    mov %gs:(%eax), %eax
    ret

    .data
    .balign 8
    .globl v
v: .long 4660

    .section .tdata, "awT", @progbits
    .balign 8
    .globl t
    .long 0
t: .long 77
