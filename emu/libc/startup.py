"""`__libc_start_main`, which `_start` calls: it runs main and exits.

glibc's (csu/libc-start.c) and musl's (src/env/__libc_start_main.c) have the same prototype, except that musl lacks
the last argument. It runs the program's constructors; before glibc 2.34 the program passes a function for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.errors import GuestAbort
from emu.libc.handlers import Handler, Handlers
from emu.libc.process import exit_
from emu.libc.table import export

if TYPE_CHECKING:
    from emu.libc.library import Libc


@export(
    "void __libc_start_main(void *main, int argc, void *argv, void *init, void *fini, void *finish, void *stack)"
)
def libc_start_main(
    libc: Libc, main: int, argc: int, argv: int, init: int, fini: int, finish: int, stack: int
) -> None:
    program = libc.program
    if program is None:
        raise GuestAbort("__libc_start_main was called, but no program was started")
    environment = argv + libc.word * (argc + 1)
    libc.set_pointer(libc.data_symbol("environ") or 0, environment)
    registered = libc.state(Handlers).registered
    # musl does not pass them and finds them itself.
    registered.append(Handler(finish or program.finisher, None, 0))
    if finish and fini:
        registered.append(Handler(fini, None, 0))
    program.run_constructors(init)
    status = libc.call_int(main, "int main(int argc, char **argv, char **envp)", argc, argv, environment)
    exit_(libc, status)
