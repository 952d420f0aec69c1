/* The sparse form of groups: which of them are decoded side by side. */
#include "coder/sparse/sparse.h"

#include <string.h>

#define FEWEST_TOGETHER 3 /* fewer are faster one by one */
#define SMALL (1 << 14)   /* positions of planes that are decoded together; larger ones fill the cache alone */

static int decode_alone(const ls_coder *coder, const ls_job *jobs, int count, int height, int width, int8_t *out,
                        int *failed)
{
    ls_sparse s;
    int status = ls_sparse_make(&s, height, width, coder->channels);
    for (int i = 0; !status && i < count; i++) {
        ls_sparse_reader reader;
        ls_sparse_open(&reader, jobs + i, out);
        memset(reader.out, 0, (size_t)coder->channels * (size_t)height * (size_t)width);
        ls_sparse_find(&s, &reader, coder);
        status = ls_sparse_values(&s, &reader, coder);
        *failed = jobs[i].index;
    }
    ls_sparse_free(&s);
    return status;
}

int ls_decode_sparse(const ls_coder *coder, ls_job *jobs, int count, int height, int width, int8_t *out, int *failed)
{
    if (count < FEWEST_TOGETHER || height * width > SMALL)
        return decode_alone(coder, jobs, count, height, width, out, failed);
    return ls_decode_together(coder, jobs, count, height, width, out, failed);
}
