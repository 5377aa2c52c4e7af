#!/bin/sh
# Each public header compiles alone: as C11 and as C++17, with gcc and with clang, pedantically.
set -u
cd "$(dirname "$0")/../include" || exit 1

headers=$(find . -name '*.h' | sed 's|^\./||' | sort)
compile() { # compile HEADER COMPILER...
    header=$1
    shift
    echo "#include <$header>" | "$@" -Wall -Wextra -pedantic -Werror -I. -fsyntax-only - 2>&1 |
        sed -n "s|^\(\./\)*\([^ :]*:[0-9]*\):[0-9]*: \(.*error: .*\)|include/\2: $1: \3|p"
}
found=$(
    for header in $headers; do
        for c in gcc clang; do compile "$header" $c -std=c11 -x c & done
        # Windows as Microsoft's compiler sees it; freestanding, since its own headers are not here.
        msvc='clang --target=x86_64-pc-windows-msvc -ffreestanding'
        compile "$header" $msvc -std=c11 -x c &
        compile "$header" $msvc -std=c++17 -x c++ &
        for cxx in g++ clang++; do compile "$header" $cxx -std=c++17 -x c++ & done
        wait
    done
)
[ -z "$found" ] || { echo "$found"; exit 1; }
echo "ok headers: $(echo "$headers" | wc -l) compile alone"
