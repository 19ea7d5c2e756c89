#!/bin/sh
# Looks at the machine code of the convolutions, whatever compiler made it: in the innermost loops no vector may be on the stack (a spilled
# accumulator or constant), and of moves between vector registers there may be one for four dot products at most. Compilers differ several
# times over where they get this wrong.
# usage: hot_loops.sh OBJDUMP LIBRARY FILE...: every FILE must have such a loop; exit code 77 (SKIP) where objdump cannot decode.
set -eu
objdump=$1 library=$2
shift 2
listing=$("$objdump" -d --no-show-raw-insn "$library") || {
    echo "SKIP: $objdump cannot disassemble $library"
    exit 77
}
case $listing in
*vpdpbusd*) ;;
*)
    echo "SKIP: $objdump does not know vpdpbusd"
    exit 77
    ;;
esac
printf '%s\n' "$listing" | awk -v wanted="$*" '
    function bad(what) {
        print "FAIL: " file ": loop at " address[start] ": " what
        failed = 1
    }
    # Instructions number `first` .. `last` are a loop without another jump inside.
    function check_loop(first, last,    i, dots, moves, spills) {
        for (i = first; i < last; i++)
            if (text[i] ~ /^(j|call)/)
                return
        start = first
        for (i = first; i < last; i++) {
            if (text[i] ~ /vpdpbusd|vpmaddwd|vpmaddubsw/)
                dots++
            if (text[i] ~ /^v?mov[a-z0-9]* +%[xyz]mm[0-9]+,%[xyz]mm[0-9]+$/)
                moves++
        }
        if (dots < 8)
            return
        for (i = first; i < last; i++)
            if (text[i] ~ /%[xyz]mm/ && (text[i] ~ /\(%rsp/ || framed && text[i] ~ /\(%rbp/)) {
                bad("a vector on the stack beside " dots " dot products: " text[i])
                spills++
            }
        if (moves * 4 > dots)
            bad(moves " moves for " dots " dot products")
        loops[file]++
        all_dots[file] += dots
        all_moves[file] += moves
        all_spills[file] += spills
    }
    /file format/ { file = $1; sub(/\.c\..*/, "", file); sub(/.*\//, "", file) }
    /^[0-9a-f]+ <.*>:$/ { count = framed = 0; split("", number) }
    /^ *[0-9a-f]+:\t/ {
        line = $0
        sub(/^ */, "", line)
        at = substr(line, 1, index(line, ":") - 1)
        address[count] = at
        number[at] = count
        text[count] = substr(line, index(line, "\t") + 1)
        if (text[count] ~ /^mov +%rsp,%rbp/)
            framed = 1
        if (text[count] ~ /^j[a-z]+ +[0-9a-f]+/) {
            split(text[count], parts, / +/)
            if (parts[2] in number)
                check_loop(number[parts[2]], count)
        }
        count++
    }
    END {
        n = split(wanted, names, " ")
        for (i = 1; i <= n; i++) {
            file = names[i]
            if (!(file in loops)) {
                print "FAIL: " file ": no loop of 8 dot products or more"
                failed = 1
            } else
                print file ": " loops[file] " loops, " all_dots[file] " dot products, " all_moves[file] + 0 " moves, " all_spills[file] + 0 " on the stack"
        }
        exit failed
    }'
