// SPDX-License-Identifier: Apache-2.0
//
// Exit codes of the wrapper. Once the app runs the wrapper ends with the app's own code, or 128+n
// when signal n ended it; these are for what goes wrong before.
#ifndef CT_EXIT_CODE_H
#define CT_EXIT_CODE_H

enum ct_exit_code {
    CT_EXIT_SCORE = 100,       // the score is below the minimum
    CT_EXIT_LOGIN = 101,       // Vault refused the login
    CT_EXIT_SECRET = 102,      // a secret is missing or denied
    CT_EXIT_UNREACHABLE = 103, // Vault could not be reached, after retries
    CT_EXIT_CONFIGURATION = 104,
    CT_EXIT_OTHER = 125,
    CT_EXIT_NOT_EXECUTABLE = 126,
    CT_EXIT_NOT_FOUND = 127,
    CT_EXIT_SIGNAL = 128, // + the signal's number
};

#endif
