#!/bin/sh
# What the headers declare the shared library shows, and nothing else; it depends on the C library
# only.  What the static one defines for other files is pro_* or pri_*.  Needs the release build.
set -u
cd "$(dirname "$0")/.." || exit 1
shared=build/release/libproactor.so
static=build/release/libproactor.a

exported=$(nm -D --defined-only $shared | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }')
declared=$(echo '#include <proactor.h>' | gcc -E -P -DPRO_NO_SITES -Iinclude - | tr '\n' ' ' |
    grep -o 'visibility("default"))) [^;(]*(' | sed 's/.*[ *]\([a-z0-9_]*\)($/\1/')

# only LINES OTHERS: the lines that are in the first and not in the second.
only() { echo "$1" | grep -vxF "$2"; }

found=$(
    only "$exported" "$declared" | sed "s|^|$shared: exports what no header declares: |"
    only "$declared" "$exported" | sed 's|^|include: declares what nothing defines: |'
    readelf -d $shared | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -vE '^(libc|ld-linux.*)\.so' |
        sed "s|^|$shared: needs |"
    readelf -lW $shared | awk '/GNU_STACK/ && /RWE/ { print "'$shared': has an executable stack" }'
    nm -gA --defined-only $static 2>/dev/null | awk '$3 !~ /^(pro|pri)_/ { print $1 " defines " $3 }'
)
[ -z "$found" ] || { echo "$found"; exit 1; }
echo "ok symbols: $(echo "$exported" | wc -l) exported"
