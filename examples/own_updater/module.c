/* A module of the device: VERSION is given by the build. */

static int calls;

int version(void) { return VERSION; }

int scaled(int value)
{
    calls++;
    return value * VERSION + calls - 1;
}
