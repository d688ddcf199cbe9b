# SPDX-License-Identifier: Apache-2.0
# The target `static`: the same source tree, built once more with CT_STATIC=ON by musl-gcc, in
# ${build}/static. It is checked anew at every build and does nothing when nothing has changed.
# Result: ${build}/static/wrapper/cloudtaser-wrapper and ${build}/static/injector/cloudtaser-injector.

include(ExternalProject)

set(CT_DEPS_TOOL "${CMAKE_SOURCE_DIR}/tools/deps")
if(EXISTS "${CT_DEPS_TOOL}")
    # The prefix is keyed by its pins and its script: ask again when one of them changes.
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
        "${CT_DEPS_TOOL}" "${CMAKE_SOURCE_DIR}/tools/deps-src/Cargo.lock")
    execute_process(COMMAND "${CT_DEPS_TOOL}" --print
        OUTPUT_VARIABLE CT_STATIC_PREFIX OUTPUT_STRIP_TRAILING_WHITESPACE
        RESULT_VARIABLE status)
    if(status EQUAL 0)
        add_custom_target(static_deps COMMAND "${CT_DEPS_TOOL}" USES_TERMINAL VERBATIM
            COMMENT "Checking the static libraries")
        ExternalProject_Add(static
            SOURCE_DIR "${CMAKE_SOURCE_DIR}"
            BINARY_DIR "${CMAKE_BINARY_DIR}/static"
            PREFIX "${CMAKE_BINARY_DIR}/static-stamps"
            DEPENDS static_deps
            # Afresh when one of these changes: another prefix must not meet old cache entries.
            CMAKE_ARGS
                --fresh
                -DCT_STATIC=ON
                -DCMAKE_TOOLCHAIN_FILE=${CMAKE_SOURCE_DIR}/cmake/musl-x86_64.cmake
                -DCMAKE_PREFIX_PATH=${CT_STATIC_PREFIX}
                -DCMAKE_BUILD_TYPE=Release
            BUILD_ALWAYS ON
            INSTALL_COMMAND ""
            EXCLUDE_FROM_ALL ON
            USES_TERMINAL_BUILD ON)
    else()
        message(WARNING "tools/deps --print failed: no target 'static'")
    endif()
endif()
