#!/bin/sh
# Looks at the machine code of the convolutions: in the innermost loops, no vector may go to the stack, and of moves between vector
# registers there may be one for four dot products at most. Compilers differ several times over here.
# usage: hot_loops.sh OBJDUMP LIBRARY; exit code 77 (SKIP) where objdump cannot decode these instructions.
set -eu
objdump=$1 library=$2
listing=$("$objdump" -d --no-show-raw-insn "$library") || {
    echo "SKIP: $objdump cannot disassemble $library"
    exit 77
}
printf '%s\n' "$listing" | awk '
    # Instructions number `first` .. `last` are a loop without another jump inside.
    function check_loop(first, last,    i, dots, moves) {
        for (i = first; i < last; i++)
            if (text[i] ~ /^j/)
                return
        for (i = first; i < last; i++) {
            if (text[i] ~ /vpdpbusd|vpmaddwd/)
                dots++
            if (text[i] ~ /^v?mov[a-z0-9]* +%[xyz]mm[0-9]+,%[xyz]mm[0-9]+$/)
                moves++
        }
        if (dots < 8)
            return
        loops++
        for (i = first; i < last; i++)
            if (text[i] ~ /%[xyz]mm/ && text[i] ~ /\(%r[sb]p/) {
                print "FAIL: " file ": a vector on the stack beside " dots " dot products: " text[i]
                failed = 1
            }
        if (moves * 4 > dots) {
            print "FAIL: " file ": " moves " moves for " dots " dot products at " address[first]
            failed = 1
        }
        if (!(file in seen)) {
            seen[file] = 1
            files++
        }
    }
    /file format/ { file = $1; sub(/\.c\..*/, "", file); count = 0 }
    /^[0-9a-f]+ <.*>:$/ { count = 0 }
    /^ *[0-9a-f]+:\t/ {
        line = $0
        sub(/^ */, "", line)
        at = substr(line, 1, index(line, ":") - 1)
        address[count] = at
        number[file, at] = count
        text[count] = substr(line, index(line, "\t") + 1)
        if (text[count] ~ /^j[a-z]+ +[0-9a-f]+/) {
            split(text[count], parts, / +/)
            if ((file, parts[2]) in number && number[file, parts[2]] < count && address[number[file, parts[2]]] == parts[2])
                check_loop(number[file, parts[2]], count)
        }
        count++
    }
    END {
        if (files < 3) {
            print "FAIL: hot loops in " files + 0 " files, expected those of avx2, avxvnni and avx512vnni"
            failed = 1
        }
        print loops " hot loops"
        exit failed
    }'
