#!/bin/sh
# The C code is as clang-format wants it (--fix: make it so).
set -u
cd "$(dirname "$0")/.." || exit 1

# Versions differ in small things; the one of Debian 12 decides where it is there.
format=clang-format
command -v clang-format-14 >/dev/null && format=clang-format-14

files=$(find . \( -name build -o -name '.?*' \) -prune -o -name '*.[ch]' -print | sed 's|^\./||')
if [ "${1-}" = --fix ]; then
    exec $format -i $files
fi
# Of each file the first place; what to do is the same for all of them.
found=$($format --dry-run -Werror $files 2>&1 |
    awk -F: '/: error: / && !seen[$1]++ { print $1 ":" $2 ": not formatted: ./dev fmt" }')
[ -z "$found" ] || { echo "$found"; exit 1; }
echo "ok format: $(echo "$files" | wc -l) files"
