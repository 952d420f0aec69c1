/* Values as tokens and extra bits (docs/format.md section 11.3): a token says which of the intervals that a model cuts the
 * range of values into a value is in, and is coded by rANS; its place in the interval is stored as it is.
 *
 * All paths give the same bytes and the same values.
 */
#ifndef LATENTSTORE_TOKENS_H
#define LATENTSTORE_TOKENS_H

#include <stddef.h>
#include <stdint.h>

#define TOK_PRECISION 12 /* log2 of the sum of a table's frequencies */
#define TOK_MAX_TOKENS 256
#define TOK_MAX_TABLES 64
#define TOK_MAX_LANES 32
#define TOK_STATE_LOW 65536u
#define TOK_LOOKUP 4096
#define TOK_SEVERAL 8
/* what a decoder may read beyond a payload */
#define TOK_PAD 256

enum { TOK_OK = 0, TOK_NO_MEMORY = -1, TOK_TRUNCATED = -2, TOK_CORRUPT = -3, TOK_OUTSIDE = -5 };

/* What the coder of a symbol needs: floor(x / freq) is (x * reciprocal) >> 32, or one more. */
typedef struct {
    uint32_t reciprocal;
    uint16_t freq, start;
} tok_symbol;

/* extra: bits of a place in the interval. 8 bytes, so that one load takes both. */
typedef struct {
    uint32_t base, extra;
} tok_interval;

typedef struct {
    int bytes;  /* of a value: 1, 2 or 4 */
    int shift;  /* low bits that are 0 in every value, and are not coded */
    int tokens, tables;
    uint32_t last; /* the largest value, after the shift, that has an interval */
    int channels;  /* along the axis that tables belong to; 0 if all values have table 0 */
    int ranked;    /* values are ranks among the codes of their channel's codebook */
    int lookup_shift;
    int four;   /* the extra bits of four values, and seven more, fit into 64 */
    int exact;  /* `lookup` gives the token itself, and nothing is shifted or ranked */
    int quick;  /* exact, of values of 16 bits, and `four`; or of 32 bits, and nothing is shifted or ranked */
    tok_interval interval[TOK_MAX_TOKENS];
    uint32_t ends[TOK_MAX_TOKENS];  /* the last value of each interval */
    uint8_t lookup[TOK_LOOKUP];     /* the first token that values with these highest bits may have */
    /* where `quick`, of 16 bits: token << 24 | extra << 16 | base; of 32 bits: token << 24 | several << TOK_SEVERAL |
     * extra, where several intervals may begin with these highest bits */
    uint32_t whole[TOK_LOOKUP];
    /* for eight lanes, by which of them put no word: the bytes of the others' words, lane after lane, at the end */
    uint8_t order[256][16];
    tok_symbol *symbol;             /* tables * tokens */
    uint32_t *slots;                /* tables << TOK_PRECISION: token << 24 | freq << 12 | slot - start */
    uint8_t *table;                 /* of each channel */
    uint32_t *sizes;                /* of each codebook; book 0 is of arrays without the channels, 1 + c of channel c */
    uint16_t *code, *rank;          /* books * (last + 1): the code of each rank, and the rank of each code */
} tok_model;

/* channels, table: which table each channel has. freq: tables * tokens, each at least 1.
 * sizes, codes: NULL, or the sizes of the 1 + channels codebooks and their codes by rank, `last + 1` places a book.
 * NULL where memory is short, or a number is outside its range, which *status says. */
tok_model *tok_model_new(int bytes, int shift, uint32_t last, int tokens, const int64_t *base, const uint8_t *extra,
                         int tables, const int32_t *freq, int channels, const uint8_t *table, const int32_t *sizes,
                         const int32_t *codes, int *status);
void tok_model_free(tok_model *model);

/* An array: `values` values in channels of `inner` values that follow each other, over and over; inner is 0 where the
 * array has not the model's channels. */
typedef struct {
    size_t values, inner;
} tok_shape;

/* Lanes of a payload. */
int tok_lanes(size_t values);

/* What an array was coded to, until the next one is. */
typedef struct {
    int lanes;
    uint32_t states[TOK_MAX_LANES];
    const uint8_t *words, *extras; /* in the scratch */
    size_t words_size, extras_size;
    size_t size;    /* of the payload */
    size_t outside; /* the position of a value that has no interval */
} tok_coded;

/* Memory that codings of one thread share; begins as zeros, and ends with tok_scratch_free. */
typedef struct {
    uint8_t *bytes;
    size_t size;
} tok_scratch;
uint8_t *tok_scratch_take(tok_scratch *scratch, size_t size);
void tok_scratch_free(tok_scratch *scratch);

/* Codes an array; TOK_OUTSIDE if a value has no interval. */
int tok_encode(const tok_model *model, const tok_shape *shape, const void *array, tok_coded *coded,
               tok_scratch *scratch);
/* Writes the payload. */
void tok_write(const tok_coded *coded, uint8_t *to);

int tok_decode(const tok_model *model, const tok_shape *shape, const uint8_t *payload, size_t size, void *array,
               tok_scratch *scratch);

/* Words, and where they end. */
typedef struct {
    const uint8_t *words, *end; /* readable to end + TOK_PAD */
} tok_reader;

/* Extra bits, the lowest first; `count` of them, below 8, are in `bits` alone. */
typedef struct {
    uint8_t *to;
    uint64_t bits;
    uint64_t count;
} tok_writer;

/* One path (portable, avx2, avx512, neon) of the loops over values. */
typedef struct {
    /* Reads the tokens of whole steps: `values` is a multiple of `lanes`, 16 or 32. tables says the table of each value,
     * or is NULL where all have the one whose slots are given. 0, or -1 if the words ended before. */
    int (*read)(const uint32_t *slots, const uint8_t *tables, uint32_t *states, int lanes, size_t values,
                tok_reader *words, uint16_t *tokens);
    /* Values from tokens, and extra bits from bit *at on; *at moves on. -1 if it passed `most`. */
    int (*values)(const tok_model *model, const uint16_t *tokens, size_t values, const uint8_t *extras, size_t *at,
                  size_t most, void *array);
    /* The index of each value's symbol, and all extra bits; the position of a value that has no token, or `values`. */
    size_t (*tokens)(const tok_model *model, const tok_shape *shape, const void *array, uint16_t *index, tok_writer *writer);
    /* Codes symbols, the last first; words grow downwards from `to`. Returns where the first one is. */
    uint8_t *(*code)(const tok_model *model, const uint16_t *index, size_t values, uint32_t *states, uint8_t *to,
                     int lanes);
} tok_path;

/* `read` in plain C, for any number of lanes. */
int tok_read_portable(const uint32_t *slots, const uint8_t *tables, uint32_t *states, int lanes, size_t values,
                      tok_reader *words, uint16_t *tokens);

const tok_path *tok_current_path(void);
extern const tok_path tok_path_portable;
#if defined(__x86_64__)
extern const tok_path tok_path_avx2, tok_path_avx512;
#elif defined(__aarch64__)
extern const tok_path tok_path_neon;
#endif

#endif
