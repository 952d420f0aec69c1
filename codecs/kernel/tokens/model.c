/* The tables of a model. */
#include "tokens/tokens.h"

#include <stdlib.h>
#include <string.h>

void tok_model_free(tok_model *m)
{
    if (!m)
        return;
    free(m->symbol);
    free(m->slots);
    free(m->table);
    free(m->sizes);
    free(m->code);
    free(m->rank);
    free(m);
}

static int take_intervals(tok_model *m, const int64_t *base, const uint8_t *extra)
{
    int64_t next = 0;
    for (int t = 0; t < m->tokens; t++) {
        if (extra[t] > 32 || base[t] != next || next > m->last)
            return TOK_CORRUPT;
        next += (int64_t)1 << extra[t];
        m->interval[t].base = (uint32_t)base[t];
        m->interval[t].extra = extra[t];
        m->ends[t] = next - 1 > m->last ? m->last : (uint32_t)(next - 1);
    }
    if (next <= m->last)
        return TOK_CORRUPT;
    int bits = 0;
    while (bits < 32 && m->last >> bits)
        bits++;
    m->lookup_shift = bits > 12 ? bits - 12 : 0;
    for (uint32_t top = 0, t = 0; top < TOK_LOOKUP; top++) {
        const uint64_t first = (uint64_t)top << m->lookup_shift;
        while (t + 1 < (uint32_t)m->tokens && m->ends[t] < first)
            t++;
        m->lookup[top] = (uint8_t)t;
    }
    m->exact = !m->shift && !m->ranked;
    m->four = 1;
    for (int t = 0; t < m->tokens; t++) {
        m->exact &= extra[t] >= m->lookup_shift;
        m->four &= extra[t] <= 14;
    }
    m->quick = m->bytes == 2 ? m->exact && m->four : m->bytes == 4 && !m->shift && !m->ranked;
    for (int top = 0; m->quick && top < TOK_LOOKUP; top++) {
        const uint32_t t = m->lookup[top], extra = m->interval[t].extra;
        m->whole[top] = m->bytes == 2 ? t << 24 | extra << 16 | m->interval[t].base
                                      : t << 24 | (uint32_t)((int)extra < m->lookup_shift) << TOK_SEVERAL | extra;
    }
    return TOK_OK;
}

static int take_frequencies(tok_model *m, const int32_t *freq)
{
    for (int i = 0; i < m->tables; i++, freq += m->tokens) {
        tok_symbol *symbol = m->symbol + (size_t)i * m->tokens;
        uint32_t *slots = m->slots + ((size_t)i << TOK_PRECISION), start = 0;
        for (int t = 0; t < m->tokens; t++) {
            if (freq[t] < 1 || freq[t] > (1 << TOK_PRECISION) - (int32_t)start)
                return TOK_CORRUPT;
            const uint32_t f = (uint32_t)freq[t];
            symbol[t] = (tok_symbol){0xffffffffu / f, (uint16_t)f, (uint16_t)start};
            for (uint32_t k = 0; k < f; k++)
                slots[start + k] = (uint32_t)t << 24 | (f & 0xfff) << 12 | k;
            start += f;
        }
        if (start != 1 << TOK_PRECISION)
            return TOK_CORRUPT;
    }
    return TOK_OK;
}

/* Codes by rank must be all codes of their book, so that every code has one rank. */
static int take_books(tok_model *m, const int32_t *sizes, const int32_t *codes)
{
    const size_t places = (size_t)m->last + 1;
    memset(m->rank, 0xff, (1 + (size_t)m->channels) * places * 2);
    for (int b = 0; b <= m->channels; b++) {
        const size_t at = (size_t)b * places;
        if (sizes[b] < 0 || (size_t)sizes[b] > places)
            return TOK_CORRUPT;
        m->sizes[b] = (uint32_t)sizes[b];
        uint32_t seen = 0;
        for (int32_t r = 0; r < sizes[b]; r++) {
            const int32_t c = codes[at + (size_t)r];
            if (c < 0 || c >= sizes[b])
                return TOK_CORRUPT;
            m->code[at + (size_t)r] = (uint16_t)c;
            /* the code 65535 may have the rank 65535 */
            seen += m->rank[at + (size_t)c] == 0xffff;
            m->rank[at + (size_t)c] = (uint16_t)r;
        }
        if (seen < (uint32_t)sizes[b])
            return TOK_CORRUPT;
    }
    return TOK_OK;
}

static void make_order(uint8_t order[256][16])
{
    memset(order, 0x80, 256 * 16); /* the byte there is 0 */
    for (int kept = 0; kept < 256; kept++)
        for (int lane = 7, at = 16; lane >= 0; lane--)
            if (!(kept >> lane & 1)) {
                order[kept][--at] = (uint8_t)(2 * lane + 1);
                order[kept][--at] = (uint8_t)(2 * lane);
            }
}

tok_model *tok_model_new(int bytes, int shift, uint32_t last, int tokens, const int64_t *base, const uint8_t *extra,
                         int tables, const int32_t *freq, int channels, const uint8_t *table, const int32_t *sizes,
                         const int32_t *codes, int *status)
{
    *status = TOK_CORRUPT;
    if ((bytes != 1 && bytes != 2 && bytes != 4) || shift < 0 || shift >= 8 * bytes || tokens < 2 ||
        tokens > TOK_MAX_TOKENS || tables < 1 || tables > TOK_MAX_TABLES || channels < 0 ||
        (uint64_t)last >= (uint64_t)1 << (8 * bytes - shift) || (sizes && (last >= 65536 || shift)) ||
        (!sizes && (uint64_t)last + 1 < (uint64_t)1 << (8 * bytes - shift)))
        return NULL;
    for (int c = 0; c < channels; c++)
        if (table[c] >= tables)
            return NULL;
    tok_model *m = calloc(1, sizeof *m);
    *status = TOK_NO_MEMORY;
    if (!m)
        return NULL;
    m->bytes = bytes, m->shift = shift, m->last = last, m->tokens = tokens, m->tables = tables, m->channels = channels;
    m->ranked = sizes != NULL;
    make_order(m->order);
    const size_t books = m->ranked ? (1 + (size_t)channels) * ((size_t)last + 1) : 0;
    m->symbol = calloc((size_t)tables * (size_t)tokens, sizeof *m->symbol);
    m->slots = malloc(((size_t)tables << TOK_PRECISION) * sizeof *m->slots);
    m->table = malloc((size_t)channels + 1);
    m->sizes = calloc((size_t)channels + 1, sizeof *m->sizes);
    m->code = calloc(books + 1, sizeof *m->code);
    m->rank = calloc(books + 1, sizeof *m->rank);
    if (m->symbol && m->slots && m->table && m->sizes && m->code && m->rank) {
        memcpy(m->table, table, (size_t)channels);
        *status = take_intervals(m, base, extra);
        if (!*status)
            *status = take_frequencies(m, freq);
        if (!*status && m->ranked)
            *status = take_books(m, sizes, codes);
    }
    if (*status) {
        tok_model_free(m);
        return NULL;
    }
    return m;
}
