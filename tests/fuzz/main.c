/*
 * main - a target under libFuzzer, named by FUZZ_TARGET: an argument would not
 * survive libFuzzer starting itself again.
 */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct fuzz_target *target;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *name = getenv("FUZZ_TARGET");

    (void)argc;
    (void)argv;
    for (target = fuzz_targets; target->name; target++)
        if (name && strcmp(name, target->name) == 0)
            return 0;
    (void)fputs("FUZZ_TARGET must be one of", stderr);
    for (target = fuzz_targets; target->name; target++)
        (void)fprintf(stderr, " %s", target->name);
    (void)fputs("\n", stderr);
    exit(2);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    target->run(data, size);
    return 0;
}
