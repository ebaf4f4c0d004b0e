"""Machine code for the host that makes Unicorn's translator respect RISC-V's NaN boxing.

A single-precision number in a 64-bit register has ones above it; an operand without them is the canonical NaN
(RISC-V unprivileged ISA, 21.2). The translator of QEMU 5 does neither. Its functions that append operations to a
translation are called by relocated addresses, and these are put in their place (`emu.cpu.unicorn.nan_boxing`):
for an instruction of single precision, floating-point registers that an operation reads are first replaced by a
conditional move, and what it writes gets its upper half. Translated code has two or three more host instructions
per operand; other code is as before.

`fetch` remembers the instruction, in a value of the thread: the whole word; while only its first half is known,
the address of the second, odd, is above it. `global` notes where the translator keeps floating-point registers.

Behind 64 KiB of `state` is what GCC 12 (-Os) makes of:

    typedef unsigned long u64;
    typedef unsigned u32;
    extern struct {
        u32 (*fetch)(void *cpu, u64 address);
        void (*op2)(), (*op3)();
        void (*deposit)(char *context, u64 result, u64 a, u64 b, u64 at, u64 size);
        void (*call)(char *context, void *function, char *result, u64 count, char **arguments);
        char *(*global)(char *context, u64 type, u64 base, u64 offset, const u32 *name);
        u64 (*get)(u64 key);
        int (*set)(u64 key, u64 value);
        char *(*temporary)(char *context, u64 type, u64 local);
        void (*release)(char *context, char *temporary);
        u64 (*constant)(char *context, u64 value);
        void (*select)(char *context, u64 condition, u64 result, u64 a, u64 b, u64 yes, u64 no);
        void (*or)(char *context, u64 result, u64 a, u64 b);
        u64 key, first, last;
    } state __attribute__((visibility("hidden")));
    enum { ONES = -1l << 32, NAN = 0x7fc00000, I64 = 1, UNSIGNED_GE = 5, BOX = 1, CHECK = 2 };

    u32 fetch(void *cpu, u64 address)
    {
        u32 half = state.fetch(cpu, address);
        u64 before = state.get(state.key), now = half;
        if (before >> 32 == ((u32)address | 1))
            now = (u32)before | half << 16;
        else if ((half & 3) == 3)
            now = half | (address + 2 | 1) << 32;
        state.set(state.key, now);
        return half;
    }

    static int use(u64 word)
    {
        u32 kind = (u32)word >> 27, format = word >> 25 & 3, opcode = word & 0x7f;
        if (word >> 32)
            return 0;
        if (opcode == 0x53) {
            if (kind == 8)
                return format == 0 ? BOX : format == 1 ? CHECK : 0;
            if (kind == 28 && !(word & 0x7000))
                return 0;
        } else if ((opcode & 0x73) != 0x43)
            return 0;
        return format ? 0 : BOX | CHECK;
    }

    static int is_float(char *context, char *temporary)
    {
        return (u64)(temporary - context) - state.first <= state.last - state.first;
    }

    static char *checked(char *context, char *operand, int use)
    {
        if (!(use & CHECK) || !is_float(context, operand))
            return operand;
        char *result = state.temporary(context, I64, 0);
        u64 ones = state.constant(context, ONES), nan = state.constant(context, NAN), value = operand - context;
        state.select(context, UNSIGNED_GE, result - context, value, ones, value, nan);
        state.release(context, context + ones);
        state.release(context, context + nan);
        return result;
    }

    static void boxed(char *context, char *result, int use)
    {
        if (use & BOX && is_float(context, result))
            state.or(context, result - context, result - context, ONES);
    }

    static __attribute__((noinline))
    void emit(char *context, u64 code, char *a, char *b, char *c, void (*original)())
    {
        u64 word = state.get(state.key);
        int what = use(word);
        if (!what)
            return original(context, code, a, b, c);
        state.set(state.key, 0);
        char *second = checked(context, b, what), *third = checked(context, c, what);
        original(context, code, a, second, third);
        if (second != b)
            state.release(context, second);
        if (third != c)
            state.release(context, third);
        boxed(context, a, what);
        state.set(state.key, word);
    }

    void op2(char *context, u64 code, char *a, char *b) { emit(context, code, a, b, 0, state.op2); }
    void op3(char *context, u64 code, char *a, char *b, char *c) { emit(context, code, a, b, c, state.op3); }

    /* sign injection; from several operations on the host, whose results between are no numbers */
    void deposit(char *context, u64 result, u64 a, u64 b, u64 at, u64 size)
    {
        u64 word = state.get(state.key);
        int what = use(word);
        state.set(state.key, 0);
        char *first = checked(context, context + a, what), *second = checked(context, context + b, what);
        state.deposit(context, result, first - context, second - context, at, size);
        if (first != context + a)
            state.release(context, first);
        if (second != context + b)
            state.release(context, second);
        boxed(context, context + result, what);
        state.set(state.key, word);
    }

    void call(char *context, void *function, char *result, u64 count, char **arguments)
    {
        u64 word = state.get(state.key), at;
        int what = use(word);
        char *changed[8];
        if (!what)
            return state.call(context, function, result, count, arguments);
        state.set(state.key, 0);
        for (at = 0; at < count; at++)
            changed[at] = checked(context, arguments[at], what);
        state.call(context, function, result, count, changed);
        for (at = 0; at < count; at++)
            if (changed[at] != arguments[at])
                state.release(context, changed[at]);
        boxed(context, result, what);
        state.set(state.key, word);
    }

    char *global(char *context, u64 type, u64 base, u64 offset, const u32 *name)
    {
        char *result = state.global(context, type, base, offset, name);
        if (*name == 0x662f3066) /* "f0/f" */
            state.first = result - context;
        if (*name == 0x2f313366) /* "f31/" */
            state.last = result - context;
        return result;
    }
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from emu.cpu.hooks.stop_hook import HostCode

#: The members of `state`: functions of Unicorn that are replaced; others that are used.
REPLACED: Final = (
    "cpu_lduw_code",
    "tcg_gen_op2",
    "tcg_gen_op3",
    "tcg_gen_deposit_i64",
    "tcg_gen_callN",
    "tcg_global_mem_new_internal",
)
USED_OF_C: Final = ("pthread_getspecific", "pthread_setspecific")
USED: Final = (
    "tcg_temp_new_internal",
    "tcg_temp_free_internal",
    "tcg_const_i64",
    "tcg_gen_movcond_i64",
    "tcg_gen_ori_i64",
)

#: What `uname -m` says -> where the functions begin, in the order of their names, and machine code.
CODE: Final[Mapping[str, HostCode]] = {
    "x86_64": HostCode(
        (0, 709, 724, 736, 975, 1245),
        bytes.fromhex("""
55534889f351ff15f4fffeff488b3d5500ffff89c5ff151500ffff89da4889c183ca0148c1e9204839d1750989eec1e61009c6eb1c89e889
ee83e00383f80375104883c30248c1e3204809de480fbaee20488b3d1000ffffff15dafffeff89e85a5b5dc34889f931c048c1e920755348
89fa89f848c1ea1983e07f83e20383f853752d89f8c1e81b83f8087513b80100000085d2742c31c0ffca0f94c001c0c383f81c751531c0f7
c700700000750bc383e77331c083ff43750883fa0119c083e003c3488b15a6fffeff488b05a7fffeff4829fe4829d04829d64839f00f93c0
0fb6c0c380e202415641554154554889f5530f84840000004889fbe8c3ffffff85c0747831d2be01000000ff152ffffeffbeffffffff4889
df4989c548c1e620ff152afffeffbe0000c07f4889df4989c6ff1519fffeff4889e94c89ea4d89f04989c44829d94829dabe050000004989
c94889df4c89ed504154ff15f8fefeff4a8d34334889dfff15dbfefeff4a8d34234889dfff15cefefeff5a595b4889e85d415c415d415ec3
80e201742a41514889f1e82cffffff85c0741a4829f941584889ceb9ffffffff48c1e1204889f2ff25abfefeff58c3c341574d89cf415649
89ce415541544d89c455534883ec2848893c24488b3d8efefeff48897424184889542408ff1546fefeff4889c74889442410e86dfeffff85
c0752a488b542408488b7424184d89e04c89f1488b3c244883c4284d89fa31c05b5d415c415d415e415f41ffe289c331f6488b3d38fefeff
ff1502fefeff488b3c2489da4c89f6e8a0feffff488b3c2489da4c89e64989c5e88ffeffff488b542408488b7424184c89e94889c54989c0
488b3c2431c041ffd74d39ee740d488b3c244c89eeff15c5fdfeff4939ec740d488b3c244889eeff15b3fdfeff488b742408488b3c2489da
e8e3feffff488b742410488b3db7fdfeff4883c4285b5d415c415d415e415fff2573fdfeff4c8b0d3cfdfeff4531c0e9e4feffff4c8b0d35
fdfeffe9d8feffff4157415641554989d541544989cc554889f5534889fb4901dd4901dc4883ec28488b3d61fdfeff4c894424184c894c24
10ff1519fdfeff31f64889c74889442408e83efdffff488b3d3bfdfeff89442404ff1501fdfeff8b5424044c89ee4889dfe89efdffff8b54
24044c89e64889df4989c7e88cfdffff4c89fa4c8b4c24104889ee4889c14829da4c8b4424184989c64829d94889dfff159bfcfeff4d39fd
740c4c89fe4889dfff15bafcfeff4d39f4740c4c89f64889dfff15a9fcfeff8b542404488d342b4889dfe8d9fdffff488b742408488b3dad
fcfeff4883c4285b5d415c415d415e415fff2569fcfeff415741564989f641554d89c5415455534889cb4883ec6848897c2408488b3d76fc
feff4889542410ff1533fcfeff4889c74889442418e85afcffff85c07527488b542410488b7c24084d89e84889d94883c4684c89f65b5d41
5c415d415e415fff25ebfbfeff488b3d2cfcfeff4189c431f631edff15effbfeff4839dd4c8d7c2420741b498b74ed00488b7c24084489e2
e87ffcffff498904ef48ffc5ebdb4c89f6488b542410488b7c24084d89f84889d94531f6ff1596fbfeff4939de741b4b8b34f74b3b74f500
740b488b7c2408ff15a3fbfeff49ffc6ebe0488b742410488b7c24084489e2e8ccfcffff488b742418488b3da0fbfeffff156afbfeff4883
c4685b5d415c415d415e415fc3554c89c5534889fb4151ff153bfbfeff8b550081fa66302f66750f4889c24829da4889156bfbfeffeb1581
fa6633312f750d4889c24829da4889155cfbfeff5a5b5dc3
"""),
    ),
    "aarch64": HostCode(
        (0, 912, 928, 940, 1220, 1564),
        bytes.fromhex("""
fd7bbda9fd030091f35301a994ffff90820240f9f55b02a996020091f50301aa40003fd6f303002ac11a40f9c03640f920003fd6a1020032
3f8040eb610100540140132a94020091821e40f9803640f940003fd6f55b42a9e003132af35341a9fd7bc3a8c0035fd660060012e103132a
1f0c007181feff54b50a0091218015aa210060b2f0ffff17ff8340eb2102005402180012016819535f4c0171e1010054027c1b535f200071
c1000054610200343f040071e0179f1a00781f53c0035fd65f700071210100541f0874f2e100005400008052faffff17620e80524000000a
1f0c017161ffff543f0000716000805200009f1af2ffff1720008052f0ffff1782ffff9042000091210000cb430047a9000003cb210003cb
3f0000ebe0879f1ac0035fd6fd7bbca9fd030091f35301a9f55b02a9f50301aaf76303a902050836f30300aaefffff97a004003494ffff90
94020091020080d2210080d2e00313aa832240f960003fd6f70300aa822a40f9e17f60b2e00313aa40003fd6f80300aa822a40f901f8afd2
e00313aa40003fd6e60300aa872e40f9a50213cbf60300aae40318aae30305aae20213cbe00313aaa10080d2e0003fd6f50317aa822640f9
6102188be00313aa40003fd6822640f96102168be00313aa40003fd6f35341a9e00315aaf55b42a9f76343a9fd7bc4a8c0035fd642020036
fd7bbfa9e50300aae40301aafd030091beffff974001003480ffff90820005cbfd7bc1a8e10302aa043040f9e37f60b2e00305aaf00304aa
00021fd6fd7bc1a8c0035fd6c0035fd6fd7bb9a9fd030091f35301a994ffff90f30300aafb7305a99c020091fb0305aae13300f9811b40f9
f55b02a9f60302aa803740f9f76303a9f80304aaf96b04a9fa0303aa20003fd6e03700f97fffff97c0010035e13340f9e40318aaf76343a9
e3031aaaf96b44a9e20316aaf55b42a9e00313aaf35341a9f0031baafb7345a9fd7bc7a800021fd6821f40f9f503002a803740f9010080d2
40003fd6e203152ae1031aaae00313aa8fffff97e203152af90300aae10318aae00313aa8affff97f70300aae13340f9e40300aae30319aa
e20316aae00313aa60033fd65f0319eba0000054822740f9e10319aae00313aa40003fd61f0317ebc000005480020091e10317aa022440f9
e00313aa40003fd694020091e203152ae10316aae00313aaa5ffff97f55b42a9f76343a9821e40f9f96b44a9f00302aafb7345a9803640f9
f35341a9e13740f9fd7bc7a800021fd684ffff90850440f9040080d2a9ffff1785ffff90a50840f9a6ffff17fd7bb9a9fd030091f35301a9
94ffff90f30300aaf55b02a9960200911500038bf76303a91700028bc03640f9f96b04a9f90301aac11a40f9fb7305a9e51306a920003fd6
fa0300aa25ffff97c21e40f9f803002ac03640f9010080d240003fd6e203182ae10317aae00313aa43ffff97e203182afc0300aae10315aa
e00313aa3effff97fb0300aae51346a9030013cbc60e40f9820313cbe10319aae00313aac0003fd6ff021ceba0000054c22640f9e1031caa
e00313aa40003fd6bf021bebc000005480020091e1031baa022440f9e00313aa40003fd6940200916102198be203182ae00313aa58ffff97
f55b42a9e1031aaaf76343a9821e40f9f96b44a9f00302aafb7345a9803640f9f35341a9fd7bc7a800021fd6fd7bb5a9fd030091f35301a9
94ffff90f30300aaf76303a998020091fb7305a9fc0301aa011b40f9f55b02a9f60302aa003740f9f96b04a9f50303aaf90304aa20003fd6
e03700f9dffeff97e0010035051340f9e40319aaf76343a9e30315aaf96b44a9e20316aaf55b42a9e1031caafb7345a9e00313aaf35341a9
f00305aafd7bcba800021fd6021f40f9f703002a003740f9fbc30191180080d2010080d240003fd61f0315eb810300549a020091e4031baa
e30315aae20316aae1031caae00313aa461340f9180080d2c0003fd61f0315eb0103005494020091e203172ae10316aae00313aa12ffff97
821e40f9e13740f9803640f940003fd6f35341a9f55b42a9f76343a9f96b44a9fb7345a9fd7bcba8c0035fd6217b78f8e203172ae00313aa
cffeff97607b38f818070091ddffff17617b78f8207b78f83f0000eb80000054422740f9e00313aa40003fd618070091dfffff17fd7bbda9
fd030091f35301a994ffff9094020091f30300aa851640f9f51300f9f50304aaa0003fd6a10240b9c20c8652e2c5ac723f00026be1000054
130013cb933a00f9f35341a9f51340f9fd7bc3a8c0035fd6c26c865222e6a5723f00026b21ffff54130013cb933e00f9f6ffff17
"""),
    ),
}
