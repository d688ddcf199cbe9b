# SPDX-License-Identifier: Apache-2.0
# The targets `static` and `static-arm64`: the same source tree, built once more with CT_STATIC=ON for
# one machine, in ${build}/static and ${build}/static-arm64. They are checked anew at every build and
# do nothing when nothing has changed. Result, likewise in static-arm64:
# ${build}/static/wrapper/cloudtaser-wrapper and ${build}/static/injector/cloudtaser-injector.
# And `static-agent`, for x86_64: ${build}/static-agent/bpf/cloudtaser-agent.

include(ExternalProject)

set(CT_DEPS_TOOL "${CMAKE_SOURCE_DIR}/tools/deps")
set(CT_DEPS_AGENT_TOOL "${CMAKE_SOURCE_DIR}/tools/deps-agent")

# ct_static_build(TARGET MACHINE TOOL [ARGUMENT…] [OPTIONS option…]): MACHINE as cmake/musl-MACHINE.cmake has it;
# TOOL makes the libraries, and prints with --print where they are; OPTIONS are CMake's.
function(ct_static_build target machine)
    cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "TOOL;OPTIONS")
    list(POP_FRONT arg_TOOL tool)
    execute_process(COMMAND "${tool}" --print ${arg_TOOL}
        OUTPUT_VARIABLE prefix OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE status)
    if(NOT status EQUAL 0)
        message(WARNING "${tool} --print failed: no target '${target}'")
        return()
    endif()
    add_custom_target(${target}_deps COMMAND "${tool}" ${arg_TOOL} USES_TERMINAL VERBATIM
        COMMENT "Checking the static libraries for ${target}")
    ExternalProject_Add(${target}
        SOURCE_DIR "${CMAKE_SOURCE_DIR}"
        BINARY_DIR "${CMAKE_BINARY_DIR}/${target}"
        PREFIX "${CMAKE_BINARY_DIR}/${target}-stamps"
        DEPENDS ${target}_deps
        # Afresh when one of these changes: another prefix must not meet old cache entries.
        CMAKE_ARGS
            --fresh
            -DCT_STATIC=ON
            -DCMAKE_TOOLCHAIN_FILE=${CMAKE_SOURCE_DIR}/cmake/musl-${machine}.cmake
            -DCMAKE_PREFIX_PATH=${prefix}
            -DCMAKE_BUILD_TYPE=Release
            ${arg_OPTIONS}
        BUILD_ALWAYS ON
        INSTALL_COMMAND ""
        EXCLUDE_FROM_ALL ON
        USES_TERMINAL_BUILD ON)
endfunction()

if(EXISTS "${CT_DEPS_TOOL}")
    # The prefixes are keyed by their pins and their script: ask again when one of them changes.
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
        "${CT_DEPS_TOOL}" "${CMAKE_SOURCE_DIR}/tools/deps-src/Cargo.lock"
        "${CMAKE_SOURCE_DIR}/tools/deps-src/zig.txt"
        "${CT_DEPS_AGENT_TOOL}" "${CMAKE_SOURCE_DIR}/tools/deps-src/agent/CMakeLists.txt")
    ct_static_build(static x86_64 TOOL "${CT_DEPS_TOOL}" x86_64)
    ct_static_build(static-arm64 aarch64 TOOL "${CT_DEPS_TOOL}" aarch64)
    # The programs for the kernel are for x86-64 alone.
    ct_static_build(static-agent x86_64 TOOL "${CT_DEPS_AGENT_TOOL}" OPTIONS
        -DCT_AGENT=ON "-DCMAKE_C_FLAGS_RELEASE=-Os -DNDEBUG")
endif()
