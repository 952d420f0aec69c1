#!/usr/bin/env bash
# The vector paths of this machine and of aarch64 give the same bytes: each is compared with the portable path where it
# runs, and the two machines by a hash of everything.  Elsewhere than on aarch64 that takes a cross compiler and QEMU's
# user mode (Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user); without them: status 77 and the reason.
# CC, CROSS_CC, QEMU: commands to use instead of those found. CFLAGS: more flags, such as -fsanitize=undefined.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
kernel=$(cd "$here/../../../../codecs/kernel" && pwd)

skip() {
    echo "SKIP: $1"
    exit 77
}

case $(uname -m) in
    aarch64 | arm64) cross= ;;
    *) cross=${CROSS_CC:-aarch64-linux-gnu-gcc} ;;
esac
if [ -n "$cross" ]; then
    command -v "$cross" >/dev/null || skip "no cross compiler for aarch64: $cross is not installed"
    qemu=${QEMU:-$(command -v qemu-aarch64 || command -v qemu-aarch64-static || true)}
    [ -n "$qemu" ] || skip "nothing runs aarch64 programs here: qemu-aarch64 is not installed"
    echo 'int main(void) { return 0; }' | "$cross" -static -x c - -o /dev/null 2>/dev/null ||
        skip "$cross links no programs: no C library for aarch64 is installed"
fi
command -v "${CC:-cc}" >/dev/null || skip "no C compiler: ${CC:-cc} is not installed"

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
sources=("$here"/*.c)
while IFS= read -r source; do
    sources+=("$source")
done < <(find "$kernel" -name '*.c' -not -path '*/python/*' | sort)
# as setup.py compiles the kernel
flags=(-std=c11 -O3 -ffp-contract=off -fvisibility=hidden -Wall -Wextra -I "$kernel" ${CFLAGS:-})

# The two machines' programs are compiled, and run, side by side.
{ "${CC:-cc}" "${flags[@]}" "${sources[@]}" -lm -o "$build/here" && "$build/here" >"$build/native"; } &
native=$!
if [ -n "$cross" ]; then
    "$cross" "${flags[@]}" -static "${sources[@]}" -lm -o "$build/aarch64"
    "$qemu" "$build/aarch64" | sed 's/^/aarch64 /' >"$build/foreign"
fi
wait "$native"
for part in native foreign; do
    [ ! -f "$build/$part" ] || cat "$build/$part"
done | tee "$build/hashes"
grep -q '\<neon ' "$build/hashes" || { echo "the neon path did not run"; exit 1; }
if [ "$(awk '{print $(NF - 1), $NF}' "$build/hashes" | sort -u | wc -l)" != 1 ]; then
    echo "machines differ: see the hashes above"
    exit 1
fi
echo "all paths agree"
