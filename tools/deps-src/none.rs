// SPDX-License-Identifier: Apache-2.0
// A package needs a target; this one has nothing to compile.
