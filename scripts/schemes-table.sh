#!/bin/sh
# Puts the output of `qbench schemes --format md` into docs/schemes.md, below the comment that marks its place.
# Run it after a change in configs/schemes; a test (e2e_schemes) compares the two.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
qbench=${1:-$root/build/bin/qbench}
table=$(mktemp)
page=$(mktemp)
trap 'rm -f "$table" "$page"' EXIT
"$qbench" schemes --format md > "$table"
awk -v table="$table" '
    !skipping { print }
    /^<!-- the output of `qbench schemes --format md` -->$/ {
        while ((getline line < table) > 0) print line
        skipping = 1
        next
    }
    skipping && !/^\|/ { skipping = 0; print }
' "$root/docs/schemes.md" > "$page"
cat "$page" > "$root/docs/schemes.md"
