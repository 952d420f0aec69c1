/* Which positions are taken, in groups of the sparse form: all lanes are at the same one. */
static void find_taken(const ls_coder *coder, ls_taken *t)
{
    const vec all = v_set(1u << coder->precision), kept = v_set(LS_NEAR_KEPT), end = v_load(t->word_end);
    const vec zero = v_set(0), model = v_load(t->empty);
    const ptrdiff_t up = 16 * t->row;
    vec state = v_load(t->state), word = v_load(t->word);
    for (int y = 0; y < t->height; y++) {
        uint32_t place = (uint32_t)((y + 2) * t->row), position = (uint32_t)y * (uint32_t)t->width;
        const uint32_t row_end = position + (uint32_t)t->width;
        int8_t *at = (int8_t *)t->is_taken + 16 * (size_t)place;
        /* ls_sparse_row and ls_sparse_near say what these are */
        vec near = v_or(v_or(v_sll(v_load_i8(at - up), 3), v_sll(v_load_i8(at - up + 16), 2)),
                        v_sll(v_load_i8(at - 2 * up), 7));
        vec taken = zero;
        for (; position < row_end; position++, place++, at += 16) {
            const vec above = v_or(v_sll(v_load_i8(at - up + 32), 2), v_sll(v_load_i8(at - 2 * up + 16), 7));
            near = v_or(v_or(v_and(v_sll(near, 1), kept), taken), above);
            const vec empty = v_gather16(coder->empty, v_add(model, near)), slot = slots_of(coder, state);
            const mask is = (mask)~v_less(slot, empty);
            taken = v_blend(is, zero, v_set(1));
            const vec freq = v_blend(is, empty, v_sub(all, empty)), beyond = v_blend(is, slot, v_sub(slot, empty));
            state = v_add(v_mul(freq, v_srl(state, coder->precision)), beyond);
            /* the last symbols leave a small state, and there is no word any more */
            const mask need = v_equal(v_srl(state, 16), zero) & v_less(word, end);
            if (need) {
                const vec words = v_and(v_gather_bytes(t->bytes, word), v_set(65535));
                state = v_blend(need, state, v_or(v_sll(state, 16), words));
                word = v_blend(need, word, v_add(word, v_set(2)));
            }
            v_store_i8(at, taken);
            for (unsigned left = is; left; left &= left - 1) {
                const int lane = __builtin_ctz(left);
                const uint32_t i = t->count[lane]++;
                t->place[lane][i] = place;
                t->position[lane][i] = position;
            }
        }
    }
    v_store(t->state, state);
    v_store(t->word, word);
}
