/* The loops over values for NEON, which every aarch64 processor has. */
#if defined(__aarch64__) && defined(__GNUC__)
#include "coder/coder.h"
#include "tokens/tokens.h"

#include <arm_neon.h>
#include <string.h>

#include "coder/simd/vec_neon.h"

#include "tokens/simd/template.h"

const tok_path tok_path_neon = {read_loop, values_loop, tokens_loop, code_loop};

#else
typedef int tok_no_neon;
#endif
