/* Coder of tensors of coding "step" (docs/format.md section 12): integers of one sample, channel after channel and
 * phase after phase. The positions of a phase do not depend on each other, so predictions and contexts of a whole phase
 * are plain loops, and rANS takes 16 of them at a time: of one sample, or of several samples of one shape.
 *
 * A plane (of one channel and one phase) is a grid of `grid` positions for each sample of a job, sample after sample.
 */
#ifndef LATENTSTORE_TENSOR_H
#define LATENTSTORE_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include "coder/coder.h"

#define TENSOR_PHASES 4
#define TENSOR_BUCKETS 72
#define TENSOR_SYMBOLS 64 /* high parts -31 to 31, from 1 on; 0 is the escape */
#define TENSOR_ESCAPE 0
#define TENSOR_SPIKE 1 /* in spiked channels, the value 0, which has no low bits */
#define TENSOR_CENTRE 32
#define TENSOR_SPIKED INT32_MIN /* the residual that stands for a spike */
#define TENSOR_ENTRIES (TENSOR_BUCKETS * TENSOR_SYMBOLS)
#define TENSOR_PRECISION 11
#define TENSOR_MAX_TAPS 64        /* of a channel in a phase */
#define TENSOR_MAX_CHANNELS 65536
#define TENSOR_SUMS 5             /* what contexts are made of */
#define TENSOR_WEIGHT_BITS 12     /* fraction of a tap's weight */
#define TENSOR_ACTIVITY_BITS 10   /* fraction of an activity's weight, beyond the contexts' unit */
#define TENSOR_PART_BITS 13       /* fraction of a value of a fine channel, beyond whole steps */
#define TENSOR_SEQUENCE 512       /* values of a phase after which the trellis begins anew */
#define TENSOR_NEAR_ZERO 2        /* steps that spikes of a fine channel stand for, on both sides */
#define TENSOR_BEYOND 2147483520.0f /* values of so many steps, or more, are not coded */
#define TENSOR_VALUES_PER_LANE 4096
#define TENSOR_BELOW 4            /* bytes before a lane's words that vectors may write */
#define TENSOR_SLACK 128            /* bytes after the payloads that vectors may read */
#define TENSOR_DENSEST 11400      /* more values than this no byte can hold: a value takes 1/1420 bit or more */

typedef struct {
    int32_t back;  /* channels between it and the one predicted */
    int8_t dy, dx;
    int16_t weight;
} tensor_tap;

/* What an encoder asks of a symbol; reciprocal: of its frequency, at most one quotient too small. freq 0: it escapes. */
typedef struct {
    uint32_t reciprocal;
    uint16_t freq, start;
} tensor_symbol;

typedef struct {
    int channels;
    uint32_t *first; /* channels * phases + 1: where the taps of each begin */
    tensor_tap *taps;
    uint16_t *activity; /* channels * phases * sums */
    int32_t *bias;      /* channels * phases */
    int32_t *means;
    float *steps;
    uint8_t *spiked; /* channels: whether 0 has a symbol of its own, in tables of their own */
    uint8_t *fine;   /* channels: whether residuals are of sets that a trellis gives */
    tensor_symbol symbols[2][TENSOR_ENTRIES];
    uint32_t slots[2][TENSOR_BUCKETS << TENSOR_PRECISION]; /* (symbol - 32) << 24 | freq << 12 | slot - start */
} tensor_coder;

/* The parts of a coding as they are stored. */
typedef struct {
    int channels;
    const float *steps;
    const int32_t *means;
    const uint8_t *spiked, *fine;
    const uint8_t *count; /* taps of each channel and phase */
    const uint16_t *back;
    const int8_t *shift;
    const int16_t *weight;
    ptrdiff_t taps;
    const uint16_t *activity;
    const int32_t *bias;
    const uint16_t *freq;
} tensor_parts;

/* LS_CORRUPT where a number is outside its range. */
int tensor_coder_new(tensor_coder **coder, const tensor_parts *parts);
void tensor_coder_free(tensor_coder *coder);

/* The shape of a sample without its channels: frames x height x width. inner: values between one of a channel and the
 * next of the same position in another channel (the product of the axes after the channels'). */
typedef struct {
    int64_t frames, height, width, inner;
} tensor_shape;

enum tensor_type { TENSOR_FLOAT32, TENSOR_FLOAT16, TENSOR_BFLOAT16, TENSOR_INT32, TENSOR_TYPES };

/* One of the tensors of a call. index: its place among them. */
typedef struct {
    tensor_shape shape;
    int index;
} tensor_item;

typedef struct {
    tensor_item item;
    const uint8_t *payload;
    size_t size;
    enum tensor_type type;
    void *out;
} tensor_job;

/* A tensor to be coded. values: channel after channel, of any type but int32. payload: malloc'd, or NULL for no values. */
typedef struct {
    tensor_item item;
    enum tensor_type type;
    const void *values;
    uint8_t *payload;
    size_t size;
} tensor_source_job;

/* Brings those of one shape together. */
void tensor_sort(tensor_item **items, int count);
/* How many of the first items have one shape, and are coded side by side. */
int tensor_together(tensor_item *const *items, int count, int channels);
int tensor_is_alike(const tensor_shape *a, const tensor_shape *b);

/* A phase of the grid: rows and columns that it really has, and their number in a sample; 0: it is not there. */
typedef struct {
    int64_t rows, columns, count;
} tensor_phase;

typedef struct {
    tensor_shape shape;
    int64_t h, w, grid, size; /* size: of all samples of a job */
    int samples, lanes;
    tensor_phase phase[TENSOR_PHASES];
    int order[TENSOR_PHASES]; /* the place of a phase among those that are there, -1 */
    int phases;
    ptrdiff_t guard, stride; /* entries around a plane; from plane to plane */
} tensor_geometry;

/* A neighbour of a whole plane: where its values are, and whether each of them lies inside. */
typedef struct {
    const int16_t *value, *mask; /* mask: 0 or -1 */
} tensor_source;

typedef struct {
    tensor_source masked[TENSOR_MAX_TAPS + 2];
    const int16_t *inside[TENSOR_MAX_TAPS + 2]; /* those that lie inside everywhere */
    int16_t masked_weight[TENSOR_MAX_TAPS + 2], inside_weight[TENSOR_MAX_TAPS + 2];
    int masks, insides; /* their numbers, both even */
} tensor_run;

/* What contexts are made of: sums of sources, in the order of their weights. */
typedef struct {
    tensor_source source[17];
    /* where those of each sum end that lie inside everywhere, which have no mask, and where all of them do */
    int inside[TENSOR_SUMS], end[TENSOR_SUMS];
    int16_t weight[TENSOR_SUMS + 1];
    int32_t bias;
} tensor_activity;

/* The lanes that read together: those of a sample side by side, sample after sample. Each lane has words of its own. */
typedef struct {
    uint32_t state[LS_MAX_LANES];
    int32_t at[LS_MAX_LANES], end[LS_MAX_LANES]; /* where in `base` its next word is, and where its words end */
    const uint8_t *base;                         /* readable for TENSOR_SLACK bytes after the last word */
    const uint8_t *escape[LS_MAX_LANES];         /* of a sample: after its next escape, which is read backwards */
    const uint8_t *escape_end[LS_MAX_LANES];
    int samples, lanes;
} tensor_lanes_state;

/* High parts that no table has, from the last to be decoded to the first. */
typedef struct {
    int32_t *high;
    size_t count, room;
} tensor_escapes;

/* The lanes that are written together, in the order of tensor_lanes_state. The words of a lane grow downwards. */
typedef struct {
    uint32_t state[LS_MAX_LANES];
    int32_t at[LS_MAX_LANES]; /* where in `base` its words begin so far; TENSOR_BELOW bytes before them are free */
    uint8_t *base;
    tensor_escapes escapes[LS_MAX_LANES]; /* of a sample */
    int samples, lanes;
} tensor_writers;

/* One path of the inner loops. Loops over planes go on to whole blocks of 16, and
 * `predict` and `contexts` to those of 32. */
typedef struct {
    void (*predict)(const tensor_run *run, ptrdiff_t size, int16_t *prediction);
    void (*contexts)(const tensor_activity *activity, ptrdiff_t size, uint8_t *bucket);
    /* from residuals and predictions: values, their 16-bit form, and magnitudes */
    void (*rebuild)(const int32_t *residual, const int16_t *prediction, int32_t mean, int spiked, int unit,
                    ptrdiff_t size, int32_t *value, int16_t *narrow, int16_t *magnitude);
    void (*settle)(const int16_t *magnitude, ptrdiff_t size, int16_t *activity);
    /* The same the other way round: residuals and magnitudes from values less the mean, and predictions. magnitude: or
     * NULL. */
    void (*subtract)(const int32_t *value, const int16_t *prediction, int unit, ptrdiff_t size, int32_t *residual,
                     int16_t *magnitude);
    /* A row of values as multiples of the step less the mean, even and odd columns apart, and their 16-bit form. Returns
     * whether all lie within int32. */
    int (*quantise)(const float *values, ptrdiff_t width, float step, int32_t mean, int32_t *even, int32_t *odd,
                    int16_t *even_narrow, int16_t *odd_narrow);
    /* The same of a fine channel, but with what is left of each value in place of its 16-bit form. */
    int (*quantise_finely)(const float *values, ptrdiff_t width, float step, int32_t mean, int32_t *even, int32_t *odd,
                           int16_t *even_part, int16_t *odd_part);
    /* From the nearest residuals of a phase of all samples, and what is left, to those that the trellis allows and that
     * are nearest together; coded: what stands for them. Reads up to 16 values more. */
    void (*choose)(int32_t *residual, const int16_t *part, int spiked, ptrdiff_t count, int samples, int32_t *coded);
    /* From what stands for residuals of a phase of one sample to residuals. */
    void (*unfold)(int32_t *residual, int spiked, ptrdiff_t count);
    /* Reads `count` residuals of each sample; failed: the sample that is bad. */
    int (*read)(const tensor_coder *coder, tensor_lanes_state *lanes, int spiked, ptrdiff_t count,
                const uint8_t *bucket, int32_t *residual, int *failed);
    /* Codes `count` residuals of each sample, the last ones first. */
    int (*code)(const tensor_coder *coder, tensor_writers *writers, int spiked, ptrdiff_t count, const uint8_t *bucket,
                const int32_t *residual);
    /* Numbers as floats, where they are of another type; whether all are finite. */
    int (*widen)(const void *values, ptrdiff_t count, enum tensor_type type, float *out);
    /* a row of one channel, whose even and odd columns lie apart */
    void (*write_row)(const int32_t *even, const int32_t *odd, ptrdiff_t width, float step, enum tensor_type type,
                      void *out);
    /* values of one position in `count` channels, each a `plane` after the one before */
    void (*write_across)(const int32_t *values, ptrdiff_t plane, const float *steps, int count, enum tensor_type type,
                         void *out);
} tensor_path;

extern const tensor_path tensor_path_portable;
#if defined(__x86_64__) && defined(__GNUC__)
extern const tensor_path tensor_path_avx2;
#endif
const tensor_path *tensor_current_path(void);

/* Reads values `first` to `count` - 1 of each sample in plain C: for what no vector takes. */
int tensor_read_plain(const tensor_coder *coder, tensor_lanes_state *lanes, int spiked, ptrdiff_t first,
                      ptrdiff_t count, const uint8_t *bucket, int32_t *residual, int *failed);
/* A high part that a table does not have, of one sample. */
int tensor_read_escape(tensor_lanes_state *lanes, int sample, int32_t *high);

/* Codes values `first` to `end` - 1 of the `count` ones of each sample, backwards, in plain C. */
int tensor_code_plain(const tensor_coder *coder, tensor_writers *writers, int spiked, ptrdiff_t first, ptrdiff_t end,
                      ptrdiff_t count, const uint8_t *bucket, const int32_t *residual);

/* A neighbour of a phase: where it is from the beginning of a plane, the mask, NULL for none, and the plane's place among
 * those of a channel, -1 if no position has such a neighbour. */
typedef struct {
    ptrdiff_t offset;
    const int16_t *mask;
    int order;
} tensor_neighbour;

/* What a job of some samples of one shape works in. */
typedef struct {
    tensor_geometry g;
    int channels;
    int16_t *planes;                     /* narrow values: channel, phase */
    int16_t *magnitude, *activity;       /* phase */
    int16_t *mask[3][3];                 /* by the shift of rows and columns of the grid, plus 1 */
    int16_t *prediction;
    int32_t *value, *residual, *dense_residual; /* value: phase */
    uint8_t *bucket, *dense_bucket;
    tensor_neighbour near[TENSOR_PHASES][3][3]; /* by rows and columns between them, plus 1 */
    tensor_activity sums[2][TENSOR_PHASES];     /* without weights: of channel 0, and of others */
    void *memory;
} tensor_work;

int tensor_lanes(int64_t values);
/* LS_BAD_ARGUMENT for a shape that cannot be. */
int tensor_geometry_make(tensor_geometry *g, const tensor_shape *shape, int channels, int samples);
int tensor_work_make(tensor_work *work, const tensor_geometry *g, int channels);
/* Makes it ready for other samples of the same shape. */
void tensor_work_renew(tensor_work *work);
void tensor_work_free(tensor_work *work);
/* entries from the values of one phase to those of the next */
static inline ptrdiff_t tensor_value_plane(const tensor_geometry *g)
{
    return ((ptrdiff_t)g->size + 15) / 16 * 16 + 16;
}
int16_t *tensor_plane(const tensor_work *work, int channel, int phase);
int16_t *tensor_near(const tensor_work *work, int16_t *planes, int phase); /* of magnitude or activity */
/* What predicts a channel in a phase, and what its contexts are made of. */
void tensor_run_make(tensor_run *run, const tensor_work *work, const tensor_coder *coder, int channel, int phase);
void tensor_activity_make(tensor_activity *a, const tensor_work *work, const tensor_coder *coder, int channel, int phase);

/* What a residual of 1 adds to contexts, and the largest residual that does. */
static inline int tensor_unit(const tensor_coder *coder, int channel)
{
    return coder->fine[channel] ? 4 : 16;
}

static inline int tensor_most(int unit)
{
    return unit == 4 ? 8191 : 2047;
}

/* From the values of a phase, sample after sample, to the grid and back; what the phase does not have becomes 0. */
void tensor_spread(const tensor_geometry *g, int phase, const int32_t *dense, int32_t *grid);
/* Predictions of 0 there, so that values become 0, too. */
void tensor_clear_beyond(const tensor_work *work, int phase);
void tensor_gather(const tensor_geometry *g, int phase, const void *grid, size_t width, void *dense);

static inline int tensor_shift(int bucket)
{
    return bucket < 20 ? 0 : (bucket >> 2) - 4;
}

/* Decodes jobs, which are put in another order; a status below zero is about job `failed` (its index). */
int tensor_decode(const tensor_coder *coder, tensor_job *jobs, int count, int *failed);

/* Codes tensors; a status other than LS_OK is about job `failed` (its index), and no payload is left then.
 * LS_BAD_ARGUMENT: it has NaN or an infinity. LS_WRONG_SHAPE: a value lies beyond int32 in its channel's steps. */
int tensor_encode(const tensor_coder *coder, tensor_source_job *jobs, int count, int *failed);

#endif
