#!/bin/sh
# Check the models with spin, each right one and its broken ones, which must be found.
set -eu
models=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
passed=0 failed=0

# verify MODEL BROKEN: prints how many errors there are.
verify()
{
    spin -DBROKEN="$2" -a "$models/$1.pml" >/dev/null &&
        cc -O2 -DSAFETY -o pan pan.c 2>/dev/null &&
        ./pan -m100000 | sed -n 's/.*errors: *//p'
}

# sentence NAME MODEL BROKEN WANT
sentence()
{
    errors=$(verify "$2" "$3")
    found=some
    [ "${errors:-unknown}" != 0 ] || found=none
    if [ -n "$errors" ] && [ $found = "$4" ]; then
        echo "ok $1"
        passed=$((passed + 1))
    else
        echo "FAIL $1: errors ${errors:-unknown}, want $4"
        failed=$((failed + 1))
    fi
}

if ! command -v spin >/dev/null; then
    echo "skip models: spin is not installed"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
sentence no_wake_up_is_lost wake 0 none
sentence a_loop_that_does_not_look_again_is_found wake 1 some
sentence a_poster_that_looks_too_early_is_found wake 2 some
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
