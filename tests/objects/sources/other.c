/* What the object fixtures import from another object. */
int other_value = 50;
int other_array[8] = {100, 101, 102, 103, 104, 105, 106, 107};
__attribute__((noinline)) int other_function(int value) { return value + 7; }
__attribute__((noinline)) int far_function(int value) { return value * 3; }
__thread int tls_other = 31;
