#!/usr/bin/env bash
# Fuzzes the kernel under AddressSanitizer and UndefinedBehaviorSanitizer.
#   run.sh seeded [SECONDS [SEED]]        random calls; SECONDS 0 repeats the iteration of one seed
#   run.sh TARGET|all [RUNS [SECONDS]]    libFuzzer from the corpus on, where clang has it; else the corpus alone
#   run.sh suite SECONDS                  all of it, each so long
#   run.sh seeds                          writes what an encoder makes into CORPUS, for targets that take blobs
#   run.sh merge                          leaves of the inputs in CORPUS those that together reach all that they reach
# BUILD: a folder for what is compiled, kept; without it, a temporary one. CC: the compiler; without it, clang if there
# is one with libFuzzer, else cc. OPTIMISE: its level; -O1 runs fastest, and -O0 is compiled fastest. CORPUS: a folder
# with a folder for each target, where inputs that reach new code are kept; without it, they are dropped. What fails is
# left in BUILD/found.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
kernel=$(cd "$here/../../../codecs/kernel" && pwd)
targets=(group_image group_audio tables coder transforms network tokens tensor)
build=${BUILD:-$(mktemp -d)}
[ -n "${BUILD:-}" ] || trap 'rm -rf "$build"' EXIT
mkdir -p "$build/found"

has_libfuzzer() {
    command -v "$1" >/dev/null || return 1
    echo '#include <stddef.h>
int LLVMFuzzerTestOneInput(const unsigned char *d, size_t n) { return !d && n; }' >"$build/probe.c"
    "$1" -fsanitize=fuzzer,address,undefined "$build/probe.c" -o "$build/probe" 2>/dev/null
}

libfuzzer=0 compiler=${CC:-cc} candidates=(clang clang-{22..14})
[ -z "${CC:-}" ] || candidates=("$CC")
for candidate in "${candidates[@]}"; do
    if has_libfuzzer "$candidate"; then
        compiler=$candidate libfuzzer=1
        break
    fi
done
flags=(-std=c11 "${OPTIMISE:--O1}" -g -ffp-contract=off -fno-omit-frame-pointer -Wall -Wextra -I "$kernel" -I "$here"
       -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all)
main=$build/targets_replay.c.o
if [ "$libfuzzer" = 1 ]; then
    # without the operands of comparisons: the sanitizers' own ones would take most of the time
    flags+=(-fsanitize=fuzzer-no-link -fno-sanitize-coverage=trace-cmp)
    main=-fsanitize=fuzzer
fi

# Files are compiled side by side. Python's side of the kernel is tested from Python.
compile() {
    local source name object pending=()
    for source in $(find "$kernel" -name '*.c' -not -path '*/python/*') "$here"/*/*.c; do
        name=${source#"$kernel"/}
        object=$build/$(tr / _ <<<"${name#"$here"/}").o
        if [ ! -f "$object" ] || [ -n "$(find "$kernel" "$here" -name '*.h' -newer "$object" -print -quit)" ] ||
            [ "$source" -nt "$object" ]; then
            pending+=("$source" "$object")
        fi
    done
    [ ${#pending[@]} -eq 0 ] || printf '%s\0' "${pending[@]}" |
        xargs -0 -n 2 -P "$(getconf _NPROCESSORS_ONLN)" bash -c '"${@:1:$#-2}" -c "${@: -2:1}" -o "${@: -1}"' _ \
            "$compiler" "${flags[@]}"
    "$compiler" "${flags[@]}" "$build/seeded_fuzz_main.c.o" $(shared) -lm -o "$build/seeded"
    for name in "${targets[@]}"; do
        "$compiler" "${flags[@]}" "$main" "$build"/targets_{"$name",input}.c.o $(shared) -lm -o "$build/fuzz_$name"
    done
}

# the kernel, and what every program takes beside its own files
shared() {
    find "$build" -name '*.o' -not -name 'targets_*' -not -name seeded_fuzz_main.c.o
}

export ASAN_OPTIONS=abort_on_error=1:detect_stack_use_after_return=0:quarantine_size_mb=1 UBSAN_OPTIONS=print_stacktrace=1:abort_on_error=1

seeded() {
    "$build/seeded" "${1:-10}" "${2:-1}"
}

target() { # NAME RUNS SECONDS
    local name=$1 kept=${CORPUS:-$build/kept}/$1 from=$build/corpus/$1
    mkdir -p "$kept" "$build/corpus"
    tar -xzf "$here/../corpus-kernel.tar.gz" -C "$build/corpus"
    echo "== $name"
    if [ "$libfuzzer" = 0 ]; then
        "$build/fuzz_$name" "$from"/*
        return
    fi
    "$build/fuzz_$name" -runs="${2:-1000000}" -max_total_time="${3:-0}" -max_len=3000 -entropic=0 -print_final_stats=1 \
        -rss_limit_mb=512 -timeout=20 -artifact_prefix="$build/found/$name-" "$kept" "$from" >"$build/$name.log" 2>&1 || {
        tail -n 60 "$build/$name.log"
        return 1
    }
    sed -n 's/^stat::number_of_executed_units: *\(.*\)/\1 runs,/p; s/^stat::average_exec_per_sec: *\(.*\)/\1 a second,/p' \
        "$build/$name.log"
    echo "nothing found"
}

seeds() {
    "$compiler" "${flags[@]}" "$build"/targets_{seeds,input}.c.o $(shared) -lm -o "$build/seeds"
    for name in group_image:0 group_audio:1; do
        mkdir -p "$CORPUS/${name%:*}"
        "$build/seeds" "$CORPUS/${name%:*}" "${name#*:}"
    done
}

merge() {
    for name in "${targets[@]}"; do
        rm -rf "$build/merged" && mkdir "$build/merged"
        "$build/fuzz_$name" -merge=1 -max_len=3000 "$build/merged" "$CORPUS/$name" >"$build/$name.log" 2>&1
        rm -rf "${CORPUS:?}/$name" && mv "$build/merged" "$CORPUS/$name"
    done
}

compile
case ${1:-all} in
    seeds | merge) "$1" ;;
    seeded) seeded "${@:2}" ;;
    suite)
        seeded "$2" 1
        for name in "${targets[@]}"; do target "$name" -1 "$2"; done
        ;;
    all) for name in "${targets[@]}"; do target "$name" "${@:2}"; done ;;
    *) target "$@" ;;
esac
