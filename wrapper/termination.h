// SPDX-License-Identifier: Apache-2.0
//
// The container's termination message, which kubelet shows in the pod's status.
#ifndef CT_TERMINATION_H
#define CT_TERMINATION_H

#define CT_TERMINATION_PATH "/dev/termination-log"
#define CT_TERMINATION_MAX 4096 // what kubelet takes of it

// Writes the sentence to the file at `path` if that is there and a regular file; never creates one.
// What cannot be written is lost: the same sentence is in the log. Control characters become '?'.
void ct_termination_write(const char *path, const char *sentence);

#endif
