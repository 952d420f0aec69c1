/* The sparse form of groups: its decoder, of many groups. First it finds the taken positions of all, 16 groups side by
 * side; then it decodes the values, in sixteens of groups that have about the same number of them. */
#include "coder/sparse/sparse.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK 512      /* groups whose positions are known at a time */
#define STEP_SYMBOLS 6 /* symbols of one group by itself that take as long as a step of 16 lanes */

typedef struct {
    ls_sparse_reader reader;
    uint32_t taken;
    const uint8_t *bits; /* of positions, from the lowest on */
} entry;

typedef struct {
    const ls_coder *coder;
    int height, width;
    ptrdiff_t row;
    size_t area, places, eighths; /* eighths: of the area, rounded up to 8 */
    entry entries[CHUNK];
    uint8_t *is_taken, *found, *bits;
    uint8_t *bytes;     /* the words of all groups of the chunk */
    uint32_t *position; /* of places, as in ls_sparse */
} chunk;

static void free_chunk(chunk *c)
{
    free(c->is_taken);
    free(c->found);
    free(c->bits);
    free(c->position);
}

static int make_chunk(chunk *c, const ls_coder *coder, int height, int width)
{
    memset(c, 0, sizeof *c);
    c->coder = coder;
    c->height = height;
    c->width = width;
    c->row = width + 3;
    c->area = (size_t)height * (size_t)width;
    c->places = (size_t)c->row * ((size_t)height + 3) + 3;
    c->eighths = (c->area + 63) / 64 * 8;
    c->is_taken = calloc(c->places, LS_MAX_LANES);
    c->found = calloc(2 * c->eighths, 8);
    c->bits = malloc(CHUNK * c->eighths);
    c->position = calloc(c->places, sizeof *c->position);
    if (!c->is_taken || !c->found || !c->bits || !c->position)
        return LS_NO_MEMORY;
    for (uint32_t y = 0; y < (uint32_t)height; y++)
        for (uint32_t x = 0; x < (uint32_t)width; x++)
            c->position[(y + 2) * (size_t)c->row + x] = y * (uint32_t)width + x;
    return LS_OK;
}

static uint64_t load_64(const uint8_t *p)
{
    uint64_t x = 0;
    for (int i = 0; i < 8; i++)
        x |= (uint64_t)p[i] << 8 * i;
    return x;
}

/* Bit i of byte k becomes bit k of byte i. */
static uint64_t turn_bits(uint64_t x)
{
    uint64_t t = (x ^ x >> 7) & 0x00aa00aa00aa00aaULL;
    x ^= t ^ t << 7;
    t = (x ^ x >> 14) & 0x0000cccc0000ccccULL;
    x ^= t ^ t << 14;
    t = (x ^ x >> 28) & 0x00000000f0f0f0f0ULL;
    return x ^ t ^ t << 28;
}

/* From what a step found to what each of the eight lanes has. */
static void sort_by_lanes(const chunk *c, const uint8_t *found, uint8_t *bits, int lanes)
{
    for (size_t i = 0; i < c->eighths; i++, found += 8) {
        const uint64_t x = turn_bits(load_64(found));
        for (int lane = 0; lane < lanes; lane++)
            bits[(size_t)lane * c->eighths + i] = (uint8_t)(x >> 8 * lane);
    }
}

static void open_lane(const chunk *c, ls_sparse_lanes *lanes, int lane, const ls_sparse_reader *reader)
{
    lanes->bytes = c->bytes;
    lanes->state[lane] = reader->state;
    lanes->word[lane] = (uint32_t)(reader->words - c->bytes);
    lanes->word_end[lane] = (uint32_t)(reader->words_end - c->bytes);
}

static void close_lane(const chunk *c, const ls_sparse_lanes *lanes, int lane, ls_sparse_reader *reader)
{
    reader->state = lanes->state[lane];
    reader->words = c->bytes + lanes->word[lane];
}

/* The taken positions of up to 16 groups. */
static void find(chunk *c, entry *entries, int count)
{
    ls_taken t = {.height = c->height, .width = c->width, .row = c->row, .is_taken = c->is_taken};
    t.found[0] = c->found;
    t.found[1] = c->found + 8 * c->eighths;
    for (int i = 0; i < count; i++) {
        open_lane(c, &t.lanes, i, &entries[i].reader);
        t.empty[i] = (uint32_t)entries[i].reader.job->group.model * LS_NEAR;
    }
    ls_current_path()->find_taken(c->coder, &t);
    uint8_t *bits = c->bits + (size_t)(entries - c->entries) * c->eighths;
    sort_by_lanes(c, t.found[0], bits, count < 8 ? count : 8);
    if (count > 8)
        sort_by_lanes(c, t.found[1], bits + 8 * c->eighths, count - 8);
    for (int i = 0; i < count; i++, bits += c->eighths) {
        close_lane(c, &t.lanes, i, &entries[i].reader);
        entries[i].bits = bits;
        entries[i].taken = 0;
        for (size_t b = 0; b < c->eighths; b += 8)
            entries[i].taken += (uint32_t)__builtin_popcountll(load_64(bits + b));
    }
}

static int by_taken(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->taken != y->taken)
        return x->taken < y->taken ? 1 : -1;
    return x->reader.job->index - y->reader.job->index;
}

/* Puts the places of a group's taken positions, and `add`, into every `stride`-th number. */
static void list_places(const chunk *c, const entry *e, uint32_t add, uint32_t *place, size_t stride)
{
    uint32_t row_end = (uint32_t)c->width, further = add + (uint32_t)(2 * c->row);
    for (size_t b = 0; b < c->eighths; b += 8)
        for (uint64_t left = load_64(e->bits + b); left; left &= left - 1) {
            const uint32_t at = (uint32_t)(8 * b) + (uint32_t)__builtin_ctzll(left);
            for (; at >= row_end; row_end += (uint32_t)c->width)
                further += (uint32_t)(c->row - c->width);
            *place = at + further;
            place += stride;
        }
}

typedef struct {
    ls_step *steps;
    uint16_t *pairs;
    uint8_t *planes;
} room;

static void free_room(room *r)
{
    free(r->steps);
    free(r->pairs);
    free(r->planes);
}

/* Room for the values of 16 groups with at most so many taken positions. */
static int make_room(room *r, ls_values *v, const chunk *c, size_t steps)
{
    const size_t channels = (size_t)c->coder->channels, before = (size_t)c->row + 1;
    memset(v, 0, sizeof *v);
    v->row = c->row;
    v->area = c->area;
    v->places = c->places;
    v->position = c->position;
    v->steps = r->steps = malloc((steps + 1) * sizeof *r->steps);
    r->pairs = malloc((steps + 1) * channels * LS_MAX_LANES * sizeof *r->pairs);
    r->planes = calloc(before + c->places * LS_MAX_LANES + 4, 1); /* four bytes are read at a place */
    if (!r->steps || !r->pairs || !r->planes)
        return LS_NO_MEMORY;
    v->magnitude = r->planes + before;
    for (size_t k = 0; k < channels; k++)
        v->pairs[k] = r->pairs + k * steps * LS_MAX_LANES;
    return LS_OK;
}

/* Up to 16 groups, with fewer and fewer taken positions. */
static void fill_lanes(const chunk *c, ls_values *v, entry *entries, int count)
{
    memset(&v->lanes, 0, sizeof v->lanes);
    memset(v->taken, 0, sizeof v->taken);
    for (size_t i = 0; i < entries->taken; i++)
        memset(v->steps[i].seen, 0, LS_MAX_LANES);
    memset(v->magnitude, 0, c->places * LS_MAX_LANES);
    for (int i = 0; i < LS_MAX_LANES; i++) {
        const entry *e = entries + (i < count ? i : 0);
        const uint32_t first = (uint32_t)(c->places * (size_t)i);
        v->model[i] = (uint32_t)e->reader.job->group.model;
        if (i < count) {
            open_lane(c, &v->lanes, i, &e->reader);
            v->escapes[i] = e->reader.escapes;
            v->escapes_end[i] = e->reader.escapes_end;
            v->taken[i] = e->taken;
            v->out[i] = e->reader.out;
            list_places(c, e, first, v->steps->place + i, sizeof(ls_step) / sizeof(uint32_t));
        }
        for (size_t step = v->taken[i]; step < entries->taken; step++)
            v->steps[step].place[i] = first;
    }
}

static int decode_lanes(const chunk *c, ls_values *v, entry *entries, int count, int *failed)
{
    fill_lanes(c, v, entries, count);
    unsigned bad = ls_current_path()->decode_values(c->coder, v);
    for (int i = 0; i < count; i++) {
        ls_sparse_reader *r = &entries[i].reader;
        close_lane(c, &v->lanes, i, r);
        if (r->state || r->words != r->words_end || v->escapes[i] != r->escapes_end)
            bad |= 1u << i;
    }
    if (bad)
        *failed = entries[__builtin_ctz(bad)].reader.job->index;
    return bad ? LS_CORRUPT : LS_OK;
}

static int decode_alone(const chunk *c, ls_sparse *s, entry *e, int *failed)
{
    int status = s->places ? LS_OK : ls_sparse_make(s, c->height, c->width, c->coder->channels);
    if (!status) {
        list_places(c, e, 0, s->place, 1);
        s->taken = e->taken;
        for (size_t i = 0; i < s->taken; i++)
            s->position[i] = c->position[s->place[i]];
        status = ls_sparse_values(s, &e->reader, c->coder);
    }
    *failed = e->reader.job->index;
    return status;
}

/* The values of all groups of the chunk. */
static int decode_values(chunk *c, int count, int *failed)
{
    room r = {0};
    ls_values v;
    ls_sparse alone = {0};
    qsort(c->entries, (size_t)count, sizeof *c->entries, by_taken);
    int status = LS_OK;
    for (int at = 0, n; !status && at < count; at += n) {
        entry *e = c->entries + at;
        size_t symbols = 0;
        for (n = 0; n < LS_MAX_LANES && at + n < count; n++) {
            memset(e[n].reader.out, 0, c->area * (size_t)c->coder->channels);
            symbols += e[n].taken;
        }
        if (ls_current_path()->decode_values && symbols >= (size_t)STEP_SYMBOLS * e->taken) {
            if (!r.steps)
                status = make_room(&r, &v, c, e->taken);
            if (!status)
                status = decode_lanes(c, &v, e, n, failed);
        } else {
            for (int i = 0; !status && i < n; i++)
                status = decode_alone(c, &alone, e + i, failed);
        }
    }
    ls_sparse_free(&alone);
    free_room(&r);
    return status;
}

/* The words of all groups, one group's behind the other's, where the lanes find them. */
static int copy_words(chunk *c, int count)
{
    size_t size = 4;
    for (int i = 0; i < count; i++)
        size += (size_t)(c->entries[i].reader.words_end - c->entries[i].reader.words);
    uint8_t *to = c->bytes = calloc(size, 1);
    for (int i = 0; to && i < count; i++) {
        ls_sparse_reader *r = &c->entries[i].reader;
        const size_t words = (size_t)(r->words_end - r->words);
        memcpy(to, r->words, words);
        r->words = to;
        r->words_end = to += words;
    }
    return to ? LS_OK : LS_NO_MEMORY;
}

int ls_decode_together(const ls_coder *coder, const ls_job *jobs, int count, int height, int width, int8_t *out,
                       int *failed)
{
    chunk *c = malloc(sizeof *c);
    int status = c ? make_chunk(c, coder, height, width) : LS_NO_MEMORY;
    for (int at = 0, n; !status && at < count; at += n) {
        for (n = 0; n < CHUNK && at + n < count; n++)
            ls_sparse_open(&c->entries[n].reader, jobs + at + n, out);
        status = copy_words(c, n);
        for (int i = 0; !status && i < n; i += LS_MAX_LANES)
            find(c, c->entries + i, n - i < LS_MAX_LANES ? n - i : LS_MAX_LANES);
        if (!status)
            status = decode_values(c, n, failed);
        free(c->bytes);
    }
    if (c)
        free_chunk(c);
    free(c);
    return status;
}
