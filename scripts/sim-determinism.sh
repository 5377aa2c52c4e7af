#!/bin/sh
# One seed, one run: the digests of 20 seeds must be the same with gcc and clang, at -O0 and -O2, with
# and without address randomisation; and those of one seed in 1,000 processes.
#
#     scripts/sim-determinism.sh [RUNS]
set -eu
cd "$(dirname "$0")/.."
runs=${1:-1000}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

sources=$(ls test/sim/*.c test/random/*.c src/core/*.c src/ops/*.c src/os/posix/*.c src/compose.c src/shard/*.c \
    src/engine/uring/*.c src/engine/epoll/*.c src/engine/sim/*.c src/engine/faults/*.c src/co/*.[cS] |
    grep -v -e /checked -e /fidelity -e _win)
echo_sources=$(ls apps/pro-echo/*.c)
flags="-g -D_GNU_SOURCE -Iinclude -Isrc -Itest -fmacro-prefix-map=$PWD/="
build() { # build COMPILER OPTIMISATION
    mkdir "$folder/$1$2"
    for source in $echo_sources; do
        $1 $flags $2 -Dmain=pro_echo_main -c "$source" -o "$folder/$1$2/$(basename "$source").o"
    done
    $1 $flags $2 -o "$folder/sim-$1$2" $sources "$folder/$1$2"/*.o -l:liburing.a -lpthread
}
builds=
for c in gcc clang; do for o in -O0 -O2; do build $c $o & builds="$builds $!"; done; done
for pid in $builds; do wait "$pid"; done

digests() { # digests COMMAND...: of 20 seeds, each of which runs to its end
    for seed in $(seq 1 20); do
        "$@" --seed=$seed >"$folder/said"
        grep digest "$folder/said" | sed 's/ in [0-9.]* ms//'
    done
}
digests "$folder/sim-gcc-O2" >"$folder/want"
status=0
for c in gcc clang; do
    for o in -O0 -O2; do
        digests "$folder/sim-$c$o" >"$folder/is"
        if cmp -s "$folder/want" "$folder/is"; then echo "same: $c $o"; else echo "DIFFERENT: $c $o"; status=1; fi
    done
done
if setarch -R true 2>/dev/null; then
    digests setarch -R "$folder/sim-gcc-O2" >"$folder/is"
    if cmp -s "$folder/want" "$folder/is"; then echo "same: without address randomisation"; else status=1; fi
fi
count=$(for i in $(seq "$runs"); do "$folder/sim-gcc-O2" --seed=7 | tail -n 1; done | sort -u | wc -l)
echo "$count digest(s) in $runs processes"
[ "$count" = 1 ] || status=1
exit $status
