/* 256 exported symbols: chains of every length, full Bloom words. symbol_XY holds 0xXY. */
#include "fixture.h"
#define ONE(x, y) int symbol_##x##y = 0x##x##y;
#define ROW(x) ONE(x, 0) ONE(x, 1) ONE(x, 2) ONE(x, 3) ONE(x, 4) ONE(x, 5) ONE(x, 6) ONE(x, 7) \
    ONE(x, 8) ONE(x, 9) ONE(x, a) ONE(x, b) ONE(x, c) ONE(x, d) ONE(x, e) ONE(x, f)
ROW(0) ROW(1) ROW(2) ROW(3) ROW(4) ROW(5) ROW(6) ROW(7)
ROW(8) ROW(9) ROW(a) ROW(b) ROW(c) ROW(d) ROW(e) ROW(f)
