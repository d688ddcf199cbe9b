# SPDX-License-Identifier: Apache-2.0
# Toolchain: static aarch64 programs by the Zig compiler's clang, with its musl and its kernel headers.
# The prefix that tools/deps makes has it in bin/.

set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER "${CMAKE_PREFIX_PATH}/bin/aarch64-linux-musl-cc")
set(CMAKE_AR "${CMAKE_PREFIX_PATH}/bin/aarch64-linux-musl-ar" CACHE FILEPATH "")
set(CMAKE_RANLIB "${CMAKE_PREFIX_PATH}/bin/aarch64-linux-musl-ranlib" CACHE FILEPATH "")
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES CMAKE_PREFIX_PATH)
# Only the prefix: a library of this machine's must never be found.
set(CMAKE_FIND_ROOT_PATH "${CMAKE_PREFIX_PATH}")
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
