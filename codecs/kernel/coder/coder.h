/* Entropy coder of latents: wavefront rANS with integer contexts (docs/format.md sections 4 to 6), and with contexts
 * that adapt, for planes of one row (docs/format-audio.md sections S3 to S5).
 *
 * Everything here works on "flat" planes: the symbols of a plane in the order in which they are
 * coded.  Step t of lane k holds row r = band*L + k, column t - band*P - 2k (P = period), and a
 * flat plane has WIDTH lanes a step: the L lanes of each of WIDTH/L streams that share a geometry.
 * In that order every neighbour of a symbol lies at a constant distance, except where a lane meets
 * the first or last lane of its stream; so contexts of whole planes are plain loops, and in the
 * decoder they sit in registers.
 */
#ifndef LATENTSTORE_CODER_H
#define LATENTSTORE_CODER_H

#include <stddef.h>
#include <stdint.h>

#define LS_MAX_LANES 16
#define LS_SYMBOLS 64   /* residuals -31..31 and the escape */
#define LS_RADIUS 31
#define LS_ESCAPE 63
#define LS_BUCKETS 64
#define LS_FRACTIONS 4
#define LS_MAX_TABLES 128
#define LS_MAX_GROUP 32
#define LS_OWN_TAPS 8
#define LS_SOURCES 2
#define LS_TAPS (LS_OWN_TAPS + 3 * LS_SOURCES)
#define LS_MAX_GAINS 16
#define LS_STATE_LOW 65536u
#define LS_GUESSES 256
#define LS_NEAR 1024 /* contexts of whether a position holds a value, in the sparse form */
#define LS_NEAR_KEPT 0x37a /* the bits of one that the next one keeps, further left */

enum { LS_OK = 0, LS_NO_MEMORY = -1, LS_TRUNCATED = -2, LS_CORRUPT = -3, LS_BAD_ARGUMENT = -4 };

/* How one channel of one model forms its contexts.  Weights are in 1/1024 of a residual's magnitude;
 * cross weights meet 4*magnitude and the sum of eight neighbours, and are at most 127. */
typedef struct {
  int32_t own[5]; /* left, up, up-left, up-right, two to the left */
  int32_t bias;
  uint8_t cross[LS_MAX_GROUP][2];
  int predicted;
  int32_t signed_own[4];
  int32_t signed_cross[LS_MAX_GROUP][9];
  uint8_t table[LS_FRACTIONS][LS_BUCKETS];
  uint16_t table16[LS_FRACTIONS][LS_BUCKETS];
  uint16_t table16_end[2]; /* vector loads of entries may read past the last */
  /* of adaptive coders, whose own[1..4] stand for other things, and whose channels are not `predicted` */
  int32_t taps[LS_TAPS];
  uint32_t gain_at; /* where its row of ls_coder's gain begins */
  uint8_t source[LS_SOURCES];
  int filtered; /* its predictions are not all 0 */
} ls_channel;

typedef struct {
  int channels; /* of a group */
  int models;
  int tables;
  int kept;      /* channels whose values others are predicted from, in any model */
  int precision; /* log2 of the sum of a table's frequencies */
  int adaptive;
  ls_channel *channel;   /* models * channels */
  uint16_t *freq;        /* tables * LS_SYMBOLS */
  uint16_t *start;
  uint32_t *freq_start;  /* freq | start << 16 */
  uint32_t *reciprocal;
  uint8_t *symbol;       /* tables << precision: that of each slot */
  uint32_t *guess;       /* tables * LS_GUESSES: ls_symbol of the symbol that has most of so many slots in a row; small
                            enough to stay in the first cache, and wrong for one symbol in a hundred */
  uint16_t *cost;        /* tables * LS_SYMBOLS: bits * 256 */
  uint8_t *plain;        /* models: no channel is predicted, so groups may have the sparse form */
  uint16_t *empty;       /* models * LS_NEAR: frequency of positions that hold no value */
  uint16_t *later;       /* models * channels * 2 * channels rounded up to 8: what a magnitude of 1 adds to the contexts
                            of later channels at its position, and around it */
  uint16_t gain[LS_MAX_GAINS * LS_BUCKETS + 1]; /* one more for v_gather16 */
  uint32_t *zero; /* (models * channels, level 1 or 2, bucket): freq_start of the value 0 in the sparse form */
} ls_coder;

typedef struct {
  int height, width, lanes, wide; /* wide: lanes of all streams together */
  int period;                     /* steps from one row of a lane to its next */
  int steps;                      /* per plane */
  int wrap;                       /* steps from a stream's last lane to its first lane one row down */
  ptrdiff_t size;                 /* steps * wide */
  ptrdiff_t pad;                  /* zero bytes before and after a flat plane */
  int widths[LS_MAX_LANES];       /* of rows: of the stream in each lane, `width` being the largest */
  /* flat byte masks, 0 or 255 */
  uint8_t *first_column, *second_column, *last_column, *first_row, *last_row, *active, *first_lane, *last_lane;
  void *memory;
} ls_geometry;

ls_coder *ls_coder_new(int models, int channels, int tables, int precision);
void ls_coder_free(ls_coder *coder);

/* An artifact's entropy tensors, models and channels first (docs/format.md section 7.4). */
typedef struct {
  const int32_t *own, *bias;
  const uint8_t *cross, *predicted;
  const int32_t *signed_own, *signed_cross;
  const uint8_t *table;
  const int32_t *empty;
} ls_weights;

/* The same of codecs for audio (docs/format-audio.md section S7), which make an adaptive coder. */
typedef struct {
  const int32_t *own, *bias;
  const uint8_t *cross;
  const int32_t *taps;
  const uint8_t *source, *rate;
  const int32_t *gain;
  const uint8_t *table;
  int gains;
} ls_adaptive_weights;

/* residual << 24 | freq << 12 | start, where the escape has the residual -128 */
static inline uint32_t ls_symbol(const ls_coder *coder, uint32_t table, uint32_t symbol)
{
  const uint32_t residual = symbol == LS_ESCAPE ? 0x80u : (symbol - LS_RADIUS) & 255u, i = table * LS_SYMBOLS + symbol;
  return residual << 24 | (uint32_t)coder->freq[i] << 12 | coder->start[i];
}

/* All give LS_CORRUPT where a number is outside its range. */
int ls_coder_channels(ls_coder *coder, const ls_weights *weights);
int ls_coder_adaptive(ls_coder *coder, const ls_adaptive_weights *weights);
int ls_coder_tables(ls_coder *coder, const int32_t *freq);
uint32_t ls_event_cost(int precision, uint32_t freq);

int ls_plane_fits(int64_t height, int64_t width); /* within the format's limits */
int ls_lanes(int height, int width);
int ls_geometry_make(ls_geometry *g, int height, int width, int lanes, int wide);
/* one row, and a lane for each of `wide` streams; it has no masks */
void ls_geometry_row(ls_geometry *g, int width, int wide);
void ls_geometry_free(ls_geometry *g);
void ls_to_flat(const ls_geometry *g, int stream, const int8_t *plane, int8_t *flat);
void ls_from_flat(const ls_geometry *g, int stream, const int8_t *flat, int8_t *plane);
/* the same for the first `count` of 16 streams of one lane: stream s goes to planes[s] + offset */
void ls_from_flat_narrow(const ls_geometry *g, int count, const int8_t *flat, int8_t *const *planes, size_t offset);

typedef struct {
  const uint8_t *base;              /* the buffer that holds the streams of a bundle, below 2^31 bytes */
  const uint8_t *words, *words_end; /* readable to words_end + 64 */
  const uint8_t *escapes, *escapes_end;
} ls_stream;

/* A plane of the streams that fill 16 lanes; flat planes are given by their first symbol. */
typedef struct {
  const ls_channel *channel[LS_MAX_LANES]; /* of each lane */
  int predicted;                           /* at least one of them is, or is filtered */
  int mixed;                               /* they are not all the same */
  const uint16_t *cross;
  int32_t *prediction;
  uint32_t *sums;   /* room for a row, 16 lanes */
  uint32_t *states; /* 16 */
  ls_stream *streams;
  int8_t *residual, *value; /* of adaptive coders, the residuals' magnitudes */
  const int8_t *source[LS_SOURCES];
} ls_plane;

/* Up to 16 groups in the sparse form, whose streams are read side by side: a lane each. Lanes without a group have the
 * state 0 and no words. */
typedef struct {
  uint32_t state[LS_MAX_LANES], word[LS_MAX_LANES], word_end[LS_MAX_LANES]; /* places of words in `bytes` */
  const uint8_t *bytes;                                                     /* four more can be read */
} ls_sparse_lanes;

/* Which positions are taken in each. Places are as in ls_sparse. */
typedef struct {
  int height, width;
  ptrdiff_t row; /* from a place to the one below */
  ls_sparse_lanes lanes;
  uint32_t empty[LS_MAX_LANES]; /* where in coder->empty a model begins */
  uint8_t *is_taken;            /* (place, lane): 1 or 0; zeros around */
  uint8_t *found[2];            /* what is found, of positions: a bit for each of lanes 0 to 7, and of 8 to 15 */
} ls_taken;

/* The values at these positions. In step i each lane is at its taken position i; lanes have fewer and fewer of them. */
typedef struct {
  uint32_t place[LS_MAX_LANES];     /* in `magnitude`; the lane's first one where it has no step any more */
  uint32_t beside[2][LS_MAX_LANES]; /* masks: of the position before if it is one to the left; of that if it is two to the
                                       left, and in the upper half of the one before it if it is */
  uint32_t above[LS_MAX_LANES];     /* of a channel: three magnitudes above */
  uint16_t sum[LS_MAX_LANES];       /* of a channel: what earlier ones add */
  int8_t value[LS_MAX_LANES];       /* of a channel */
  int8_t seen[LS_MAX_LANES];        /* 64 once a channel has held a value, else 0 */
} ls_step;

typedef struct {
  ls_sparse_lanes lanes;
  const uint8_t *escapes[LS_MAX_LANES], *escapes_end[LS_MAX_LANES];
  uint32_t model[LS_MAX_LANES], taken[LS_MAX_LANES];
  int8_t *out[LS_MAX_LANES];     /* zeros, which values are put into */
  ptrdiff_t row;                 /* from a place to the one below */
  size_t area, places;           /* of a lane */
  const uint32_t *position;      /* of places: in a plane of the latent */
  uint8_t *magnitude;            /* (lane, place), of a channel: zeros where no position is taken */
  ls_step *steps;                /* as many as the first lane has taken positions */
  uint16_t *pairs[LS_MAX_GROUP]; /* (step, lane), of a channel: 4 magnitudes, and in the upper byte the sum of eight */
} ls_values;

/* A flat plane of coefficients to choose values for: the weight of a unit's squared error and that of 1/256 bit, and
 * how far 1 and larger values are rebuilt towards zero. */
typedef struct {
  const float *coefficients;
  float lambda, weight[LS_MAX_LANES], delta[2][LS_MAX_LANES];
} ls_choices;

/* One path (portable, avx2, avx512, neon) of the inner loops. */
typedef struct {
  /* magnitude (4a, B) pairs of a plane of residuals; returns whether any is non-zero */
  int (*magnitudes)(const ls_geometry *g, const int8_t *residual, uint8_t *scratch, uint8_t *pairs);
  /* context[i] = min(32767, sum over planes of pairs . weights), of which a lane of 16 has its own: low and high byte */
  void (*cross)(const ls_geometry *g, int planes, const uint8_t *const *pairs, const uint16_t (*weights)[LS_MAX_LANES],
                uint16_t *context);
  /* signed prediction in 1/1024: out += what earlier channels say, and what the channel's own neighbours say */
  void (*signed_cross)(const ls_geometry *g, int planes, const int8_t *const *values,
                       const int32_t (*weights)[9][LS_MAX_LANES], int8_t *scratch, int32_t *out);
  void (*own_predictions)(const ls_geometry *g, const ls_channel *c, const int8_t *value, int32_t *inout);
  void (*own_contexts)(const ls_geometry *g, const ls_channel *c, const int8_t *residual, const uint16_t *cross,
                       uint8_t *scratch, uint8_t *bucket);
  /* decodes one plane of each of one or two bundles, 16 lanes each; `failed`: which of them is bad */
  int (*decode_planes)(const ls_coder *coder, const ls_geometry *g, ls_plane *planes, int count, int *failed);
  /* of groups in the sparse form, decodes which positions are taken; and the values there, where it gives a bit for each
   * lane that has too few escapes; NULL where vectors are none, and one group after another is faster */
  void (*find_taken)(const ls_coder *coder, ls_taken *taken);
  unsigned (*decode_values)(const ls_coder *coder, ls_values *values);
  /* codes one plane backwards; words grow downwards from *end */
  void (*encode_plane)(const ls_coder *coder, const ls_geometry *g, const uint16_t *codes, uint32_t *states,
                       uint8_t **end);
  /* the same for one row a stream, 16 of them, of an adaptive coder */
  int (*row_magnitudes)(const ls_geometry *g, const int8_t *magnitude, uint8_t *pairs);
  int (*decode_rows)(const ls_coder *coder, const ls_geometry *g, ls_plane *plane);
  /* magnitudes of residuals, and codes as of ls_group_codes, of a plane whose values stand */
  void (*code_rows)(const ls_coder *coder, const ls_geometry *g, const ls_plane *plane, int contexts, uint16_t *codes);
  /* chooses the values of a plane */
  void (*choose_rows)(const ls_coder *coder, const ls_geometry *g, const ls_plane *plane, const ls_choices *choices);
  const char *name;
} ls_path;

extern const ls_path ls_path_portable;
#if defined(__x86_64__) || defined(_M_X64)
extern const ls_path ls_path_avx2, ls_path_avx512;
#elif defined(__aarch64__)
extern const ls_path ls_path_neon;
#endif
const ls_path *ls_current_path(void);

/* whole groups */
int ls_cost_group(const ls_coder *coder, int model, int height, int width, const int8_t *latent, double *bits);
int ls_optimise_group(const ls_coder *coder, int model, int height, int width, const float *coefficients,
                      const float *weight, float lambda, const float *delta, int8_t *latent, double *bits);
int ls_group_codes(const ls_coder *coder, int model, int height, int width, const int8_t *latent, int contexts,
                   uint16_t *codes);
/* contexts of the sparse form, 0xffff where no symbol stands */
int ls_sparse_codes(const ls_coder *coder, int model, int height, int width, const int8_t *latent, uint16_t *codes);
/* its ideal length */
int ls_sparse_cost(const ls_coder *coder, int model, int height, int width, const int8_t *latent, double *bits);

/* Groups of an adaptive coder, (count, channels, 1, width); payloads are malloc'd, those of nothing but zeros empty. */
typedef struct {
  uint8_t *bytes;
  size_t size, escapes;
} ls_payload;

int ls_encode_rows(const ls_coder *coder, const int32_t *models, int count, int width, const int8_t *latents,
                   ls_payload *payloads);
int ls_optimise_rows(const ls_coder *coder, const int32_t *models, int count, int width, const float *coefficients,
                     const float *weight, float lambda, const float *delta, int8_t *latents);
int ls_row_codes(const ls_coder *coder, int model, int width, const int8_t *latent, int contexts, uint16_t *codes);

/* Positions of a plane, images of 2^28 pixels, and of its sides: what a forged header can ask for. A plane narrower
 * than 32 is decoded at up to 32 times its area, so a side must have a bound of its own. */
#define LS_MAX_AREA (1 << 22)
#define LS_MAX_SIDE (1 << 16)

#define LS_MAX_QUALITY 100 /* 0: not known */
#define LS_MAX_LEVEL 127 /* level codes of adaptive coders are 1 to this: one byte, in the place of the height */
#define LS_MAX_STEP_CODE (256 * LS_MAX_LEVEL - 1) /* what adaptive coders have in the place of the quality */

/* A group blob taken apart (docs/format.md section 4). quality: of adaptive coders the step code, whose low byte stands
 * in the place of the quality and whose other bits, plus 1, are the level code (docs/format-audio.md section S3). */
typedef struct {
  int lanes, model, quality, height, width, sparse;
  size_t escapes, header; /* header: bytes before the payload */
  const uint8_t *payload;
  size_t payload_size;
} ls_group;

enum { LS_BAD_VERSION = -5, LS_WRONG_SHAPE = -7, LS_BAD_CRC = -8 };

/* adaptive: the blob is one of an adaptive coder */
int ls_group_parse(ls_group *group, const uint8_t *blob, size_t size, const uint8_t sha256[32], int adaptive);
size_t ls_group_header(uint8_t *to, const ls_group *group, const uint8_t sha256[32]);

/* The payload of a group, malloc'd, with what the header says of it; model, height and width stand in `group`. Nothing
 * but zeros is an empty payload. */
int ls_encode_group(const ls_coder *coder, ls_group *group, const int8_t *latent, uint8_t **payload);
/* the same in the sparse form, and whether a writer takes it */
int ls_encode_sparse(const ls_coder *coder, ls_group *group, const int8_t *latent, uint8_t **payload);
int ls_sparse_better(const ls_coder *coder, int model, int height, int width, const int8_t *latent);

/* A blob to decode; `index` is its place in the output. */
typedef struct {
  const uint8_t *blob;
  size_t size;
  int index, width;
  size_t out_at; /* where in the output its latent goes */
  ls_group group;
} ls_job;

/* Decodes blobs of one shape into out (count, channels, height, width); jobs are put in another order. A status below
 * zero is about blob `failed`. */
int ls_decode_jobs(const ls_coder *coder, const uint8_t sha256[32], ls_job *jobs, int count, int height, int width,
                   int8_t *out, int *failed);

/* Decodes blobs of the sparse form that have been parsed. */
int ls_decode_sparse(const ls_coder *coder, ls_job *jobs, int count, int height, int width, int8_t *out, int *failed);

/* The same for an adaptive coder, whose blobs may be of different widths. */
int ls_decode_rows(const ls_coder *coder, const uint8_t sha256[32], ls_job *jobs, int count, int8_t *out, int *failed);

uint32_t ls_crc32c(uint32_t crc, const uint8_t *data, size_t size);

#endif
