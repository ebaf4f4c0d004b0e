"""Building small libraries for the emulated targets, with a compiler that is there.

`targets` has a row for each target, `compilers` the commands, `recipe` and `build` what is built and how, `store`
the cache of results.
"""
