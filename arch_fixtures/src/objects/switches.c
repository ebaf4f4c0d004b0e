/* Jump tables, labels as values, floating-point constants, strings that may be merged. */
#include "fixture.h"
extern int my_host_function(int value);
int dense(int value) {
    switch (value) {
    case 0: return my_host_function(5);
    case 1: return my_host_function(3) + 1;
    case 2: return value * 9;
    case 3: return my_host_function(8) ^ 1;
    case 4: return my_host_function(value) - 9;
    case 5: return 77;
    case 6: return my_host_function(12) / 3;
    case 7: return my_host_function(1) * value;
    default: return -1;
    }
}
int computed(int value) {
    static const void *const labels[] = {&&first, &&second, &&third};
    goto *labels[value % 3];
first: return my_host_function(1);
second: return my_host_function(2) + 20;
third: return my_host_function(3) + 300;
}
double scaled(double value) { return value * 3.14159265358979 + 2.71828182845905; }
float scaled_single(float value) { return value * 1.61803f + 0.57721f; }
const char *named(int value) { return value ? "a string to merge" : "to merge"; }
