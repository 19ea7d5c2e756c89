#!/bin/sh
# One binary runs on every x86-64 CPU: nothing outside the code of an instruction set may use VEX or EVEX encodings (AVX and later, BMI,
# masks, tiles). Looks at the machine code of all objects of the product.
# usage: stray_avx.sh OBJDUMP LIBRARY|OBJECT...; exit code 77 (SKIP) where objdump cannot decode these instructions.
set -eu
objdump=$1
shift
"$objdump" -d --no-show-raw-insn "$@" >stray_avx.txt || {
    echo "SKIP: $objdump cannot disassemble these objects"
    exit 77
}
awk '
    BEGIN {
        # What may: kernels/<op>/<op>_<isa>.c, behind the tables of the kernels ...
        objects = "_(avx2|avxvnni|avx512vnni|amx)(_[a-z0-9]+)?\\.c\\.o$"
        # ... and functions behind a look at the CPU: the roof probes (looked at in tests/measure), chains of float sums,
        # the tails of the oneDNN engine, sums over windows, codes of floats.
        functions["roof.c.o"] = "^loop_"
        functions["f32_chain.c.o"] = "^chain_(avx2|avx512)$"
        functions["tails.c.o"] = "_(avx2|avx512)$"
        functions["arithmetic.c.o"] = "^quantize_avx2$"
        functions["windows.c.o"] = "^multiply_avx2$"
        functions["similarity.c.o"] = "^multiply_avx2$"
    }
    function is_vex(mnemonic, text) {
        if (mnemonic ~ /^v/)
            return mnemonic !~ /^(verr|verw|vm)/ # system instructions of old
        return mnemonic ~ /^(\{vex\}|\{evex\}|k(mov|and|or|xor|not|test|shift|unpck|add|xnor)[a-z]*$)/ || text ~ /%([yzt]mm|k[0-7])/ ||
            mnemonic ~ /^(andn|bextr|blsi|blsmsk|blsr|bzhi|mulx|pdep|pext|rorx|sarx|shlx|shrx)[lq]?$/
    }
    /file format/ {
        object = $1
        sub(/:$/, "", object)
        sub(/.*\//, "", object)
        objects_seen++
    }
    /^[0-9a-f]+ <.*>:$/ {
        name = $2
        gsub(/[<>:]/, "", name)
        sub(/\..*/, "", name) # a clone that the compiler made: conv_avx2.isra.0
        allowed = object ~ objects || ((object in functions) && name ~ functions[object])
        count++
    }
    /^ *[0-9a-f]+:\t/ {
        text = substr($0, index($0, "\t") + 1)
        mnemonic = text
        sub(/[ \t].*/, "", mnemonic)
        if (!is_vex(mnemonic, text))
            next
        if (allowed)
            vex++
        else if (++bad[object " " name] == 1)
            first[object " " name] = text
    }
    END {
        for (place in bad) {
            print "FAIL: " place ": " bad[place] " instructions that not every CPU has, the first: " first[place]
            failed = 1
        }
        if (objects_seen < 50 || count < 500 || vex < 500) {
            print "FAIL: only " objects_seen " objects, " count " functions and " vex + 0 " vector instructions seen: is this the product?"
            failed = 1
        }
        if (!failed)
            print "ok: " count " functions in " objects_seen " objects"
        exit failed
    }' stray_avx.txt
