/* What the targets share: reading an input piece by piece, and chance that is the input. */
#ifndef LATENTSTORE_FUZZ_INPUT_H
#define LATENTSTORE_FUZZ_INPUT_H

#include "seeded/fuzz.h"

#include "cpu/cpu.h"

/* What libFuzzer, or replay.c, calls. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is left of an input; beyond its end there are zeros. */
typedef struct {
    const uint8_t *at, *end;
} input;

uint8_t next_byte(input *in);
uint32_t next_word(input *in); /* 4 bytes, the lowest first */

/* From now on `chance` takes two bytes of `in` each time, and goes on by itself beyond its end. */
void chance_of(input *in);

/* Runs the vector path that `choice` names; the best one where this machine has not that. */
void choose_path(unsigned choice);

#endif
