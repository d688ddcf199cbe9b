# SPDX-License-Identifier: Apache-2.0
# Toolchain: static x86-64 programs by Debian's musl-gcc. musl brings no kernel headers; the prefix
# that tools/deps makes has a folder of links to this machine's.

set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(CMAKE_C_COMPILER musl-gcc)
set(CT_MUSL_LIB /usr/lib/x86_64-linux-musl)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES CMAKE_PREFIX_PATH)
set(CMAKE_C_FLAGS_INIT "-isystem ${CMAKE_PREFIX_PATH}/kernel-headers")
# Only the prefix: a library of the machine's glibc must never be found.
set(CMAKE_FIND_ROOT_PATH "${CMAKE_PREFIX_PATH}")
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
