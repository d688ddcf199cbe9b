# SPDX-License-Identifier: Apache-2.0
# The targets `static` and `static-arm64`: the same source tree, built once more with CT_STATIC=ON for
# one machine, in ${build}/static and ${build}/static-arm64. They are checked anew at every build and
# do nothing when nothing has changed. Result, likewise in static-arm64:
# ${build}/static/wrapper/cloudtaser-wrapper and ${build}/static/injector/cloudtaser-injector.

include(ExternalProject)

set(CT_DEPS_TOOL "${CMAKE_SOURCE_DIR}/tools/deps")

# ct_static_build(TARGET MACHINE): MACHINE as tools/deps and cmake/musl-MACHINE.cmake have it.
function(ct_static_build target machine)
    execute_process(COMMAND "${CT_DEPS_TOOL}" --print ${machine}
        OUTPUT_VARIABLE prefix OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE status)
    if(NOT status EQUAL 0)
        message(WARNING "tools/deps --print ${machine} failed: no target '${target}'")
        return()
    endif()
    add_custom_target(${target}_deps COMMAND "${CT_DEPS_TOOL}" ${machine} USES_TERMINAL VERBATIM
        COMMENT "Checking the static libraries for ${machine}")
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
        BUILD_ALWAYS ON
        INSTALL_COMMAND ""
        EXCLUDE_FROM_ALL ON
        USES_TERMINAL_BUILD ON)
endfunction()

if(EXISTS "${CT_DEPS_TOOL}")
    # The prefixes are keyed by their pins and their script: ask again when one of them changes.
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
        "${CT_DEPS_TOOL}" "${CMAKE_SOURCE_DIR}/tools/deps-src/Cargo.lock"
        "${CMAKE_SOURCE_DIR}/tools/deps-src/zig.txt")
    ct_static_build(static x86_64)
    ct_static_build(static-arm64 aarch64)
endif()
