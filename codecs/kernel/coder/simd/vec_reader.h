/* Where the streams of a vector are read, by pointers: for paths that take words one by one. */
typedef struct { const uint8_t *word[16]; } reader;

static inline void reader_open(reader *r, const ls_stream *streams, int count)
{
    for (int s = 0; s < count; s++)
        r->word[s] = streams[s].words;
}
static inline void reader_close(const reader *r, ls_stream *streams, int count)
{
    for (int s = 0; s < count; s++)
        streams[s].words = r->word[s];
}
/* a bit for every stream that has read past its end */
static inline mask reader_beyond(const reader *r, const ls_stream *streams, int count)
{
    mask m = 0;
    for (int s = 0; s < count; s++)
        m |= (mask)((r->word[s] > streams[s].words_end) << s);
    return m;
}
