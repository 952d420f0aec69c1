#!/usr/bin/env bash
# Fuzzes the kernel under AddressSanitizer and UndefinedBehaviorSanitizer: run.sh [SECONDS [SEED]].
# SECONDS 0 repeats the iteration of one seed. BUILD: a folder for what is compiled, kept; without it, a temporary one.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
kernel=$(cd "$here/../../../../codecs/kernel" && pwd)
build=${BUILD:-$(mktemp -d)}
[ -n "${BUILD:-}" ] || trap 'rm -rf "$build"' EXIT
mkdir -p "$build"
flags=(-std=c11 -O0 -g -ffp-contract=off -fno-omit-frame-pointer -Wall -Wextra -I "$kernel"
       -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all)
objects=() pending=()
# Python's side is tested from Python.
for source in $(find "$kernel" -name '*.c' -not -path '*/python/*') "$here"/*.c; do
    name=${source#"$kernel"/}
    object=$build/$(tr / _ <<<"${name#"$here"/}").o
    objects+=("$object")
    if [ ! -f "$object" ] || [ -n "$(find "$kernel" "$here" -name '*.[ch]' -newer "$object" -print -quit)" ]; then
        pending+=("$source" "$object")
    fi
done
# Files are compiled side by side.
[ ${#pending[@]} -eq 0 ] || printf '%s\0' "${pending[@]}" |
    xargs -0 -n 2 -P "$(getconf _NPROCESSORS_ONLN)" bash -c '"${@:1:$#-2}" -c "${@: -2:1}" -o "${@: -1}"' _ "${CC:-cc}" "${flags[@]}"
"${CC:-cc}" "${flags[@]}" "${objects[@]}" -lm -o "$build/fuzz"
ASAN_OPTIONS=abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1:abort_on_error=1 "$build/fuzz" "${1:-10}" "${2:-1}"
