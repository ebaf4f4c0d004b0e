"""The system call numbers of each ISA. Pure data.

Registers: Linux, arch/*/include/asm/syscall.h and syscall(2), "Architecture calling conventions". All seven return
a result or negative errno in one register. Numbers: arch/x86/entry/syscalls/syscall_64.tbl and syscall_32.tbl,
arch/arm/tools/syscall.tbl, and include/uapi/asm-generic/unistd.h, which AArch64, RISC-V and LoongArch share; of
the latter the 32-bit RISC-V has the calls with 64-bit times only.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

from emu.isa.registry import ISAS

#: One row per call: its number on x86-64, i386, Arm, and in the generic table for 64-bit and 32-bit ISAs.
_NUMBERS = """
read                    0    3    3   63   63
write                   1    4    4   64   64
open                    2    5    5    -    -
close                   3    6    6   57   57
stat                    4    -    -    -    -
fstat                   5    -    -   80    -
lstat                   6    -    -    -    -
stat64                  -  195  195    -    -
lstat64                 -  196  196    -    -
fstat64                 -  197  197    -    -
fstatat64               -  300  327    -    -
newfstatat            262    -    -   79    -
statx                 332  383  397  291  291
poll                    7  168  168    -    -
ppoll                 271  309  336   73    -
ppoll_time64            -  414  414    -  414
select                 23    -    -    -    -
newselect               -  142  142    -    -
pselect6              270  308  335   72    -
pselect6_time64         -  413  413    -  413
lseek                   8   19   19   62    -
llseek                  -  140  140    -   62
mmap                    9    -    -  222    -
mmap2                   -  192  192    -  222
mprotect               10  125  125  226  226
msync                  26  144  144  227  227
munmap                 11   91   91  215  215
brk                    12   45   45  214  214
mremap                 25  163  163  216  216
madvise                28  219  220  233  233
rt_sigaction           13  174  174  134  134
rt_sigprocmask         14  175  175  135  135
rt_sigreturn           15  173  173  139  139
sigreturn               -  119  119    -    -
rt_sigpending         127  176  176  136  136
rt_sigtimedwait       128  177  177  137    -
rt_sigtimedwait_time64  -  421  421    -  421
rt_sigqueueinfo       129  178  178  138  138
rt_tgsigqueueinfo     297  335  363  240  240
rt_sigsuspend         130  179  179  133  133
pause                  34   29   29    -    -
alarm                  37   27    -    -    -
getitimer              36  105  105  102    -
setitimer              38  104  104  103    -
sigaltstack           131  186  186  132  132
ioctl                  16   54   54   29   29
pread64                17  180  180   67   67
pwrite64               18  181  181   68   68
readv                  19  145  145   65   65
writev                 20  146  146   66   66
access                 21   33   33    -    -
faccessat             269  307  334   48   48
faccessat2            439  439  439  439  439
sched_yield            24  158  158  124  124
chmod                  90   15   15    -    -
fchmod                 91   94   94   52   52
fchmodat              268  306  333   53   53
utimensat             280  320  348   88    -
utimensat_time64        -  412  412    -  412
pipe                   22   42   42    -    -
pipe2                 293  331  359   59   59
dup                    32   41   41   23   23
dup2                   33   63   63    -    -
dup3                  292  330  358   24   24
nanosleep              35  162  162  101    -
clock_nanosleep       230  267  265  115    -
clock_nanosleep_time64  -  407  407    -  407
getpid                 39   20   20  172  172
getppid               110   64   64  173  173
gettid                186  224  224  178  178
getuid                102  199  199  174  174
geteuid               107  201  201  175  175
getgid                104  200  200  176  176
getegid               108  202  202  177  177
setuid                105  213  213  146  146
setgid                106  214  214  144  144
exit                   60    1    1   93   93
exit_group            231  252  248   94   94
uname                  63  122  122  160  160
fcntl                  72   55   55   25    -
fcntl64                 -  221  221    -   25
fsync                  74  118  118   82   82
ftruncate              77   93   93   46    -
ftruncate64             -  194  194    -   46
getdents64            217  220  217   61   61
getcwd                 79  183  183   17   17
chdir                  80   12   12   49   49
rename                 82   38   38    -    -
renameat2             316  353  382  276  276
mkdir                  83   39   39    -    -
mkdirat               258  296  323   34   34
unlink                 87   10   10    -    -
unlinkat              263  301  328   35   35
readlink               89   85   85    -    -
readlinkat            267  305  332   78   78
umask                  95   60   60  166  166
getcpu                309  318  345  168  168
gettimeofday           96   78   78  169    -
getrlimit              97    -    -  163    -
ugetrlimit              -  191  191    -    -
prlimit64             302  340  369  261  261
arch_prctl            158  384    -    -    -
set_thread_area         -  243    -    -    -
prctl                 157  172  172  167  167
tkill                 200  238  238  130  130
tgkill                234  270  268  131  131
kill                   62   37   37  129  129
time                  201   13    -    -    -
futex                 202  240  240   98    -
futex_time64            -  422  422    -  422
set_tid_address       218  258  256   96   96
clock_gettime         228  265  263  113    -
clock_gettime64         -  403  403    -  403
clock_getres          229  266  264  114    -
clock_getres_time64     -  406  406    -  406
openat                257  295  322   56   56
set_robust_list       273  311  338   99   99
getrandom             318  355  384  278  278
sched_setaffinity     203  241  241  122  122
sched_getaffinity     204  242  242  123  123
rseq                  334  386  398  293  293
membarrier            324  375  389  283  283
clone                  56  120  120  220  220
clone3                435  435  435  435  435
fork                   57    2    2    -    -
vfork                  58  190  190    -    -
execve                 59   11   11  221  221
wait4                  61  114  114  260    -
waitid                247  284  280   95   95
socket                 41  359  281  198  198
connect                42  362  283  203  203
eventfd2              290  328  356   19   19
epoll_create1         291  329  357   20   20
epoll_ctl             233  255  251   21   21
epoll_pwait           281  319  346   22   22
memfd_create          319  356  385  279  279
"""


@functools.cache
def names(arch: str) -> Mapping[int, str]:
    """System call names by number, for an ISA (canonical name)."""
    kernel = ISAS[arch].kernel
    rows = (line.split() for line in _NUMBERS.split("\n") if line)
    found = {int(row[kernel.table]): row[0] for row in rows if row[kernel.table] != "-"}
    found |= {number: name for name, number in kernel.own_calls.items()}
    return {number: name for number, name in found.items() if name not in kernel.absent_calls}
