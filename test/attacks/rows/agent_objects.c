// SPDX-License-Identifier: Apache-2.0
// Take hold of one of the agent's maps, programs or links, by its pin or by its number, and use it. Which, is in the
// program's name.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "insn.h"
#include "ring.h"
#include "row.h"

static enum row_result take_map(void)
{
    if (row_open_pin(row_pin("maps/ct_marks")) >= 0) {
        return ROW_LEAKED;
    }
    int number = errno;
    if (row_find(ROW_MAP, "ct_marks") >= 0) {
        return ROW_LEAKED;
    }
    errno = number;
    return row_from_errno("bpf");
}

// Its user, the agent, cannot write it any more.
static enum row_result freeze_map(void)
{
    int fd = row_open_pin(row_pin("maps/ct_exempts"));
    union bpf_attr attr = {.map_fd = (unsigned)fd};
    return fd >= 0 && row_bpf(BPF_MAP_FREEZE, &attr) == 0 ? ROW_LEAKED : row_from_errno("bpf");
}

static enum row_result take_program(void)
{
    return row_find(ROW_PROGRAM, "ct_fork") >= 0 ? ROW_LEAKED : row_from_errno("bpf");
}

// Puts a program that lets all pass in the place of a link's, and takes the link off.
static enum row_result use_link(int link)
{
    int program = link >= 0 ? row_load_sysctl() : -1;
    union bpf_attr update = {
        .link_update = {.link_fd = (unsigned)link, .new_prog_fd = (unsigned)program}};
    union bpf_attr detach = {.link_detach = {.link_fd = (unsigned)link}};
    if (link < 0) {
        return row_from_errno("bpf");
    }
    bool updated = program >= 0 && row_bpf(BPF_LINK_UPDATE, &update) == 0;
    bool detached = row_bpf(BPF_LINK_DETACH, &detach) == 0;
    return updated || detached ? ROW_LEAKED : row_from_errno("bpf");
}

// The first link that is pinned for a generation of programs; -1 with errno.
static int open_pinned_link(void)
{
    int link = -1;
    DIR *pins = opendir(row_agent().pins);
    for (const struct dirent *e; link < 0 && pins != NULL && (e = readdir(pins)) != NULL;) {
        DIR *folder = strncmp(e->d_name, "gen-", 4) == 0 ? opendir(row_pin(e->d_name)) : NULL;
        for (const struct dirent *pin; link < 0 && folder && (pin = readdir(folder)) != NULL;) {
            char path[600];
            (void)snprintf(path, sizeof(path), "%s/%s", e->d_name, pin->d_name);
            link = pin->d_name[0] != '.' ? row_open_pin(row_pin(path)) : -1;
        }
        if (folder != NULL) {
            closedir(folder);
        }
    }
    return link;
}

enum row_result row_attack(const struct row_victim *victim)
{
    const char *name = row_name();
    (void)victim;
    if (strstr(name, "_freeze") != NULL) {
        return freeze_map();
    }
    if (strstr(name, "_program") != NULL) {
        return take_program();
    }
    if (strstr(name, "_link_pin") != NULL) {
        return use_link(open_pinned_link());
    }
    return strstr(name, "_link") != NULL ? use_link(row_find(ROW_LINK, NULL)) : take_map();
}
