# SPDX-License-Identifier: Apache-2.0
# cmake -DWRAPPER=FILE -DOUT=HEADER -P wrapper_digest.cmake: what the injector compares its copy with.
file(SIZE "${WRAPPER}" length)
file(SHA256 "${WRAPPER}" sha256)
file(WRITE "${OUT}"
"// SPDX-License-Identifier: Apache-2.0
// Generated from the wrapper of the same build.
#define CT_WRAPPER_LENGTH ${length}ULL
#define CT_WRAPPER_SHA256 \"${sha256}\"
")
