"""How the fixtures are built, and how real libraries are fetched. Not part of the distribution.

    targets.py      what is built for: one row per target
    recipes.py      what is built: one row per fixture
    engine.py       what builds it: a compiler and linker as command templates (`ziglang`'s clang and lld)
    build.py        plan, build what changed, check, write the manifest
    dynamic.py      what dynamic relocations a built file really holds, by an independent reader
    debian.py       real libraries from Debian, for the architectures it serves
    source.py       real libraries compiled from Debian's sources, for the one it does not
    cli.py          `python -m toolchains build | check | list | fetch`
"""
