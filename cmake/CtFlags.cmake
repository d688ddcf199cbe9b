# SPDX-License-Identifier: Apache-2.0
# How all of the project's own C is compiled; nothing is set globally. Two interface targets: ct_base
# has language, warnings and hardening, ct_flags adds how this build is linked and instrumented.

if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# One place for the version; programs print CT_VERSION.
configure_file("${CMAKE_SOURCE_DIR}/cmake/ct_version.h.in"
               "${CMAKE_BINARY_DIR}/generated/ct_version.h" @ONLY)

add_library(ct_base INTERFACE)
target_include_directories(ct_base INTERFACE "${CMAKE_BINARY_DIR}/generated")
target_compile_options(ct_base INTERFACE "SHELL:-iquote ${CMAKE_SOURCE_DIR}")
target_compile_definitions(ct_base INTERFACE _GNU_SOURCE)
target_compile_options(ct_base INTERFACE
    -Wall -Wextra -Werror
    -Wshadow -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wmissing-declarations
    -Wold-style-definition -Wredundant-decls -Wundef -Wpointer-arith -Wwrite-strings -Wvla
    -Wimplicit-fallthrough -Wnested-externs -Wfloat-equal -Wdate-time
    -fno-common -fno-strict-aliasing -fno-delete-null-pointer-checks
    -fstack-protector-strong)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    target_compile_options(ct_base INTERFACE
        -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wjump-misses-init
        -Walloc-zero -Wtrampolines -fstack-clash-protection)
endif()
# Returns and indirect jumps that were not compiled are refused, where the processor can tell.
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64")
    target_compile_options(ct_base INTERFACE -mbranch-protection=standard)
else()
    target_compile_options(ct_base INTERFACE -fcf-protection)
endif()
target_link_options(ct_base INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)
# An object that ccache kept of another clone must not lead a debugger there.
if(CMAKE_C_COMPILER_LAUNCHER)
    target_compile_options(ct_base INTERFACE "-ffile-prefix-map=${CMAKE_SOURCE_DIR}=.")
endif()

add_library(ct_flags INTERFACE)
target_link_libraries(ct_flags INTERFACE ct_base)
if(CT_SANITIZE)
    target_compile_options(ct_flags INTERFACE
        -fsanitize=${CT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all -g)
    target_link_options(ct_flags INTERFACE -fsanitize=${CT_SANITIZE})
elseif(CMAKE_BUILD_TYPE MATCHES "^(Release|RelWithDebInfo|MinSizeRel)$")
    target_compile_definitions(ct_flags INTERFACE _FORTIFY_SOURCE=2)
endif()
if(CT_COVERAGE)
    target_compile_options(ct_flags INTERFACE --coverage -fprofile-update=atomic)
    target_link_options(ct_flags INTERFACE --coverage)
endif()
if(CT_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
        message(FATAL_ERROR "CT_FUZZ needs clang: use the preset 'fuzz'")
    endif()
    target_compile_definitions(ct_flags INTERFACE CT_FUZZ=1)
    target_compile_options(ct_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

if(CT_STATIC)
    target_compile_options(ct_flags INTERFACE
        -ffunction-sections -fdata-sections -fno-unwind-tables -fno-asynchronous-unwind-tables)
    if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
        # musl-gcc knows -static but not -static-pie: its start file and the linker's options by hand.
        target_link_options(ct_flags INTERFACE
            -static -nostartfiles "${CT_MUSL_LIB}/rcrt1.o"
            -Wl,-pie,--no-dynamic-linker,-z,text,--gc-sections -s)
    else()
        target_link_options(ct_flags INTERFACE -static -pie -Wl,--gc-sections -s)
    endif()
else()
    target_link_options(ct_flags INTERFACE -pie)
endif()
