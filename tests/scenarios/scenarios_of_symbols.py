"""Scenarios of symbols that are special: filtered, unique, versioned, thread-local, or answered by a function."""

from __future__ import annotations

from tests.scenarios.engine import Lib, Scenario, asks, call, close, load, value

#: In assembly, for no compiler of C has a word for it.
_UNIQUE = """
__asm__(".data\\n.balign 4\\n.globl shared_counter\\n.type shared_counter, %gnu_unique_object\\n"
        ".size shared_counter, 4\\nshared_counter: .long {start}\\n.text");
"""

SCENARIOS_OF_SYMBOLS = (
    # ------------------------------------------------------------ filters
    Scenario(
        "an auxiliary filter yields to its filtee, symbol by symbol",
        (
            value("real", 1),
            Lib("filter", "int value_of(int n) { return 2 + n; } int other(int n) { return 3 + n; }",
                flags="--auxiliary=real.so"),
            Lib("user", "int value_of(int), other(int);"
                        "int a(int n) { return value_of(n); } int b(int n) { return other(n); }", ("filter",)),
        ),
        (load("u", "user"), call("u", "a", 1), call("u", "b", 3), call("u", "value_of", 1)),
    ),
    Scenario(
        "an auxiliary filter does without a filtee",
        (value("filter", 2, flags="--auxiliary=gone.so"), asks("user", needs=("filter",))),
        (load("u", "user"), call("u", "ask_user", 2)),
    ),
    Scenario(
        "a standard filter does not",
        (
            value("real", 1), value("filter", 2, flags="--filter=real.so"),
            value("lost", 3, flags="--filter=gone.so"),
            asks("user", needs=("filter",)), asks("loser", needs=("lost",)),
        ),
        (load("u", "user"), call("u", "ask_user", 1), load("l", "loser", answer="failed")),
    ),
    # ------------------------------------------------------------ unique symbols
    Scenario(
        "a unique symbol is one, however local its libraries are",
        (
            Lib("defa", _UNIQUE.format(start=100)),
            Lib("defb", _UNIQUE.format(start=200)),
            Lib("usea", "extern int shared_counter; int usea(int n) { return shared_counter += n; }", ("defa",)),
            Lib("useb", "extern int shared_counter; int useb(int n) { return shared_counter += n; }", ("defb",)),
        ),
        (
            load("a", "usea"), load("b", "useb"), call("a", "usea", 101, 1), call("b", "useb", 103, 2),
            call("a", "usea", 106, 3),
        ),
    ),
    # ------------------------------------------------------------ versions
    Scenario(
        "the default version is what new libraries link to, old ones keep theirs",
        (
            Lib("old", "int value_of(int n) { return 1 + n; }", versions="V1 { global: value_of; local: *; };",
                flags="-soname=versioned.so"),
            asks("oldclient", needs=("old",)),
            Lib("versioned", """
int value_1(int n) { return 1 + n; } int value_2(int n) { return 2 + n; }
__asm__(".symver value_1, value_of@V1"); __asm__(".symver value_2, value_of@@V2");
""", versions="V1 { global: value_of; local: *; }; V2 { global: value_of; } V1;"),
            asks("newclient", needs=("versioned",)),
        ),
        (
            load("o", "oldclient"), load("n", "newclient"), call("o", "ask_oldclient", 1),
            call("n", "ask_newclient", 2), call("n", "value_of", 2),
        ),
    ),
    Scenario(
        "a version nobody has is an error",
        (
            Lib("build", "int value_of(int n) { return 1 + n; }", versions="V9 { global: value_of; local: *; };",
                flags="-soname=versioned.so"),
            asks("client", needs=("build",)),
            Lib("versioned", "int value_of(int n) { return 2 + n; }",
                versions="V1 { global: value_of; local: *; };"),
        ),
        (load("c", "client", answer="failed"),),
    ),
    Scenario(
        "a library without versions satisfies those that ask for one",
        (
            Lib("build", "int value_of(int n) { return 1 + n; }", versions="V1 { global: value_of; local: *; };",
                flags="-soname=plain.so"),
            asks("client", needs=("build",)),
            value("plain", 7),
        ),
        (load("c", "client"), call("c", "ask_client", 7)),
        native=False,  # glibc 2.36 stops at an assertion of its own (elf/dl-lookup.c, check_match)
    ),
    Scenario(
        "a versioned definition interposes only on its own version",
        (
            Lib("libv", "int value_of(int n) { return 1 + n; }", versions="V1 { global: value_of; local: *; };"),
            asks("client", needs=("libv",)),
            Lib("otherv", "int value_of(int n) { return 2 + n; }", versions="W1 { global: value_of; local: *; };"),
            value("nov", 3),
        ),
        (
            load("w", "otherv", "now global"), load("c", "client"), call("c", "ask_client", 1), close("c"),
            load("n", "nov", "now global"), load("c", "client"), call("c", "ask_client", 3),
        ),
    ),
    # ------------------------------------------------------------ thread-local storage
    Scenario(
        "thread-local variables begin anew with each load",
        (
            Lib("tls", "_Thread_local int counter = 5; _Thread_local int zero[4];"
                       "int count(int n) { zero[1] += n; return (counter += n) * 10 + zero[1]; }"),
            Lib("other", "_Thread_local int counter2 = 9; int count2(int n) { return counter2 += n; }"),
        ),
        (
            load("t", "tls"), call("t", "count", 61, 1), call("t", "count", 83, 2), load("o", "other"),
            call("o", "count2", 10, 1), close("t"), load("t", "tls"), call("t", "count", 61, 1),
            call("o", "count2", 11, 1), close("o"), load("o", "other"), call("o", "count2", 10, 1),
        ),
    ),
    Scenario(
        "thread-local variables are shared between libraries by name",
        (
            Lib("owner", "_Thread_local int common = 3; int owner(int n) { return common += n; }"),
            Lib("user", "extern _Thread_local int common; int user(int n) { return common += n; }", ("owner",)),
        ),
        (load("u", "user"), call("u", "user", 4, 1), call("u", "owner", 6, 2), call("u", "user", 9, 3)),
    ),
    # ------------------------------------------------------------ indirect functions
    Scenario(
        "an indirect function is what its resolver says, by call and by pointer",
        (
            Lib("chooser", "static int one(int n) { return n + 1; } static int two(int n) { return n + 2; }"
                           "static volatile int which = 1;"
                           "static void *pick(void) { return which ? (void *)two : (void *)one; }"
                           'int chosen(int) __attribute__((ifunc("pick")));'
                           "int own(int n) { return chosen(n); } int (*table[])(int) = {chosen};"
                           "int by_table(int n) { return table[0](n); }"),
            Lib("user", "int chosen(int); int ask(int n) { return chosen(n); } int (*pointer)(int) = chosen;"
                        "int by_pointer(int n) { return pointer(n); }", ("chooser",)),
        ),
        (
            load("u", "user"), call("u", "ask", 2), call("u", "by_pointer", 2), call("u", "own", 2),
            call("u", "by_table", 2), call("u", "chosen", 2), close("u"), load("u", "user", "lazy"),
            call("u", "ask", 12, 10), call("u", "own", 12, 10),
        ),
    ),
)  # fmt: skip
