# Every library from outside, found once. Packages for each system are listed in scripts/setup.sh.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
# oneDNN takes its threads from OpenMP, and the engine sets their number.
find_package(OpenMP COMPONENTS C)
if(NOT OpenMP_C_FOUND)
    message(FATAL_ERROR "${CMAKE_C_COMPILER} has no OpenMP. gcc brings it along; clang has a package of its own for it: "
        "libomp-dev on Debian and Ubuntu (libomp-14-dev for clang 14).")
endif()
foreach(module libcrypto libcyaml yaml-0.1 jansson libpng libarchive libcurl hwloc sqlite3 libprotobuf-c)
    pkg_check_modules(${module} REQUIRED IMPORTED_TARGET ${module})
endforeach()
if(BUILD_TESTING)
    pkg_check_modules(cmocka REQUIRED IMPORTED_TARGET cmocka)
endif()
# HDF5 serves one feature (Keras files): without it the program builds and says which package is missing.
pkg_search_module(hdf5 IMPORTED_TARGET hdf5 hdf5-serial)
# So does flatbuffers (TensorFlow Lite files): the compiler of schemas and the headers.
find_program(QB_FLATC NAMES flatc)
pkg_check_modules(flatbuffers IMPORTED_TARGET flatbuffers)

# oneDNN 3: an explicit root, then the system's, then the private prefix that scripts/setup.sh fills.
if(QB_ONEDNN_ROOT)
    find_package(dnnl 3 CONFIG REQUIRED PATHS ${QB_ONEDNN_ROOT} NO_DEFAULT_PATH)
else()
    find_package(dnnl 3 CONFIG QUIET HINTS $ENV{QB_ONEDNN_PREFIX} ${CMAKE_SOURCE_DIR}/build/onednn)
    if(NOT dnnl_FOUND)
        message(FATAL_ERROR "oneDNN 3 was not found. Run scripts/setup.sh (it installs the system's oneDNN 3 or a "
            "private copy under build/onednn), or pass -DQB_ONEDNN_ROOT=PREFIX of a build of your own.")
    endif()
endif()
message(STATUS "oneDNN ${dnnl_VERSION} from ${dnnl_DIR}")

find_program(QB_PROTOC_C NAMES protoc-c REQUIRED)
find_path(QB_ONNX_PROTO_DIR NAMES onnx/onnx.proto
    HINTS ${CMAKE_SOURCE_DIR}/build/onnx-proto $ENV{QB_ONNX_PROTO_PREFIX} PATH_SUFFIXES include)
if(NOT QB_ONNX_PROTO_DIR)
    message(FATAL_ERROR "onnx/onnx.proto was not found. Run scripts/setup.sh (Debian package libonnx-dev, else the "
        "PyPI package onnx), or pass -DQB_ONNX_PROTO_DIR=DIR, where DIR/onnx/onnx.proto exists.")
endif()
