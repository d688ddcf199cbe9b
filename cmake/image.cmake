# SPDX-License-Identifier: Apache-2.0
# Toolchain: programs for an image from scratch, by Debian's gcc for CT_IMAGE_ARCH (amd64 or arm64),
# against nothing but CT_IMAGE_PREFIX, which tools/deps-webhook makes.

set(CMAKE_SYSTEM_NAME Linux)
if(CT_IMAGE_ARCH STREQUAL "arm64")
    set(CMAKE_SYSTEM_PROCESSOR aarch64)
    set(branch_protection -mbranch-protection=standard)
else()
    set(CMAKE_SYSTEM_PROCESSOR x86_64)
    set(branch_protection -fcf-protection)
endif()
set(triple ${CMAKE_SYSTEM_PROCESSOR}-linux-gnu)
set(CMAKE_C_COMPILER ${triple}-gcc)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES CT_IMAGE_ARCH CT_IMAGE_PREFIX)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

# What is not used is left out.
set(CMAKE_C_FLAGS_INIT
    "${branch_protection} -fstack-protector-strong -ffunction-sections -fdata-sections")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-Wl,--gc-sections,--build-id=sha1 -s")

set(CMAKE_PREFIX_PATH "${CT_IMAGE_PREFIX}/curl;${CT_IMAGE_PREFIX}/sysroot/usr")
set(CMAKE_SYSROOT "${CT_IMAGE_PREFIX}/sysroot")
set(CMAKE_FIND_ROOT_PATH "${CT_IMAGE_PREFIX}")
foreach(kind LIBRARY INCLUDE PACKAGE)
    set(CMAKE_FIND_ROOT_PATH_MODE_${kind} ONLY)
endforeach()
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(ENV{PKG_CONFIG_SYSROOT_DIR} "${CMAKE_SYSROOT}")
set(ENV{PKG_CONFIG_LIBDIR} "${CMAKE_SYSROOT}/usr/lib/${triple}/pkgconfig")
