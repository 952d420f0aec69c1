/* Runs the same seeded work on every vector path of this machine, compares each byte that comes out with the portable
 * path's, and prints a line for each path: its name, a hash of all bytes, how many they were. Two machines agree where
 * their hashes do. */
#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coder/coder.h"
#include "cpu/cpu.h"

static uint64_t number;
static char now[200];
static const char *path;
static uint8_t *record;
static size_t recorded, room, at;

int32_t between(int32_t low, int32_t high)
{
    /* splitmix64 */
    uint64_t z = number += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (int32_t)(low + (int64_t)(z % (uint64_t)((int64_t)high - low + 1)));
}

static void stop(const char *what, const char *how)
{
    fprintf(stderr, "path %s, %s: %s %s\n", path, now, what, how);
    exit(1);
}

void *take(size_t bytes)
{
    void *memory = calloc(1, bytes ? bytes : 1);
    if (!memory)
        stop("memory", "is not enough");
    return memory;
}

float *floats(size_t count)
{
    float *f = take(count * sizeof *f);
    for (size_t i = 0; i < count; i++)
        f[i] = (float)between(-1000, 1000) / 700;
    return f;
}

void doing(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    vsnprintf(now, sizeof now, format, values);
    va_end(values);
}

void expect(const char *what, int good)
{
    if (!good)
        stop(what, "does not hold");
}

static void same_bytes(const char *what, const void *bytes, size_t size)
{
    if (!strcmp(path, path_name(PATH_PORTABLE))) {
        if (recorded + size > room) {
            room = 2 * (recorded + size);
            if (!(record = realloc(record, room)))
                stop("memory", "is not enough");
        }
        memcpy(record + recorded, bytes, size);
        recorded += size;
    } else if (at + size > recorded || memcmp(record + at, bytes, size)) {
        stop(what, "differs from the portable path's");
    }
    at += size;
}

void same(const char *what, const void *bytes, size_t size)
{
    const uint64_t prefix = size;
    same_bytes(what, &prefix, sizeof prefix);
    if (size)
        same_bytes(what, bytes, size);
}

/* FNV-1a over the record, which every path that got to its end has given */
static uint64_t hash_of_record(void)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < recorded; i++)
        hash = (hash ^ record[i]) * 0x100000001b3u;
    return hash;
}

int main(void)
{
    for (int i = 0; i < PATH_COUNT; i++) {
        if (!path_available(i))
            continue;
        force_path(i);
        path = path_name(i);
        doing("the start");
        expect("the coder's choice of this path", !strcmp(ls_current_path()->name, path));
        number = 1;
        at = 0;
        check_coder();
        check_front();
        check_lapped();
        check_tokens();
        doing("the end");
        expect("as many bytes as from the portable path", at == recorded);
        printf("%s %016llx %zu\n", path, (unsigned long long)hash_of_record(), recorded);
    }
    free(record);
    return 0;
}
