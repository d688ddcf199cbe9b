// SPDX-License-Identifier: Apache-2.0
//
// `cloudtaser-agent retire`: before the chart is removed, each node's agent takes its programs and labels
// away, since nobody could once its DaemonSet and its rights are gone. The chart's pre-delete hook runs it.
#ifndef CT_RETIRE_H
#define CT_RETIRE_H

// The command; returns its exit status.
int ct_retire_main(int argc, char **argv);

#endif
