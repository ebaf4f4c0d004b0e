"""The scenarios: each a behaviour of dynamic linkers that programs rely on.

They are about what glibc's own tests in elf/ and dlfcn/ are about, told anew.
"""

from __future__ import annotations

from tests.scenarios.engine import Lib, Scenario, asks, call, close, load, trace, value
from tests.scenarios.scenarios_of_symbols import SCENARIOS_OF_SYMBOLS

SCENARIOS = (
    # ------------------------------------------------------------ order
    Scenario(
        "constructors run in order of need, destructors in reverse",
        (
            Lib("bottom", "LIFE(1) int bottom(int n) { return n; }"),
            Lib("left", "LIFE(2) int bottom(int); int left(int n) { return bottom(n); }", ("bottom",)),
            Lib("right", "LIFE(3) int bottom(int); int right(int n) { return bottom(n); }", ("bottom",)),
            Lib("top", "LIFE(4) int left(int), right(int); int top(int n) { return left(n) + right(n); }",
                ("left", "right")),
        ),
        (load("top"), call("top", "top", 42, 21), trace(1, 3, 2, 4), close("top"), trace(-4, -2, -3, -1)),
    ),
    Scenario(
        "where needs go in a circle, what is asked for is initialised last",
        (
            Lib("second_stub", "int second(int n) { return n; }", flags="-soname=second.so"),
            Lib("first", "LIFE(1) int second(int); int first(int n) { return n ? second(n - 1) + 1 : 0; }",
                ("second_stub",)),
            Lib("second", "LIFE(2) int first(int); int second(int n) { return n ? first(n - 1) + 10 : 0; }",
                ("first",)),
        ),
        (
            load("f", "first"), trace(2, 1), call("f", "first", 22, 4), close("f"), trace(-1, -2),
            load("s", "second"), trace(1, 2), load("f", "first"), close("s"), trace(),
            call("f", "first", 11, 2), close("f"),
        ),
    ),
    Scenario(
        "a chain of needs is unloaded link by link",
        (
            Lib("one", "LIFE(1) int one(int n) { return n + 1; }"),
            Lib("two", "LIFE(2) int one(int); int two(int n) { return one(n) + 10; }", ("one",)),
            Lib("three", "LIFE(3) int two(int), one(int); int three(int n) { return two(n) + one(n); }",
                ("two", "one")),
        ),
        (
            load("a", "three"), load("b", "two"), trace(1, 2, 3), close("a"), trace(-3),
            call("b", "two", 16, 5), close("b"), trace(-2, -1),
        ),
    ),
    Scenario(
        "who asks to be first is initialised first",
        (
            Lib("plain", "LIFE(1) int plain(int n) { return n; }"),
            Lib("first", "LIFE(2) int first(int n) { return n; }", flags="-z initfirst"),
            Lib("user", "LIFE(3) int plain(int), first(int); int user(int n) { return plain(n) + first(n); }",
                ("plain", "first")),
        ),
        (load("user"), trace(2, 1, 3)),
    ),
    Scenario(
        "of several who ask to be first the last one mapped is",
        (
            Lib("plain", "LIFE(1) int plain(int n) { return n; }"),
            Lib("first", "LIFE(2) int first(int n) { return n; }", flags="-z initfirst"),
            Lib("other", "LIFE(3) int other(int n) { return n; }", flags="-z initfirst"),
            Lib("user", "LIFE(4) int plain(int), first(int), other(int);"
                        "int user(int n) { return plain(n) + first(n) + other(n); }", ("first", "other", "plain")),
        ),
        (load("user"), trace(3, 1, 2, 4)),
    ),
    Scenario(
        "what is needed goes last, though bound to what needs it",
        (
            Lib("below", "LIFE(1) __attribute__((weak)) int value_of(int n) { return n; }"
                         "int ask(int n) { return value_of(n); }"),
            value("above", 10, "LIFE(2)", needs=("below",)),
        ),
        (load("above"), call("above", "ask", 13, 3), trace(1, 2), close("above"), trace(-2, -1)),
    ),
    # ------------------------------------------------------------ handles and lifetimes
    Scenario(
        "a library is loaded once and counted",
        (Lib("counted", "LIFE(7) static int calls; int calling(int n) { return calls += n; }"),),
        (
            load("a", "counted"), load("b", "counted"), trace(7), call("a", "calling", 1, 1),
            call("b", "calling", 3, 2), close("a"), trace(), call("b", "calling", 6, 3), close("b"), trace(-7),
            load("c", "counted"), trace(7), call("c", "calling", 1, 1),
        ),
    ),
    Scenario(
        "a dependency stays while another needs it",
        (
            value("base", 10, "LIFE(1)"),
            Lib("a", "LIFE(2) int value_of(int); int a(int n) { return value_of(n); }", ("base",)),
            Lib("b", "LIFE(3) int value_of(int); int b(int n) { return value_of(n) * 2; }", ("base",)),
        ),
        (
            load("a"), load("b"), trace(1, 2, 3), close("a"), trace(-2), call("b", "b", 22, 1), close("b"),
            trace(-3, -1),
        ),
    ),
    Scenario(
        "a binding keeps its provider, as a need would",
        (value("provider", 100, "LIFE(1)"), asks("user")),
        (
            load("p", "provider", "now global"), load("u", "user", "now"), close("p"), trace(1),
            call("u", "ask_user", 105, 5), close("u"), trace(-1),
        ),
    ),
    Scenario(
        "a late binding keeps its provider too",
        (value("provider", 100, "LIFE(1)"), asks("user")),
        (
            load("p", "provider", "now global"), load("u", "user", "lazy"), call("u", "ask_user", 105, 5),
            close("p"), trace(1), call("u", "ask_user", 106, 6), close("u"), trace(-1),
        ),
    ),
    Scenario(
        "without a binding nothing is kept",
        (value("provider", 100, "LIFE(1)"), asks("user")),
        (load("p", "provider", "now global"), load("u", "user", "lazy"), close("p"), trace(1, -1)),
    ),
    Scenario(
        "bindings chain",
        (
            value("provider", 1, "LIFE(1)"),
            Lib("middle", "LIFE(2) int value_of(int); int middle(int n) { return value_of(n) + 10; }"),
            Lib("last", "LIFE(3) int middle(int); int last(int n) { return middle(n) + 100; }"),
        ),
        (
            load("p", "provider", "now global"), load("m", "middle", "now global"),
            load("l", "last", "now global"),
            trace(1, 2, 3), close("p"), close("m"), trace(), call("l", "last", 111), close("l"), trace(-3, -2, -1),
        ),
    ),
    Scenario(
        "NODELETE keeps a library, by flag and by its own wish",
        (
            Lib("wished", "LIFE(1) static int n; int wished(int d) { return n += d; }", flags="-z nodelete"),
            Lib("told", "LIFE(2) static int n; int told(int d) { return n += d; }"),
        ),
        (
            load("w", "wished"), load("t", "told", "now nodelete"), trace(1, 2), call("w", "wished", 5, 5),
            call("t", "told", 6, 6), close("w"), close("t"), trace(), load("w", "wished"), load("t", "told"),
            trace(), call("w", "wished", 6, 1), call("t", "told", 7, 1),
        ),
    ),
    Scenario(
        "NOLOAD finds only what is there, and promotes it",
        (value("base", 50), asks("user")),
        (
            load("x", "base", "now noload", answer="failed"), load("b", "base"),
            call("", "value_of", "missing"), load("u", "user", answer="failed"),
            load("b2", "base", "now noload global"), call("", "value_of", 51, 1), load("u", "user"),
            call("u", "ask_user", 52, 2),
        ),
    ),
    Scenario(
        "a load that fails leaves nothing behind",
        (
            Lib("dep", "LIFE(1) int dependable(int n) { return n; }"),
            Lib("broken", "LIFE(2) int dependable(int), nobody_has_this(int);"
                          "int broken(int n) { return dependable(n) + nobody_has_this(n); }", ("dep",)),
            Lib("user", "int dependable(int); int user(int n) { return dependable(n); }"),
        ),
        (
            load("b", "broken", "now global", answer="failed"), trace(), call("", "dependable", "missing"),
            load("u", "user", answer="failed"), load("d", "dep", "now global"), trace(1), load("u", "user"),
            call("u", "user", 9, 9),
        ),
    ),
    # ------------------------------------------------------------ scopes
    Scenario(
        "what is local is seen by its own load alone",
        (value("a", 1), value("b", 2), asks("usera", needs=("a",)), asks("userb", needs=("b",))),
        (
            load("ua", "usera"), load("ub", "userb"), call("ua", "ask_usera", 1), call("ub", "ask_userb", 2),
            call("", "value_of", "missing"), call("ua", "value_of", 1), call("ub", "value_of", 2),
        ),
    ),
    Scenario(
        "the global scope comes first",
        (value("early", 1), value("own", 2), asks("user", needs=("own",))),
        (
            load("e", "early", "now global"), load("u", "user"), call("u", "ask_user", 1),
            call("u", "value_of", 2), call("", "value_of", 1),
        ),
    ),
    Scenario(
        "a local library before it does not",
        (value("early", 1), value("own", 2), asks("user", needs=("own",))),
        (load("e", "early"), load("u", "user"), call("u", "ask_user", 2)),
    ),
    Scenario(
        "DEEPBIND puts the own scope first",
        (value("early", 1), value("own", 2), asks("user", needs=("own",))),
        (load("e", "early", "now global"), load("u", "user", "now deepbind"), call("u", "ask_user", 2)),
    ),
    Scenario(
        "DEEPBIND goes for late bindings too",
        (value("early", 1), value("own", 2), asks("user", needs=("own",))),
        (load("e", "early", "now global"), load("u", "user", "lazy deepbind"), call("u", "ask_user", 2)),
    ),
    Scenario(
        "a definition of the own library is interposed on",
        (
            value("early", 1),
            Lib("user", "int value_of(int n) { return 2 + n; } int ask(int n) { return value_of(n); }"),
        ),
        (load("e", "early", "now global"), load("u", "user"), call("u", "ask", 1), call("u", "value_of", 2)),
    ),
    Scenario(
        "a symbolic library is not",
        (
            value("early", 1),
            Lib("user", "int value_of(int n) { return 2 + n; } int ask(int n) { return value_of(n); }"
                        "int (*pointer)(int) = value_of; int by_pointer(int n) { return pointer(n); }",
                flags="-Bsymbolic"),
        ),
        (
            load("e", "early", "now global"), load("u", "user"), call("u", "ask", 2),
            call("u", "by_pointer", 2),
        ),
    ),
    Scenario(
        "nor is a protected definition",
        (
            value("early", 1),
            Lib("user", '__attribute__((visibility("protected"))) int value_of(int n) { return 2 + n; }'
                        "int ask(int n) { return value_of(n); } int (*pointer)(int) = value_of;"
                        "int by_pointer(int n) { return pointer(n); }"),
        ),
        (
            load("e", "early", "now global"), load("u", "user", "now global"), call("u", "ask", 2),
            call("u", "by_pointer", 2), call("u", "value_of", 2), call("", "value_of", 1),
        ),
    ),
    Scenario(
        "the first definition wins, though it is weak",
        (
            Lib("weak", "__attribute__((weak)) int value_of(int n) { return 1 + n; }"),
            value("strong", 2), asks("user", needs=("weak", "strong")),
        ),
        (load("u", "user"), call("u", "ask_user", 1)),
    ),
    Scenario(
        "an undefined weak function is null until somebody has it",
        (
            Lib("user", "__attribute__((weak)) int value_of(int);"
                        "int ask(int n) { return value_of ? value_of(n) : -1; }"),
            value("late", 3),
        ),
        (
            load("u", "user"), call("u", "ask", -1), close("u"), load("l", "late", "now global"),
            load("u", "user"), call("u", "ask", 3),
        ),
    ),
    Scenario(
        "search is breadth-first",
        (
            value("deep", 1), Lib("left", "int left(int n) { return n; }", ("deep",), "--no-as-needed"),
            value("right", 2), asks("user", needs=("left", "right"), flags="--no-as-needed"),
        ),
        (load("u", "user"), call("u", "ask_user", 2), call("u", "value_of", 2)),
    ),
    Scenario(
        "a later load that is global is seen by late bindings",
        (asks("user"), value("late", 4)),
        (load("u", "user", "lazy"), load("l", "late", "now global"), call("u", "ask_user", 4)),
    ),
    Scenario(
        "a library that is needed again is searched by both loads",
        (
            value("a", 1), value("b", 2),
            Lib("plugin", "int hook(int); int plugin(int n) { return hook(n); }"),
            Lib("host", "int hook(int n) { return n + 5; } int plugin(int); int host(int n) { return plugin(n); }",
                ("plugin",)),
        ),
        (load("p", "plugin", "lazy"), load("h", "host"), call("h", "host", 6, 1)),
    ),
    *SCENARIOS_OF_SYMBOLS,
)  # fmt: skip
