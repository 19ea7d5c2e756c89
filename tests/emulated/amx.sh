#!/bin/sh
# Runs the checks of the AVX512-VNNI and the AMX convolution with their real instructions on a machine that has neither: Linux in Bochs, as a
# Sapphire Rapids. It covers what the emulated tiles of ctest cannot: encodings and operand order of the instructions, CPUID, XCR0 and the
# permission that the kernel gives. A quarter of an hour, a third of it for building Bochs. No part of ctest.
#
# usage: amx.sh CHECK BOCHS_SOURCE FOLDER
#   CHECK         build/tests/kernels/check_conv_static (ninja -C build check_conv_static)
#   BOCHS_SOURCE  archive of Bochs 3.0 (the source package `bochs` of Debian 13, or the release)
#   FOLDER        made if missing; what is there already is used again
# Debian's other packages come through apt-get download. Exit code: that of the check.
set -eu
[ $# = 3 ] || { sed -n '6,9p' "$0" >&2; exit 2; }
check=$(realpath "$1") source=$(realpath "$2")
mkdir -p "$3/packages" "$3/iso/isolinux" "$3/root/bin"
cd "$3"

if [ ! -d packages/usr ]; then
    # 6.1 does not come up in Bochs; Debian 12 has 6.12 under a name of its own.
    for name in linux-image-6.12-cloud-amd64 linux-image-cloud-amd64; do
        kernel=$(apt-cache depends --important "$name" 2>/dev/null | sed -n 's/.*Depends: \(linux-image-.*\)/\1/p' | head -1)
        [ -z "$kernel" ] || break
    done
    (cd packages && apt-get download isolinux syslinux-common genisoimage cpio busybox-static "$kernel")
    for package in packages/*.deb; do
        dpkg-deb -x "$package" packages
    done
fi

# Bochs 3.0 lacks XFD, without which Linux does not offer AMX, and takes the signed bytes of TDPBUSD for unsigned ones. Both are mended here.
mend() {
    sed -i '/DPBDUS(Bit32u x/,/^}/{s/Bit32u(xbyte/Bit32s(xbyte/;s/Bit32s(ybyte/Bit32s((Bit8s) ybyte/}' cpu/avx/amx.cc
    sed -i '0,/^  Bit64u ia32_xss;/s//&\n  Bit64u ia32_xfd, ia32_xfd_err;/' cpu/cpu.h
    sed -i 's/^  BX_CPU_THIS_PTR msr.ia32_xss = 0;/&\n  BX_CPU_THIS_PTR msr.ia32_xfd = BX_CPU_THIS_PTR msr.ia32_xfd_err = 0;/' cpu/init.cc
    sed -i 's/^      leaf->eax |= (1<<3);/&\n    leaf->eax |= 1 << 4;/
        s/^      leaf->ecx = (cpu->ia32_xss_suppmask & (1 << subfunction)) != 0;/&\n      leaf->ecx |= (subfunction == 18) << 2;/' cpu/cpuid.cc
    awk -v msr='(index == 0x1c4 ? BX_CPU_THIS_PTR msr.ia32_xfd : BX_CPU_THIS_PTR msr.ia32_xfd_err)' '
        /^  if \(index < BX_MSR_MAX_INDEX\) {/ {
            print "  if (index == 0x1c4 || index == 0x1c5) {"
            if (++n == 1)
                print "    *msr = " msr ";"
            else
                print "    if (val_64 & ~(Bit64u) BX_XCR0_XTILEDATA_MASK) return false;\n    " msr " = val_64;\n    handleAvxModeChange();"
            print "    return true;\n  }"
        }
        { print }
        END { exit n != 2 }' cpu/msr.cc >msr.new
    mv msr.new cpu/msr.cc
    awk '/if \(! long64_mode\(\) \|\| ! BX_CPU_THIS_PTR cr4.get_OSXSAVE\(\) \|\|$/ { sub(/\|\|$/, "|| BX_CPU_THIS_PTR msr.ia32_xfd ||") }
        /::BxNoAMX/ { inside = 1 }
        inside && /BX_ASSERT/ {
            print "  BX_CPU_THIS_PTR msr.ia32_xfd_err = BX_CPU_THIS_PTR msr.ia32_xfd;\n  exception(BX_NM_EXCEPTION, 0);\n"
            inside = 0
        }
        { print }' cpu/proc_ctrl.cc >proc_ctrl.new
    mv proc_ctrl.new cpu/proc_ctrl.cc
}
if [ ! -x bochs/bochs ]; then
    rm -rf bochs && mkdir bochs
    tar -C bochs --strip-components=1 -xf "$source"
    (
        cd bochs
        mend
        ./configure --enable-cpu-level=6 --enable-x86-64 --enable-avx --enable-evex --enable-amx --enable-all-optimizations \
            --enable-pci --with-nogui --disable-docbook >configure.log 2>&1
        make -j"$(nproc)" >make.log 2>&1
    )
fi

cp packages/boot/vmlinuz-* iso/vmlinuz
cp packages/usr/lib/ISOLINUX/isolinux.bin packages/usr/lib/syslinux/modules/bios/ldlinux.c32 iso/isolinux/
cp packages/bin/busybox root/bin/
cp "$check" root/check
# The idle driver would release tiles while XFD is set, which the mended Bochs refuses.
cat >iso/isolinux/isolinux.cfg <<END
default linux
prompt 0
timeout 1
label linux
  kernel /vmlinuz
  append initrd=/root.gz console=ttyS0 loglevel=4 nokaslr mitigations=off tsc=reliable nosmp acpi=off noapic cpuidle.off=1
END
cat >root/init <<'END'
#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /proc /dev
$b mount -t proc proc /proc
$b mount -t devtmpfs dev /dev
exec >/dev/ttyS0 2>&1
$b uname -r
$b grep -m1 -o 'amx_int8' /proc/cpuinfo
/check avx512vnni && /check amx
echo "exit code $?"
$b sleep 1
$b poweroff -f
END
chmod +x root/init
(cd root && find . | ../packages/bin/cpio -o -H newc --quiet | gzip -1 >../iso/root.gz)
packages/usr/bin/genisoimage -quiet -o boot.iso -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot -boot-load-size 4 \
    -boot-info-table iso
cat >bochsrc <<END
config_interface: textconfig
display_library: nogui
cpu: model=sapphire_rapids, count=1, ips=100000000
memory: guest=512, host=512
romimage: file=bochs/bios/bios.bin-1.13.0
vgaromimage: file=bochs/bios/vgabios-cirrus.bin-1.13.0
vga: extension=cirrus
ata0-master: type=cdrom, path=boot.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=serial.txt
log: bochs.log
END
: >serial.txt
timeout 1800 bochs/bochs -q -f bochsrc >bochs.out 2>&1 &
bochs=$!
trap 'kill $bochs 2>/dev/null || true' EXIT
while kill -0 $bochs 2>/dev/null && ! grep -q -e '^exit code' -e 'Kernel panic' serial.txt; do
    sleep 2
done
cat serial.txt
exit "$(sed -n 's/^exit code \([0-9]*\).*/\1/p' serial.txt | grep . || echo 1)"
