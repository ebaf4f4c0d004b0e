/* Neither exports nor imports, nor any relocation. */
static volatile int quiet __attribute__((used)) = 1;
