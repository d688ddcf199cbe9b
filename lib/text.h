// SPDX-License-Identifier: Apache-2.0
//
// What may stand in a text that a stranger wrote: small predicates that the parsers share. None
// allocates, all are thread-safe and independent of the locale.
#ifndef CT_TEXT_H
#define CT_TEXT_H

#include <stdbool.h>
#include <stddef.h>

// Letters, digits and these: the characters of a path of Vault's API.
#define CT_TEXT_PATH_CHARACTERS "-._~@+=:/"

// ASCII only, whatever the locale.
bool ct_text_is_alnum(char c);
bool ct_text_is_digit(char c);

// Does the text consist of letters, digits and characters of `extra` alone? True when empty.
bool ct_text_consists(const char *s, size_t len, const char *extra);
// Does the text consist of printable ASCII, the space included? True when empty.
bool ct_text_is_printable(const char *s, size_t len);
// A path of Vault's API: CT_TEXT_PATH_CHARACTERS, no leading or trailing '/', no segment that is
// empty, "." or "..". False when empty.
bool ct_text_is_path(const char *s, size_t len);
// A DNS label and a DNS subdomain as Kubernetes names objects (RFC 1123, lower case).
bool ct_text_is_label(const char *s, size_t len);
bool ct_text_is_subdomain(const char *s, size_t len);
// A decimal number from 0 to max without sign or leading zero. False for anything else.
bool ct_text_number(const char *s, size_t len, unsigned long max, unsigned long *ret);

// A stranger's text made fit for a message: cut, with what is not printable ASCII shown as '?'.
// Use: ct_text_show(&(struct ct_shown){0}, s, len).
struct ct_shown {
    char text[84];
};
const char *ct_text_show(struct ct_shown *shown, const char *s, size_t len);

// Puts a '?' in the place of each byte that belongs to no character of UTF-8 (RFC 3629).
void ct_text_mend_utf8(char *s, size_t len);

// Steps through a comma-separated list: *entry and *len get the next entry without the spaces
// around it. *rest starts as the list and becomes NULL behind the last. False when it was NULL.
bool ct_text_next(const char **rest, const char **entry, size_t *len);

// What somebody who misspelt a name may have meant, by Levenshtein's distance: name `i` of `n`, as
// `name_of` tells it (NULL: not to be proposed). At most two letters differ, and half of the name is
// right; the first of the nearest. NULL when there is none.
const char *ct_text_nearest(const char *text, size_t len,
                            const char *(*name_of)(const void *cls, size_t i), const void *cls,
                            size_t n);

#endif
