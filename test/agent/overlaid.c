// SPDX-License-Identifier: Apache-2.0
// A program and libraries whose bytes somebody else may change.
//   overlaid hold FOLDER   maps all files of the folder to run them, writes into its own (FOLDER/own), and prints `ready PID`;
//                          then `changed NAME` for each that changes under it, or `changed program`
//   overlaid write FILE    writes into a file. Exit status 0: refused, 1: written, 3: neither
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FILES_MAX 16
// The last byte of an ELF file's first 16, which means nothing.
#define PLACE 15

struct mapped {
    char name[256];
    const volatile char *bytes;
    char seen;
};

// Where the linker puts what the program's file begins with.
extern const char __ehdr_start[];

static int write_at_place(const char *path)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && pwrite(fd, "!", 1, PLACE) == 1;
    int status = written ? 1 : errno == EPERM || errno == EACCES ? 0 : 3;
    puts(written ? "written" : strerror(errno));
    if (fd >= 0) {
        close(fd);
    }
    return status;
}

static bool map_file(const char *folder, const char *name, struct mapped *ret)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    const char *bytes =
        fd >= 0 ? mmap(NULL, PLACE + 1, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    if (fd >= 0) {
        close(fd);
    }
    if (bytes == MAP_FAILED) {
        perror(path);
        return false;
    }
    snprintf(ret->name, sizeof(ret->name), "%s", name);
    ret->bytes = bytes;
    return true;
}

static int hold(const char *folder)
{
    struct mapped files[FILES_MAX] = {{.name = "program", .bytes = __ehdr_start}};
    size_t n = 1;
    char own[512];
    DIR *entries = opendir(folder);
    for (const struct dirent *e; entries != NULL && (e = readdir(entries)) != NULL;) {
        if (e->d_name[0] == '.' || n == FILES_MAX) {
            continue;
        }
        if (!map_file(folder, e->d_name, &files[n++])) {
            return 2;
        }
    }
    snprintf(own, sizeof(own), "%s/own", folder);
    printf("own ");
    (void)write_at_place(own);
    for (size_t i = 0; i < n; i++) {
        files[i].seen = files[i].bytes[PLACE];
    }
    printf("ready %d\n", (int)getpid());
    fflush(stdout);
    for (;;) {
        for (size_t i = 0; i < n; i++) {
            if (files[i].bytes[PLACE] != files[i].seen) {
                files[i].seen = files[i].bytes[PLACE];
                printf("changed %s\n", files[i].name);
                fflush(stdout);
            }
        }
        usleep(5000);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "hold") == 0) {
        return hold(argv[2]);
    }
    if (argc == 3 && strcmp(argv[1], "write") == 0) {
        return write_at_place(argv[2]);
    }
    fputs("usage: overlaid hold FOLDER | overlaid write FILE\n", stderr);
    return 2;
}
