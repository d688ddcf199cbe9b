// SPDX-License-Identifier: Apache-2.0
//
// Prints the webhook's options as the table that docs/configuration.md holds.
#include "settings.h"

int main(void)
{
    ct_option_markdown(&ct_webhook_options, stdout);
    return ferror(stdout) != 0;
}
