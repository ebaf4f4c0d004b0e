"""Guest threads: thread pointer, TCB, static TLS area and blocks of dynamic modules.

In variant II the blocks are below the thread pointer and the TCB above it; in variant I the blocks are above, and
the C library's part of the TCB below (Drepper, "ELF Handling For Thread-Local Storage", section 3).

The dtv of a thread is kept here, not in guest memory. Unloading a module removes its entries, so no generation
counter is needed. A thread is only storage: inside `Machine.use_thread` the guest runs with it, on the machine's
only stack.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from emu.errors import CallError, ForeignObject, GuestAbort, HandleOutlived
from emu.isa.registry import ISAS
from emu.memory.guest_memory import GuestMemory
from emu.memory.heap import Heap
from relink.arch import TlsVariant
from relink.memory.address_space import PAGE, page_ceil
from relink.memory.rollback import Rollback
from relink.module import Module, TlsModule

if TYPE_CHECKING:
    from emu.cpu.protocol import Cpu
    from emu.run.traps import TrapTable
    from relink.linker import Linker

STACK_GUARD = 0x5BD1_E995_A3C6_4F00  #: the low byte is 0, as in glibc, to stop string overflows


class Thread:
    """One guest thread's storage."""

    def __init__(self) -> None:
        self.start = self.thread_pointer = 0
        #: dynamic module -> (address of its block, address of the heap block)
        self.blocks: dict[int, tuple[int, int]] = {}
        self.alive = True

    def map(self, memory: GuestMemory, static_size: int) -> None:
        """Map memory for it, with `static_size` bytes for the blocks of static modules."""
        arch = memory.architecture
        area = page_ceil(static_size)
        self.start = memory.map_anonymous(area + PAGE, name="[tls]")
        self.thread_pointer = self.start + (area if arch.tls.variant is TlsVariant.II else PAGE)
        tcb = ISAS[arch.name].tcb
        words = dict.fromkeys(tcb.self_pointers, self.thread_pointer)
        if tcb.stack_guard is not None:
            words[tcb.stack_guard] = STACK_GUARD
        if words:  # the rest of the block is zero
            word, first = arch.word_size, min(words)
            content = bytearray(max(words) + word - first)
            for offset, value in words.items():
                content[offset - first : offset - first + word] = (value & arch.address_mask).to_bytes(
                    word, "little"
                )
            memory.write(self.thread_pointer + first, content)

    def outlive(self) -> None:
        """End the thread: the machine has returned to a snapshot in which it did not exist."""
        self.alive, self.outlived = False, True

    outlived = False

    def __repr__(self) -> str:
        return f"<Thread {self.thread_pointer:#x}{'' if self.alive else ' (ended)'}>"


class Threads:
    """The machine's threads; allocates the blocks of dynamic modules (`relink.tls.Blocks`)."""

    def __init__(self, memory: GuestMemory, heap: Heap, cpu: Cpu, traps: TrapTable, linker: Linker) -> None:
        self._memory = memory
        self._heap = heap
        self._cpu = cpu
        self._traps = traps
        self._linker = linker
        self.on_switch: Callable[[], None] = lambda: None  #: called when the current thread changes
        self._functions: dict[int, int] = {}  # dynamic module -> the trap that its descriptors call
        self._uses: Counter[int] = Counter()  # trap -> number of uses
        self.main = self.current = Thread()
        self.main.map(memory, linker.tls.static_size)
        self.alive = [self.main]
        self._outer: list[Thread] = []  # the threads that `using` will restore
        linker.tls.blocks = self
        cpu.set_thread_pointer(self.main.thread_pointer)

    # ------------------------------------------------------------ threads

    def new(self) -> Thread:
        """Create a thread with initialised blocks for all static modules. Raises AddressSpaceError."""
        thread = Thread()
        try:
            thread.map(self._memory, self._linker.tls.static_size)
            self.alive.append(thread)
            for image in self._linker.images:
                self._initialise(thread, image)
        except BaseException:
            self.end(thread)
            raise
        return thread

    @property
    def thread_pointer(self) -> int:
        """The value of the current thread's thread pointer."""
        return self.current.thread_pointer

    def check(self, thread: Thread) -> None:
        """Raise CallError for a thread that has ended, and ForeignObject for one of another machine."""
        if not isinstance(thread, Thread):
            raise TypeError(f"{thread!r} is no thread: give what Machine.new_thread returned")
        if thread.outlived:
            raise HandleOutlived(repr(thread))
        if not thread.alive:
            raise CallError(f"{thread!r} cannot be used")
        if thread not in self.alive:
            raise ForeignObject(repr(thread), "", self._memory.architecture.name)

    @contextmanager
    def using(self, thread: Thread) -> Iterator[Thread]:
        """Make `thread` the current thread during the block. Raises CallError if it has ended."""
        self.check(thread)
        rest = Rollback(((self._return, (self.current, len(self._outer))),))
        try:
            self._outer.append(self.current)
            self._switch(thread)
            yield thread
        finally:
            try:
                rest.close()
            finally:
                if rest.calls:
                    rest.close()

    def _return(self, thread: Thread, depth: int) -> None:
        """Make `thread` current again, and forget the blocks of `using` beyond a depth."""
        self._switch(thread)
        del self._outer[depth:]

    @property
    def outer(self) -> tuple[Thread, ...]:
        """The threads that the ends of `using` blocks will make current again, innermost last."""
        return tuple(self._outer)

    def is_running(self, thread: Thread) -> bool:
        """Whether `thread` is current, or will be again after a nested `using`."""
        return thread is self.current or thread in self._outer

    def _switch(self, thread: Thread) -> None:
        self.current = thread
        self._cpu.set_thread_pointer(thread.thread_pointer)
        self.on_switch()

    def restore_pointer(self) -> None:
        """Reset the CPU's thread pointer, which a program may have changed, to the current thread."""
        self._cpu.set_thread_pointer(self.current.thread_pointer)

    def end(self, thread: Thread) -> None:
        """Free a thread's storage, unless that has been done. The thread must be neither the main thread nor in
        use.
        """
        for number in tuple(thread.blocks):
            self._free(thread, number)
        if thread.start and self._memory.region_at(thread.start) is not None:
            self._memory.unmap(thread.start)
        thread.start, thread.alive = 0, False
        if thread in self.alive:
            self.alive.remove(thread)

    # ------------------------------------------------------------ blocks

    def initialise(self, images: Iterable[Module]) -> None:
        """Initialise the static blocks of these images in every thread."""
        for image in images:
            if image.tls is not None:
                for thread in self.alive:
                    self._initialise(thread, image)

    def _initialise(self, thread: Thread, image: Module) -> None:
        if image.tls is not None and image.tls.static:
            self._fill(image, thread.thread_pointer + image.tls.offset)

    def _fill(self, image: Module, block: int) -> None:
        """Copy an image's (relocated) initialisation image into a block and zero the rest."""
        segment = image.decoded.tls
        assert segment is not None
        content = self._memory.read(image.address_of(segment.vaddr), segment.filesz) if segment.filesz else b""
        self._memory.write(block, content + bytes(segment.memsz - segment.filesz))

    def block(self, image: Module) -> int:
        """The guest address of an image's block in the current thread, allocated on first use.

        The image must have thread-local storage. Raises GuestAbort when no memory is left.
        """
        module, thread = image.tls, self.current
        assert module is not None
        if module.static:
            return thread.thread_pointer + module.offset
        found = thread.blocks.get(module.id)
        if found is None:
            made = self._allocate(image)
            if module.id not in thread.blocks:  # without a call before, in which a signal handler could come
                thread.blocks[module.id] = made
            else:
                self._heap.free(made[1])
            found = thread.blocks[module.id]
        return found[0]

    def _allocate(self, image: Module) -> tuple[int, int]:
        segment = image.decoded.tls
        assert segment is not None
        align = max(segment.align, 1)
        past = segment.vaddr % align  # the block has the segment's offset from an aligned address
        base = self._heap.aligned_alloc(align, past + segment.memsz)
        if not base:
            raise GuestAbort(f"{image.name}: cannot allocate memory for thread-local data: {segment.memsz} bytes")
        try:
            self._fill(image, base + past)
        except BaseException:
            self._heap.free(base)
            raise
        return base + past, base

    def address(self, module: int, offset: int) -> int:
        """The result of `__tls_get_addr` for a module id and an offset in its block.

        Raises GuestAbort for a module that is not loaded, or when no memory is left for its block.
        """
        thread = self.current
        known = self._linker.tls.modules.get(module)
        if known is not None and known.static:
            return thread.thread_pointer + known.offset + offset
        found = thread.blocks.get(module)
        if found is not None:
            return found[0] + offset
        if not module:  # an undefined weak symbol: its address is the offset, normally 0
            return offset
        image = next((i for i in self._linker.images if i.tls is not None and i.tls.id == module), None)
        if image is None:
            raise GuestAbort(f"__tls_get_addr: TLS module {module} does not belong to a loaded image")
        return self.block(image) + offset

    # ------------------------------------------------------------ what the linker asks

    def descriptor(self, image: Module, undo: Rollback) -> int:
        """The trap for TLS descriptors of a dynamic module; their argument is the offset in its block."""
        assert image.tls is not None
        number = image.tls.id
        if number not in self._functions:
            self._functions[number] = self._traps.add(f"TLS descriptor of {image.name}", self._answer(image))
        address = self._functions[number]
        counted = [0]
        undo.callback(self._give_up_function, number, address, counted)
        # Without a call from here on, of which an exception of a signal handler could come.
        counted[0] = 1
        self._uses[address] += 1
        return address

    def _give_up_function(self, number: int, address: int, counted: list[int]) -> None:
        """Remove the trap once no load uses its address in a descriptor."""
        if self._functions.get(number) == address:
            self._uses[address] -= counted[0]
            counted[0] = 0
            if not self._uses[address]:
                self._drop_function(number)

    def _answer(self, image: Module) -> Callable[[], int]:
        """The handler of that trap. It preserves all registers except the result (see `relink.arch.spec.Tls`)."""
        cpu, memory = self._cpu, self._memory
        arch = memory.architecture
        word, mask, tls = arch.word_size, arch.address_mask, arch.tls
        place = word * tls.descriptor_argument

        def called() -> int:
            descriptor = cpu.read_register(tls.descriptor_register)
            argument = memory.read_uint(descriptor + place & mask, word)
            offset = self.block(image) + argument - self.current.thread_pointer
            cpu.write_register(tls.descriptor_register, offset & mask)
            if tls.descriptor_link is not None:
                return cpu.read_register(tls.descriptor_link)
            sp = cpu.read_register("sp")
            cpu.write_register("sp", sp + word)
            return memory.read_uint(sp, word)

        return called

    def _drop_function(self, number: int) -> None:
        address = self._functions.get(number)
        if address is not None:
            self._traps.remove(address)
            self._uses.pop(address, None)
            self._functions.pop(number, None)

    def in_use(self, module: TlsModule) -> bool:
        """Whether a thread has a block of this dynamic module."""
        return any(module.id in thread.blocks for thread in self.alive)

    def forget(self, module: TlsModule) -> None:
        """Free the blocks and the descriptor trap of a module that is being unloaded."""
        self._drop_function(module.id)
        for thread in self.alive:
            if module.id in thread.blocks:
                self._free(thread, module.id)

    def _free(self, thread: Thread, number: int) -> None:
        try:
            self._heap.free(thread.blocks[number][1])
        except GuestAbort:
            del thread.blocks[number]  # the guest has freed the block itself
        else:
            del thread.blocks[number]  # without a call before: it would be freed again
