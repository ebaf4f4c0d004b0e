"""Building the fixtures and fetching real libraries. Not part of the distribution.

targets.py      what is built for: one row per target; with a compiler, a variant
recipe.py       the language fixtures are described in
recipes.py      what is built: one row per fixture, linked ones here; relocation_recipes.py: those for one
                kind of dynamic relocation
objects.py      relocatable objects and archives; static_types.py: the types each must hold
engine.py       what builds it: compilers and linkers as command templates
image.py        the same compilers in a container: Docker, or buildah without a daemon
build.py        plan, build what changed, check
manifest.py     what is known of every built file: one small file for each variant
relocations.py  what relocations a built file really holds, by an independent reader
psabi.py        the names of relocation types, for that reader
matrix.py       which type which fixture holds, and which none does
debian.py       real libraries from Debian, for the architectures it serves
source.py       real libraries compiled from Debian's sources, for the one it does not
cli.py          `python -m toolchains build | check | list | matrix | image | fetch`
"""
