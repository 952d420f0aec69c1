/* Which positions are taken, in groups of the sparse form: all lanes are at the same one. */

/* Lanes whose state is below 2^16 take a word. The last symbols leave a small state, and there is no word any more. */
#ifndef v_take_words
static inline void take_words(const uint8_t *bytes, vec *state, vec *word, vec end)
{
    const mask need = v_equal(v_srl(*state, 16), v_set(0)) & v_less(*word, end);
    const vec words = v_and(v_gather_bytes(bytes, *word), v_set(65535));
    *state = v_blend(need, *state, v_or(v_sll(*state, 16), words));
    *word = v_blend(need, *word, v_add(*word, v_set(2)));
}
#define v_take_words take_words
#endif
/* YES in lanes where A is less than B, or is the same, and NO elsewhere */
#ifndef v_if_less
#define v_if_less(A, B, YES, NO) v_blend(v_less(A, B), NO, YES)
#endif

#ifndef v_if_equal
#define v_if_equal(A, B, YES, NO) v_blend(v_equal(A, B), NO, YES)
#endif

static void find_taken(const ls_coder *coder, ls_taken *t)
{
    const vec all = v_set(1u << coder->precision), kept = v_set(LS_NEAR_KEPT), end = v_load(t->lanes.word_end);
    const vec zero = v_set(0), one = v_set(1), model = v_load(t->empty);
    const ptrdiff_t up = 16 * t->row;
    vec state = v_load(t->lanes.state), word = v_load(t->lanes.word);
    for (int y = 0; y < t->height; y++) {
        size_t position = (size_t)y * (size_t)t->width;
        const size_t row_end = position + (size_t)t->width;
        int8_t *at = (int8_t *)t->is_taken + (y + 2) * up;
        /* ls_sparse_row and ls_sparse_near say what these are */
        vec near = v_or(v_or(v_sll(v_load_i8(at - up), 3), v_sll(v_load_i8(at - up + 16), 2)),
                        v_sll(v_load_i8(at - 2 * up), 7));
        vec taken = zero;
        for (; position < row_end; position++, at += 16) {
            const vec above = v_or(v_sll(v_load_i8(at - up + 32), 2), v_sll(v_load_i8(at - 2 * up + 16), 7));
            near = v_or(v_or(v_and(v_sll(near, 1), kept), taken), above);
            const vec empty = v_gather16(coder->empty, v_add(model, near)), slot = slots_of(coder, state);
            taken = v_if_less(slot, empty, zero, one);
            const vec freq = v_if_less(slot, empty, empty, v_sub(all, empty));
            const vec beyond = v_if_less(slot, empty, slot, v_sub(slot, empty));
            state = v_add(v_mul(freq, v_srl(state, coder->precision)), beyond);
            v_take_words(t->lanes.bytes, &state, &word, end);
            v_store_i8(at, taken);
            const mask found = v_equal(taken, one);
            t->found[0][position] = (uint8_t)found;
            t->found[1][position] = (uint8_t)(found >> 8);
        }
    }
    v_store(t->lanes.state, state);
    v_store(t->lanes.word, word);
}
