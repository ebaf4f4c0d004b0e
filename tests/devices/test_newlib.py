"""Programs for a Cortex-M3 with Debian's newlib, as boards' templates have them: start-up code with ST's names,
weak handlers, constructors, `printf` with floating point, `malloc` on a heap after `end`.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from emu.boards import Board, CortexM, Ram, Rom
from relink import HostMemory, Linker, LinkScript, LoadOptions, MemoryRegion

START = """
extern unsigned _sidata[], _sdata[], _edata[], _sbss[], _ebss[], _estack[];
void __libc_init_array(void);
int main(void);
void Reset_Handler(void) {
    for (unsigned *to = _sdata, *from = _sidata; to < _edata;) *to++ = *from++;
    for (unsigned *to = _sbss; to < _ebss;) *to++ = 0;
    __libc_init_array();
    main();
    for (;;) ;
}
void Default_Handler(void) { for (;;) ; }
void NMI_Handler(void) __attribute__((weak, alias("Default_Handler")));
void HardFault_Handler(void) __attribute__((weak, alias("Default_Handler")));
__attribute__((section(".isr_vector"), used)) void *const vectors[4] = {
    _estack, Reset_Handler, NMI_Handler, HardFault_Handler };
"""
MAIN = """
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
extern char end, _estack, _Min_Stack_Size;
static char *heap;
void *_sbrk(int n) {
    if (!heap) heap = &end;
    if (heap + n > &_estack - (unsigned)&_Min_Stack_Size) { errno = ENOMEM; return (void *)-1; }
    return (heap += n) - n;
}
char out[64];
int used, order, done;
int _write(int file, char *text, int n) { for (int i = 0; i < n; i++) out[used++ & 63] = text[i]; return n; }
int _read(int file, char *text, int n) { return 0; }
int _close(int file) { return -1; }
int _lseek(int file, int to, int from) { return 0; }
int _fstat(int file, struct stat *facts) { facts->st_mode = S_IFCHR; return 0; }
int _isatty(int file) { return 1; }
int _kill(int pid, int signal) { return -1; }
int _getpid(void) { return 1; }
void _exit(int status) { for (;;) ; }
__attribute__((constructor)) static void late(void) { order = order * 10 + 2; }
__attribute__((constructor(101))) static void early(void) { order = order * 10 + 1; }
void HardFault_Handler(void) { done = -1; for (;;) ; }
int main(void) {
    char *text = malloc(100);
    strcpy(text, "heap");
    printf("order %d, %s, %05.2f\\n", order, text, 3.14159);
    fflush(stdout);
    done = 42;
    return 0;
}
"""
GCC = "arm-none-eabi-gcc"
FLAGS = ("-mcpu=cortex-m3", "-mthumb")


def file_of(name: str) -> Path:
    command = [GCC, *FLAGS, f"-print-file-name={name}"]
    path = Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    if not path.exists():
        pytest.skip(f"no {name} for {GCC} on this host")
    return path


@pytest.mark.parametrize("library", ["libc.a", "libc_nano.a"])
def test_a_program_with_newlib_runs_from_reset(library: str, tmp_path: Path) -> None:
    if shutil.which(GCC) is None:
        pytest.skip(f"no {GCC} on this host")
    (tmp_path / "start.c").write_text(START)
    (tmp_path / "main.c").write_text(MAIN)
    command = [GCC, *FLAGS, "-Os", "-ffunction-sections", "-fdata-sections", "-c", "start.c", "main.c"]
    file_of(library)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    flash = MemoryRegion("flash", 0x0800_0000, 128 << 10, "rx", fill=0xFF)
    ram = MemoryRegion("ram", 0x2000_0000, 20 << 10, "rw")
    rules = LinkScript.of(regions=[flash, ram], entry="Reset_Handler", gc=True, symbols={"_Min_Stack_Size": 0x400})
    names = "crti.o", "crtbegin.o", library, "libm.a", "libgcc.a", "crtend.o", "crtn.o"
    runtime = [file_of(name) for name in names]
    objects = [tmp_path / "start.o", *runtime[:2], tmp_path / "main.o", *runtime[2:]]
    options = LoadOptions(script=rules, undefined=["_printf_float"])
    image = Linker(HostMemory("arm")).load(objects, options=options)
    assert image.link_map().symbol("end").address == image.link_map().symbol("_ebss").address
    board = Board(
        CortexM("cortex-m3", vectors=flash.origin),
        memory=[Rom(flash.origin, flash.length), Ram(ram.origin, ram.length)],
    )
    image.export(tmp_path / "app.hex")
    board.load(tmp_path / "app.hex")
    board.power_cycle(fill=0x55)
    memory, symbol = board.machine.memory, image.link_map().symbol
    board.run(until=lambda: memory.read_uint(symbol("done").address, 4) == 42, max_instructions=400_000)
    assert memory.read(symbol("out").address, 23) == b"order 12, heap, 03.14\n\0"
