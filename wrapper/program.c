// SPDX-License-Identifier: Apache-2.0
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#define DEFAULT_PATH "/usr/local/bin:/bin:/usr/bin"

int ct_program_exec_error(const char *path, int errno_value, struct ct_err *err)
{
    static const struct {
        int value;
        enum ct_code code;
        const char *why;
    } known[] = {
        {ENOENT, CT_ENOTFOUND, "it, or the interpreter that it names, does not exist"},
        {ENOTDIR, CT_ENOTFOUND, "a part of its path is no folder"},
        {EACCES, CT_ENOEXEC,
         "it must be a file with execute permission for this user, on a file "
         "system that is not mounted noexec"},
        {ENOEXEC, CT_ENOEXEC,
         "it is neither a program for this machine nor a script whose first "
         "line names its interpreter"},
        {E2BIG, CT_ENOEXEC, "its arguments and environment are too long"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(known); i++) {
        if (known[i].value == errno_value) {
            return ct_err_set(err, known[i].code, "%s cannot be started: %s (%s)", path,
                              known[i].why, ct_err_name(errno_value));
        }
    }
    return ct_err_set(err, CT_ENOEXEC, "%s cannot be started: %s (%s)", path, strerror(errno_value),
                      ct_err_name(errno_value));
}

// 0, or the errno that execve would give for the file itself.
static int check_file(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        return errno;
    }
    if (!S_ISREG(st.st_mode) || faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) != 0) {
        return EACCES;
    }
    return 0;
}

static bool join(const char *folder, size_t folder_len, const char *name, char *out, size_t size)
{
    size_t name_len = strlen(name);
    if (folder_len + 1 + name_len >= size) {
        return false;
    }
    memcpy(out, folder, folder_len);
    size_t at = folder_len;
    if (at > 0) {
        out[at++] = '/'; // an empty folder is the current one
    }
    memcpy(out + at, name, name_len + 1);
    return true;
}

static int find_in_path(const char *name, const char *path, char *out, size_t out_size,
                        struct ct_err *err)
{
    bool denied = false;
    const char *folder = path;
    for (bool more = true; more;) {
        size_t len = strcspn(folder, ":");
        if (join(folder, len, name, out, out_size)) {
            int problem = check_file(out);
            if (problem == 0) {
                return 0;
            }
            denied = denied || problem == EACCES;
        }
        more = folder[len] == ':';
        folder += len + 1;
    }
    if (denied) {
        return ct_err_set(err, CT_ENOEXEC,
                          "%s cannot be started: it is in PATH (%s), without execute permission "
                          "for this user (EACCES)",
                          name, path);
    }
    return ct_err_set(err, CT_ENOTFOUND, "%s cannot be started: it is in no folder of PATH (%s)",
                      name, path);
}

int ct_program_find(const char *name, const char *path, char *out, size_t out_size,
                    struct ct_err *err)
{
    if (name == NULL || name[0] == '\0') {
        return ct_err_set(err, CT_ENOTFOUND, "no program was named");
    }
    if (strchr(name, '/') == NULL) {
        return find_in_path(name, path != NULL ? path : DEFAULT_PATH, out, out_size, err);
    }
    if (strlen(name) >= out_size) {
        return ct_program_exec_error(name, ENAMETOOLONG, err);
    }
    memcpy(out, name, strlen(name) + 1);
    int problem = check_file(out);
    return problem == 0 ? 0 : ct_program_exec_error(out, problem, err);
}

int ct_program_check(const char *path, const char *shown, struct ct_err *err)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        return ct_err_errno(err, "%s cannot be looked at", shown);
    }
    bool group = (st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP);
    if ((st.st_mode & S_ISUID) != 0 || group) {
        return ct_err_set(err, CT_EDENIED,
                          "%s is set-%s, which a program loses when secrets are delivered to it: "
                          "clear the bit (chmod %s-s) or leave this container out",
                          shown, group ? "gid" : "uid", group ? "g" : "u");
    }
    if (getxattr(path, "security.capability", NULL, 0) > 0) {
        return ct_err_set(err, CT_EDENIED,
                          "%s has file capabilities, which a program loses when secrets are "
                          "delivered to it: remove them (setcap -r) or leave this container out",
                          shown);
    }
    return 0;
}

int ct_program_check_started(const char *path, const char *shown, uid_t uid, gid_t gid,
                             bool no_new_privs, struct ct_err *err)
{
    struct stat st;
    struct statvfs fs;
    if (stat(path, &st) != 0 || statvfs(path, &fs) != 0) {
        return ct_err_errno(err, "%s cannot be looked at", shown);
    }
    if (no_new_privs || (fs.f_flag & ST_NOSUID) != 0) {
        return 0; // there was nothing to have
    }
    bool user = (st.st_mode & S_ISUID) != 0 && st.st_uid != uid;
    bool group = (st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && st.st_gid != gid;
    // Root has its capabilities whatever the file says.
    bool file = uid != 0 && getxattr(path, "security.capability", NULL, 0) > 0;
    if (!user && !group && !file) {
        return 0;
    }
    return ct_err_set(err, CT_EDENIED,
                      "%s %s, which a program loses when its launcher is followed: start the app "
                      "without it, or set the annotation cloudtaser.io/launcher to \"deliver\"",
                      shown,
                      user    ? "is set-uid"
                      : group ? "is set-gid"
                              : "has file capabilities");
}
