# SPDX-License-Identifier: Apache-2.0
# Other people's libraries, as targets ct::NAME. Dynamic ones by pkg-config; static ones from the
# prefix that tools/deps makes (CMAKE_PREFIX_PATH).
#
#   both worlds:   ct::crypto ct::ssl ct::curl ct::jansson ct::threads; ct::bpf, statically of the agent alone
#   dynamic only:  ct::microhttpd ct::gnutls ct::cap ct::seccomp ct::yaml ct::cmocka
#
# The webhook of the image (CT_IMAGE_PREFIX) is dynamic too, but for libcurl, which is our own, and for
# OpenSSL: linked from Debian's archives it takes 1 MB less.

# A dynamic library that is not installed only matters to those who link it: then CMake names the
# missing target, and tools/setup is what installs it.
function(ct_find_dynamic name module)
    pkg_check_modules(CT_${name} QUIET IMPORTED_TARGET GLOBAL ${module})
    if(CT_${name}_FOUND)
        add_library(ct::${name} ALIAS PkgConfig::CT_${name})
    else()
        message(WARNING "pkg-config does not find ${module}: run tools/setup")
    endif()
endfunction()

function(ct_find_static name)
    cmake_parse_arguments(arg "" "" "DEFINES;LIBS" ${ARGN})
    find_library(CT_${name}_ARCHIVE NAMES lib${name}.a PATHS ${CMAKE_PREFIX_PATH}
                 PATH_SUFFIXES lib lib/${CMAKE_LIBRARY_ARCHITECTURE} NO_DEFAULT_PATH REQUIRED)
    string(REGEX REPLACE "^(.*)/lib/.*$" "\\1" prefix "${CT_${name}_ARCHIVE}")
    add_library(ct::${name} STATIC IMPORTED GLOBAL)
    set_target_properties(ct::${name} PROPERTIES
        IMPORTED_LOCATION "${CT_${name}_ARCHIVE}"
        INTERFACE_INCLUDE_DIRECTORIES "${prefix}/include"
        INTERFACE_COMPILE_DEFINITIONS "${arg_DEFINES}"
        INTERFACE_LINK_LIBRARIES "${arg_LIBS}")
endfunction()

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
add_library(ct::threads ALIAS Threads::Threads)

if(CT_STATIC)
    ct_find_static(crypto)
    ct_find_static(ssl LIBS ct::crypto)
    ct_find_static(curl DEFINES CURL_STATICLIB LIBS ct::ssl)
    ct_find_static(jansson)
    if(CT_AGENT)
        ct_find_static(z)
        ct_find_static(elf LIBS ct::z)
        ct_find_static(bpf LIBS ct::elf)
    endif()
else()
    find_package(PkgConfig REQUIRED)
    if(CT_IMAGE_PREFIX)
        ct_find_static(crypto)
        ct_find_static(ssl LIBS ct::crypto)
        ct_find_static(curl DEFINES CURL_STATICLIB LIBS ct::ssl)
    else()
        ct_find_dynamic(crypto libcrypto)
        ct_find_dynamic(ssl libssl)
        # As in the static world: who asks for ct::ssl may call libcrypto too.
        if(TARGET PkgConfig::CT_ssl AND TARGET PkgConfig::CT_crypto)
            set_property(TARGET PkgConfig::CT_ssl APPEND PROPERTY
                INTERFACE_LINK_LIBRARIES PkgConfig::CT_crypto)
        endif()
        ct_find_dynamic(curl libcurl)
        ct_find_dynamic(bpf libbpf)
        ct_find_dynamic(cap libcap)
        ct_find_dynamic(seccomp libseccomp)
        ct_find_dynamic(cmocka cmocka)
    endif()
    ct_find_dynamic(jansson jansson)
    ct_find_dynamic(microhttpd libmicrohttpd)
    ct_find_dynamic(gnutls gnutls)
    ct_find_dynamic(yaml yaml-0.1)
endif()
