/* Prototypes of many shapes, to be read back from DWARF. The bodies matter little. */
#include "fixture.h"

typedef unsigned int id_type;
typedef int (*visitor)(void *context, const char *name);
enum colour { RED, GREEN = 5, BLUE };
struct point { int x; double y; };
union bits { float number; unsigned word; };

char a_char(signed char narrow, unsigned char wide) { return (char)(narrow + wide); }
short a_short(short left, unsigned short right) { return (short)(left - right); }
long a_long(long left, unsigned long right) { return left ^ (long)right; }
long long a_long_long(long long left, unsigned long long right) { return left + (long long)right; }
float a_float(float value) { return value * 0.5f; }
double a_double(double left, float right) { return left + right; }
_Bool a_bool(int value) { return value != 0; }
enum colour a_colour(enum colour before) { return before == RED ? GREEN : BLUE; }
id_type a_typedef(id_type id) { return id + 1; }
const char *a_string(const char *text, size_t offset) { return text + offset; }
void *a_pointer(void *pointer) { return pointer; }
void nothing(void) {}
int visit(visitor function, void *context, const char *const *names, int count) {
    int total = 0;
    for (int index = 0; index < count; index++) total += function(context, names[index]);
    return total;
}
int point_sum(const struct point *point) { return point->x + (int)point->y; }
struct point point_by_value(struct point point) { point.x++; return point; }
unsigned union_word(union bits *value) { return value->word; }
int variadic(int count, ...) { return count; }
int old_style();
int old_style() { return 3; }
double *grid(double matrix[3][4], int row) { return matrix[row]; }
volatile int tally;
