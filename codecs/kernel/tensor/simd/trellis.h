/* The trellis of fine channels in plain C (docs/format.md section 12.7): which set a value's residual is of, and how an
 * encoder chooses residuals. A residual of set A is 4 j + 1, one of set B is -(4 j + 1); j is what is coded.
 *
 * State s is in set A where it is even. j's lowest bit y leads on to (s >> 1) ^ (s odd ? 5 : 0) ^ (y ? 2 : 0): the
 * systematic code of eight states of Ungerboeck, with parity polynomials 1 + D + D^3 and D^2. */

#define STATES 8
#define IMPOSSIBLE 65535 /* the cost of what no path leads to; a spike stands for y = 0 */

/* Which values of the word are of set B. y: the lowest bits of 64 values; before: the same as returned by `divided`, of
 * the values before them. */
static inline uint64_t set_b(uint64_t divided, uint64_t before)
{
    return divided << 2 | before >> 62;
}

/* y divided by 1 + D + D^3: multiplied by the same in D, D^2, D^4 and so on, as its power 64 is 1 + D^64 + D^192. */
static inline uint64_t divided(uint64_t y, uint64_t before)
{
    const uint64_t last = before >> 63, second = before >> 62 & 1, third = before >> 61 & 1;
    y ^= (last ^ third) | second << 1 | last << 2;
    y ^= y << 1 ^ y << 3;
    y ^= y << 2 ^ y << 6;
    y ^= y << 4 ^ y << 12;
    y ^= y << 8 ^ y << 24;
    y ^= y << 16 ^ y << 48;
    return y ^ y << 32;
}

static inline int32_t unfolded(int32_t j, int spiked, unsigned b)
{
    const uint32_t e = 4u * (uint32_t)j + 1, sign = 0u - b;
    return spiked && j == TENSOR_SPIKED ? j : (int32_t)((e ^ sign) - sign);
}
