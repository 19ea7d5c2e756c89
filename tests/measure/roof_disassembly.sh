#!/bin/sh
# Looks at the machine code of the measure room's library: each roof probe's loop must hold exactly its arithmetic on
# registers (a spill would certify too low a roof), the bandwidth probes' loops loads alone, and nothing outside the probes may use AVX.
# usage: roof_disassembly.sh OBJDUMP LIBRARY; exit code 77 (SKIP) where objdump cannot decode these instructions.
set -eu
objdump=$1 library=$2
listing=$("$objdump" -d --no-show-raw-insn "$library") || {
    echo "SKIP: $objdump cannot disassemble $library"
    exit 77
}
case $listing in
*tdpbusd*) ;;
*"(bad)"*)
    echo "SKIP: $objdump is too old for AMX"
    exit 77
    ;;
esac
printf '%s\n' "$listing" | awk '
    # What each loop must hold, besides the two instructions that count the passes down.
    BEGIN {
        want["loop_clock"] = "add 50"
        want["loop_avx2"] = "vpmaddubsw 30 vpaddw 20 vpmaddwd 10 vpaddd 10"
        want["loop_avxvnni"] = "{vex}vpdpbusd 12"
        want["loop_avx512vnni"] = "vpdpbusd 24"
        want["loop_amx"] = "tdpbusd 6"
        want["loop_fma_ymm"] = "vfmadd231ps 12"
        want["loop_fma_zmm"] = "vfmadd231ps 24"
        want["loop_read_xmm"] = "movdqa 16 add 1 and 1"
        want["loop_read_ymm"] = "vmovdqa 16 add 1 and 1"
        want["loop_read_zmm"] = "vmovdqa64 16 add 1 and 1"
        width["loop_avx2"] = width["loop_avxvnni"] = width["loop_fma_ymm"] = "%ymm"
        width["loop_avx512vnni"] = width["loop_fma_zmm"] = "%zmm"
        width["loop_amx"] = "%tmm"
        load["loop_read_xmm"] = "%xmm"
        load["loop_read_ymm"] = "%ymm"
        load["loop_read_zmm"] = "%zmm"
    }
    function bad(text) {
        print "FAIL: " text
        failed = 1
    }
    # Instructions number `first` .. `count` - 1 of the current function are the body of a loop.
    function check_loop(first,    i, n, parts, total, seen) {
        total = 0
        for (i = first; i < count; i++) {
            if ((name in load) && mnemonic[i] ~ /^v?mov/) {
                if (operands[i] !~ ("^ *(0x[0-9a-f]+)?\\([^)]*\\)," load[name] "[0-9]+$"))
                    bad(name ": not a load to " load[name] ": " mnemonic[i] " " operands[i])
            } else if (operands[i] ~ /\(/)
                bad(name ": memory operand in the loop: " mnemonic[i] " " operands[i])
            if (i == count - 1)
                break # the counter
            seen[mnemonic[i]]++
            if ((name in width) && index(operands[i], width[name]) == 0)
                bad(name ": not on " width[name] ": " mnemonic[i] " " operands[i])
        }
        n = split(want[name], parts, " ")
        for (i = 1; i <= n; i += 2) {
            total += parts[i + 1]
            if (seen[parts[i]] + 0 != parts[i + 1])
                bad(name ": " seen[parts[i]] + 0 " " parts[i] " in the loop, expected " parts[i + 1])
        }
        if (count - 1 - first != total)
            bad(name ": " count - 1 - first " instructions in the loop, expected " total)
        found[name]++
    }
    /^[0-9a-f]+ <.*>:$/ {
        name = $2
        gsub(/[<>:]/, "", name)
        sub(/\..*/, "", name) # a clone that the compiler made: loop_avx2.constprop.0
        count = 0
        functions++
    }
    /^ *[0-9a-f]+:\t/ {
        line = $0
        sub(/^ */, "", line)
        address[count] = substr(line, 1, index(line, ":") - 1)
        text = substr(line, index(line, "\t") + 1)
        sub(/^\{vex\} */, "{vex}", text)
        split(text, word, /[ \t]+/)
        mnemonic[count] = word[1]
        operands[count] = substr(text, length(word[1]) + 1)
        if (!(name in want)) {
            # v... is AVX but for a few system instructions of old
            if ((word[1] ~ /^(\{vex\}|\{evex\})?v/ && word[1] !~ /^(verr|verw|vm)/) || text ~ /%[yzt]mm/)
                bad(name ": AVX outside the probes: " text)
        } else if (word[1] == "jne" && mnemonic[count - 1] ~ /^decq?$/) {
            # A backward jump that counts down; loop_amx also fills its tiles in a loop of the compiler, counting up.
            split(operands[count], word, " ")
            for (i = 0; i < count; i++)
                if (address[i] "" == word[1] "") # as text: 1e1 is not 10
                    check_loop(i)
        }
        count++
    }
    END {
        for (name in want) {
            probes++
            if (found[name] != 1)
                bad(name ": " found[name] + 0 " probe loops found, expected 1")
        }
        if (!failed)
            print "ok: the loops of " probes " probes in " functions " functions"
        exit failed
    }'
