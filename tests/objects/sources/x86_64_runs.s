# One function for each type, or for each sequence of types: it takes a number and returns one.
# "function NAME # 5 -> 10" says that NAME(5) is 10. "last TYPE, SYMBOL, INSTRUCTION" puts an entry at the last
# four bytes of an instruction, "ends SIZE, ..." at the last SIZE.

    .macro ends size, type, symbol, instruction:vararg
    \instruction
    .reloc . - \size, R_X86_64_\type, \symbol
    .endm
    .macro last type, symbol, instruction:vararg
    ends 4, \type, \symbol, \instruction
    .endm
    .macro numbered type, symbol, instruction:vararg # for types the assembler has no name for: see test_runs.py
    last PC32, \symbol + (\type << 32), \instruction
    .endm
    .macro got # %rbx: the global offset table
    last GOTPC32, _GLOBAL_OFFSET_TABLE_-4, lea 0(%rip), %rbx
    .endm
    .macro thread_local # %rdi: the pair of a slot → what the symbol holds
    sub $8, %rsp
    last PLT32, __tls_get_addr-4, call .+5
    add $8, %rsp
    mov (%rax), %eax
    ret
    .endm

    .text
wrong:
    mov $-1, %eax
    ret
twice:
    lea (%rdi, %rdi), %rax
    ret

# ---------------------------------------------------------------- branches
function short # 21 -> 42
    ends 1, PC8, twice_nearby-1, .byte 0xeb, 0
    jmp wrong
twice_nearby:
    jmp twice
function jump # 21 -> 42
    last PLT32, twice-4, .byte 0xe9, 0, 0, 0, 0
function bound_jump # 21 -> 42
    numbered 40, twice-4, .byte 0xf2, 0xe9, 0, 0, 0, 0
function conditional # 21 -> 42
    test %eax, %eax
    last PC32, twice-4, .byte 0x0f, 0x84, 0, 0, 0, 0
    last PC32, twice-4, .byte 0x0f, 0x85, 0, 0, 0, 0
function bound_conditional # 21 -> 42
    cmp %eax, %eax
    numbered 39, twice-4, .byte 0xf2, 0x0f, 0x84, 0, 0, 0, 0
    jmp wrong
function through_table # 21 -> 42
    push %rbx
    got
    ends 8, PLTOFF64, twice, movabs $0x7777777777777777, %rax
    add %rbx, %rax
    pop %rbx
    jmp *%rax
function slot_of_function # 21 -> 42
    push %rbx
    got
    ends 8, GOTPLT64, twice, movabs $0x7777777777777777, %rax
    mov (%rbx, %rax), %rax
    pop %rbx
    jmp *%rax

# ---------------------------------------------------------------- addresses
function immediate_8 # 0 -> 100
    ends 1, 8, value8, mov $0, %al
    movzbl %al, %eax
    ret
function immediate_16 # 0 -> 60000
    ends 2, 16, value16, mov $0, %ax
    movzwl %ax, %eax
    ret
function unsigned_32 # 0 -> 4000000000
    last 32, value32, mov $0, %eax
    ret
function signed_32 # 0 -> -2000000000
    last 32S, below32, mov $0x77777777, %rax
    last 32S, below32, mov $0, %rax
    ret
function absolute # 0 -> 4660
    ends 8, 64, v, movabs $0x7777777777777777, %rax
    mov (%rax), %eax
    ret
function relative # 0 -> 4660
    last PC32, v-4, mov 0(%rip), %eax
    ret
function distance_16 # 0 -> 4660
    ends 2, PC16, .Lword, mov $0, %ax
.Lbehind_16:
    movswq %ax, %rax
    lea .Lbehind_16 - 2(%rip), %rdx
    mov (%rdx, %rax), %eax
    ret
.Lword:
    .long 4660
function distance_64 # 0 -> 4660
    ends 8, PC64, v, movabs $0x7777777777777777, %rax
.Lbehind_64:
    lea .Lbehind_64 - 8(%rip), %rdx
    mov (%rdx, %rax), %eax
    ret
function size_32 # 0 -> 24
    last SIZE32, v, mov $0, %eax
    ret
function size_64 # 0 -> 25
    ends 8, SIZE64, v+1, movabs $0x7777777777777777, %rax
    ret

# ---------------------------------------------------------------- the global offset table
    .macro slot name, entry, type, instruction:vararg
function \name
    \entry \type, v-4, \instruction
    mov (%rax), %eax
    ret
    .endm
    .macro offset name, size, type, symbol, instruction:vararg
function \name
    push %rbx
    got
    ends \size, \type, \symbol, \instruction
    .endm
    slot slot_plain, last, GOTPCREL, mov 0(%rip), %rax # 0 -> 4660
    slot slot_relaxable, last, GOTPCRELX, addr32 mov 0(%rip), %eax # 0 -> 4660
    slot slot_rex, last, REX_GOTPCRELX, mov 0(%rip), %rax # 0 -> 4660
# The prefixes of APX that these types tell of are unknown to every emulated core; their displacement is the same.
    slot slot_code_4, last, CODE_4_GOTPCRELX, mov 0(%rip), %rax # 0 -> 4660
    slot slot_code_5, numbered, 46, mov 0(%rip), %rax # 0 -> 4660
    slot slot_code_6, numbered, 49, mov 0(%rip), %rax # 0 -> 4660
    offset slot_offset_32, 4, GOT32, v, mov 0x77777777(%rbx), %rax # 0 -> 4660
    pop %rbx
    mov (%rax), %eax
    ret
    offset slot_offset_64, 8, GOT64, v, movabs $0x7777777777777777, %rax # 0 -> 4660
    mov (%rbx, %rax), %rax
    pop %rbx
    mov (%rax), %eax
    ret
    offset symbol_offset, 8, GOTOFF64, v, movabs $0x7777777777777777, %rax # 0 -> 4660
    mov (%rbx, %rax), %eax
    pop %rbx
    ret
function slot_distance_64 # 0 -> 4660
    ends 8, GOTPCREL64, v, movabs $0x7777777777777777, %rax
.Lbehind_slot:
    lea .Lbehind_slot - 8(%rip), %rdx
    mov (%rdx, %rax), %rax
    mov (%rax), %eax
    ret
function table_distance_64 # 0 -> 4660
    ends 8, GOTPC64, _GLOBAL_OFFSET_TABLE_, movabs $0x7777777777777777, %rdx
.Lbehind_table:
    lea .Lbehind_table - 8(%rip), %rax
    add %rax, %rdx
    ends 8, GOT64, v, movabs $0x7777777777777777, %rax
    mov (%rdx, %rax), %rax
    mov (%rax), %eax
    ret

# ---------------------------------------------------------------- thread-local storage
    .macro initial name, entry, type
function \name
    \entry \type, t-4, mov 0(%rip), %rax
    mov %fs:(%rax), %eax
    ret
    .endm
    .macro described name, entry, type
function \name
    push %rax
    \entry \type, t-4, lea 0(%rip), %rax
    .reloc ., R_X86_64_TLSDESC_CALL, t
    call *(%rax)
    mov %fs:(%rax), %eax
    pop %rdx
    ret
    .endm
    .macro own_block # %rax: the address of the block
    push %rdx
    last TLSLD, t-4, lea 0(%rip), %rdi
    last PLT32, __tls_get_addr-4, call .+5
    pop %rdx
    .endm
function general_dynamic # 0 -> 77
    last TLSGD, t-4, lea 0(%rip), %rdi
    thread_local
function local_dynamic # 0 -> 77
    own_block
    last DTPOFF32, t, mov 0x77777777(%rax), %eax
    ret
function local_dynamic_64 # 0 -> 77
    own_block
    ends 8, DTPOFF64, t, movabs $0x7777777777777777, %rdx
    mov (%rax, %rdx), %eax
    ret
    initial initial_exec, last, GOTTPOFF # 0 -> 77
    initial initial_exec_code_4, last, CODE_4_GOTTPOFF # 0 -> 77
    initial initial_exec_code_5, numbered, 47 # 0 -> 77
    initial initial_exec_code_6, numbered, 50 # 0 -> 77
function local_exec # 0 -> 77
    last TPOFF32, t, mov %fs:0, %eax
    ret
function local_exec_64 # 0 -> 77
    ends 8, TPOFF64, t, movabs $0x7777777777777777, %rax
    mov %fs:(%rax), %eax
    ret
    described descriptor, last, GOTPC32_TLSDESC # 0 -> 77
    described descriptor_code_4, last, CODE_4_GOTPC32_TLSDESC # 0 -> 77
    described descriptor_code_5, numbered, 48 # 0 -> 77
    described descriptor_code_6, numbered, 51 # 0 -> 77

    .globl value8, value16, value32, below32
    .set value8, 100
    .set value16, 60000
    .set value32, 4000000000
    .set below32, -2000000000

    .data
    .balign 8
    .globl v
    .type v, @object
    .size v, 24
v: .quad 4660, 0, 0

    .section .tdata, "awT", @progbits
    .balign 8
    .globl t
    .quad 0
t: .quad 77
