// SPDX-License-Identifier: Apache-2.0
//
// A decision told in words.
#ifndef CT_CLI_WORDS_H
#define CT_CLI_WORDS_H

#include <stdio.h>

#include "decide.h"
#include "terminal.h"

// "document 2 (line 14), ", in `room`; "" for an object that comes from the cluster.
const char *ct_words_place(const struct ct_manifest_pod *pod, char *room, size_t size);
// "document 2 (line 14), Deployment shop/web: would be protected", in one line. With the sentence for
// what is refused.
void ct_words_outcome(FILE *out, const struct ct_paint *paint, const struct ct_manifest_pod *pod,
                      const struct ct_verdict *verdict);
// Minimum and what the pod gives of it, in one line. Nothing for a pod that was not judged.
void ct_words_minimum(FILE *out, const struct ct_verdict *verdict);
// The warnings, each in a line.
void ct_words_warnings(FILE *out, const struct ct_verdict *verdict);
// All of it: outcome, what is changed and why, minimum, warnings.
void ct_words_tell(FILE *out, const struct ct_paint *paint, const struct ct_manifest_pod *pod,
                   const struct ct_verdict *verdict);

#endif
