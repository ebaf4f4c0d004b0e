#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
static int by_value(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
int main(void) {
    int values[] = {5, 3, 9, 1};
    qsort(values, 4, sizeof *values, by_value);
    char *copy = malloc(32);
    strcpy(copy, "from the heap");
    printf("hello %s %d %d %lld %.3f\n", copy, values[0], values[3], 1234567890123LL, sqrt(2.0));
    free(copy);
    return 7;
}
