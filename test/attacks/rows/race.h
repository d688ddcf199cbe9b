// SPDX-License-Identifier: Apache-2.0
//
// What attacks share that change a system call's arguments while somebody looks at them: another thread, on a processor
// of its own where there are two.
#ifndef CT_ROW_RACE_H
#define CT_ROW_RACE_H

#include <stdbool.h>

// Calls `show` over and over, with true and with false for as long each. False: there is no such thread.
bool row_race_begin(void (*show)(bool harmless));
void row_race_end(void);

// Whether to try once more: `number` tries are behind, of which none has come to anything yet, or one has.
bool row_race_goes_on(int number, bool came_to_something);

#endif
