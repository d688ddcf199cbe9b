# SPDX-License-Identifier: Apache-2.0
# The project's own targets. Each helper compiles with ct_flags; sources are listed explicitly, and
# LIBS names other targets of the project or ct::NAME of CtLibraries.cmake.

# ct_library(NAME SOURCES… [LIBS…])
# A static library that programs and tests link; what it links goes on to them, and its folder, so that
# its headers are included as "name.h" (by -iquote: <err.h> stays the system's).
function(ct_library name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBS")
    ct_check_arguments(${name})
    add_library(${name} STATIC ${arg_SOURCES})
    target_compile_options(${name} PUBLIC "SHELL:-iquote ${CMAKE_CURRENT_SOURCE_DIR}")
    target_link_libraries(${name} PRIVATE ct_flags PUBLIC ${arg_LIBS})
endfunction()

# ct_program(NAME SOURCES… [LIBS…])
function(ct_program name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBS")
    ct_check_arguments(${name})
    add_executable(${name} ${arg_SOURCES})
    target_link_libraries(${name} PRIVATE ct_flags ${arg_LIBS})
endfunction()

# The public half of the key that wrappers are signed with, as signing_key.h: looked at anew by every build, and changed
# when it is another one.
set(CT_SIGNING_HEADER "${CMAKE_BINARY_DIR}/generated/signing_key.h")
add_custom_target(ct_signing_key COMMAND "${CMAKE_SOURCE_DIR}/tools/sign" --header "${CT_SIGNING_HEADER}"
    BYPRODUCTS "${CT_SIGNING_HEADER}" VERBATIM)

# ct_sign(NAME VERSION): signs the program of this target, for the node agent to know it by (tools/sign).
function(ct_sign name version)
    add_dependencies(${name} ct_signing_key)
    set_property(TARGET ${name} APPEND PROPERTY
        LINK_DEPENDS "${CT_SIGNING_HEADER}" "${CMAKE_SOURCE_DIR}/tools/sign")
    add_custom_command(TARGET ${name} POST_BUILD
        COMMAND "${CMAKE_SOURCE_DIR}/tools/sign" "$<TARGET_FILE:${name}>" "${version}" VERBATIM)
endfunction()

# ct_static_program(NAME SOURCES…)
# A helper of the tests that has to run where there is no library: linked statically with glibc, and
# without the sanitizers, which cannot be.
function(ct_static_program name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES")
    ct_check_arguments(${name})
    add_executable(${name} ${arg_SOURCES})
    target_link_libraries(${name} PRIVATE ct_base)
    target_link_options(${name} PRIVATE -static -no-pie)
endfunction()

# ct_unit_test(NAME SOURCES… [LIBS…] [WRAP symbol…] [TIMEOUT seconds])
# A cmocka program, run by ctest with the label `unit` in the source tree's root. WRAP makes the
# linker hand calls of SYMBOL to __wrap_SYMBOL of the test. Exit status 77 is a skip.
function(ct_unit_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT" "SOURCES;LIBS;WRAP")
    ct_check_arguments(${name})
    if(NOT TARGET ct::cmocka)
        return()
    endif()
    add_executable(${name} ${arg_SOURCES})
    target_link_libraries(${name} PRIVATE ct_flags ${arg_LIBS} ct::cmocka)
    foreach(symbol IN LISTS arg_WRAP)
        target_link_options(${name} PRIVATE -Wl,--wrap=${symbol})
    endforeach()
    ct_test(${name} COMMAND ${name} LABEL unit TIMEOUT ${arg_TIMEOUT})
endfunction()

# ct_test(NAME COMMAND program args… [LABEL unit|fuzz] [TIMEOUT seconds])
# Any other test that ctest runs: a script, a golden comparison.
function(ct_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "LABEL;TIMEOUT" "COMMAND")
    if(NOT arg_LABEL)
        set(arg_LABEL unit)
    endif()
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 120)
    endif()
    add_test(NAME ${name} COMMAND ${arg_COMMAND} WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}")
    set_tests_properties(${name} PROPERTIES
        SKIP_RETURN_CODE 77 LABELS ${arg_LABEL} TIMEOUT ${arg_TIMEOUT}
        ENVIRONMENT "CT_BUILD_DIR=${CMAKE_BINARY_DIR};CT_SOURCE_DIR=${CMAKE_SOURCE_DIR}")
endfunction()

# All harnesses, and nothing else of the build.
if(CT_FUZZ)
    add_custom_target(fuzzers)
endif()

# ct_fuzz(NAME SOURCES… [LIBS…] [CORPUS folder])
# A libFuzzer harness (LLVMFuzzerTestOneInput). In the preset `fuzz` it becomes fuzz/NAME, which
# `make test-fuzz` runs; in every other build it replays its corpus in ctest, label `fuzz`. The
# corpus of fuzz_x is test/fuzz/corpus/x unless CORPUS says otherwise.
function(ct_fuzz name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "CORPUS" "SOURCES;LIBS")
    ct_check_arguments(${name})
    if(NOT arg_CORPUS)
        string(REGEX REPLACE "^fuzz_" "" what "${name}")
        set(arg_CORPUS "${CMAKE_SOURCE_DIR}/test/fuzz/corpus/${what}")
    endif()
    add_executable(${name} ${arg_SOURCES})
    target_link_libraries(${name} PRIVATE ct_flags ${arg_LIBS})
    if(CT_FUZZ)
        target_link_options(${name} PRIVATE -fsanitize=fuzzer)
        set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/fuzz")
        add_dependencies(fuzzers ${name})
        file(WRITE "${CMAKE_BINARY_DIR}/fuzz/${name}.corpus" "${arg_CORPUS}\n")
    else()
        target_sources(${name} PRIVATE "${CMAKE_SOURCE_DIR}/cmake/fuzz_replay.c")
        ct_test(${name}_corpus COMMAND ${name} "${arg_CORPUS}" LABEL fuzz)
    endif()
endfunction()

macro(ct_check_arguments name)
    if(arg_UNPARSED_ARGUMENTS OR NOT arg_SOURCES)
        message(FATAL_ERROR "${name}: SOURCES missing, or unknown words: ${arg_UNPARSED_ARGUMENTS}")
    endif()
endmacro()
