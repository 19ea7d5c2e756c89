# Flags that every target of the project shares. qb_flags is linked by each room's library.
add_library(qb_flags INTERFACE)
target_compile_features(qb_flags INTERFACE c_std_17)
target_compile_definitions(qb_flags INTERFACE _GNU_SOURCE QB_VERSION="${PROJECT_VERSION}")
target_include_directories(qb_flags INTERFACE ${CMAKE_SOURCE_DIR}/src ${CMAKE_BINARY_DIR}/src)
# Contraction into FMA would move rounding ties and so change int8 codes: see docs/architecture.md, decision 2.
target_compile_options(qb_flags INTERFACE -ffp-contract=off
    $<$<COMPILE_LANGUAGE:C>:-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes
        -Wmissing-prototypes -Wundef -Wvla -Wcast-qual -Wwrite-strings -Wformat=2>
    $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wshadow>)
if(QB_WERROR)
    target_compile_options(qb_flags INTERFACE -Werror)
endif()
if(QB_SANITIZE)
    target_compile_options(qb_flags INTERFACE -fsanitize=${QB_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(qb_flags INTERFACE -fsanitize=${QB_SANITIZE})
endif()
find_program(QB_CLANG_FORMAT clang-format)
if(QB_CLANG_FORMAT)
    add_custom_target(format
        COMMAND sh -c "git ls-files '*.c' '*.h' | xargs ${QB_CLANG_FORMAT} -i"
        WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} COMMENT "clang-format")
endif()

# qb_room(NAME SOURCES... [LINK libs...]): the static library qb_NAME of one room under src/.
function(qb_room name)
    cmake_parse_arguments(A "" "" "SOURCES;LINK" ${ARGN})
    add_library(qb_${name} STATIC ${A_SOURCES})
    target_link_libraries(qb_${name} PUBLIC qb_flags ${A_LINK})
endfunction()

# qb_test(NAME SOURCES... [LINK libs...]): a cmocka program under ctest, run from the build folder with
# QB_SOURCE_DIR set; exit code 77 is a SKIP.
function(qb_test name)
    cmake_parse_arguments(A "" "" "SOURCES;LINK" ${ARGN})
    add_executable(test_${name} ${A_SOURCES})
    target_link_libraries(test_${name} PRIVATE qb_flags qb_testing ${A_LINK} PkgConfig::cmocka)
    add_test(NAME ${name} COMMAND test_${name})
    set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600
        ENVIRONMENT "QB_SOURCE_DIR=${CMAKE_SOURCE_DIR}")
endfunction()
