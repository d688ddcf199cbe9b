// SPDX-License-Identifier: Apache-2.0
#include "delivery.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "attack.h"
#include "launch.h"
#include "pass.h"

#define AUX_MAX 64
#define ERRNO_MAX 4095
#define PAGE 4096u // the smallest there is: a read that stays in one never meets a hole half-way

static size_t string_size(const struct ct_secret_variable *v)
{
    return strlen(v->name) + 1 + v->value_len + 1;
}

size_t ct_delivery_offset(const struct ct_secrets *secrets, size_t i)
{
    size_t at = 0;
    for (size_t j = 0; j < i; j++) {
        at += string_size(&secrets->item[j]);
    }
    return at;
}

int ct_delivery_make(const struct ct_secrets *secrets, struct ct_delivery *ret, struct ct_err *err)
{
    *ret = (struct ct_delivery){.area = {.fd = -1}};
    size_t size = ct_delivery_offset(secrets, secrets->n);
    // An app without secrets is started the same way, with an empty page.
    if (ct_secmem_map(size > 0 ? size : 1, true, &ret->area, err) != 0) {
        return ct_err_wrap(err, "no memory for the app's secrets");
    }
    char *at = ret->area.base;
    for (size_t i = 0; i < secrets->n; i++) {
        const struct ct_secret_variable *v = &secrets->item[i];
        size_t name_len = strlen(v->name);
        memcpy(at, v->name, name_len);
        at[name_len] = '=';
        memcpy(at + name_len + 1, v->value, v->value_len + 1);
        at += name_len + 1 + v->value_len + 1;
    }
    return 0;
}

void ct_delivery_done(struct ct_delivery *d)
{
    if (d->shared) {
        ct_secmem_release(&d->area);
    } else {
        ct_secmem_unmap(&d->area);
    }
}

// Word by word, where process_vm_readv(2) is not allowed. Aligned words never meet a hole half-way.
static bool peek_app(pid_t pid, uintptr_t at, char *out, size_t size)
{
    for (size_t done = 0; done < size;) {
        size_t skip = (at + done) % sizeof(long);
        errno = 0;
        long word = ptrace(PTRACE_PEEKDATA, pid, at + done - skip, NULL);
        if (errno != 0) {
            return false;
        }
        size_t n = sizeof(word) - skip;
        n = n < size - done ? n : size - done;
        memcpy(out + done, (const char *)&word + skip, n);
        done += n;
    }
    return true;
}

static int read_app(pid_t pid, uintptr_t at, void *out, size_t size, struct ct_err *err)
{
    struct iovec local = {out, size};
    struct iovec remote = {(void *)at, size};
    if (process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)size) {
        return 0;
    }
    if (errno != EPERM && errno != ENOSYS) {
        return ct_err_set(err, CT_ESYSTEM, "the program's stack cannot be read");
    }
    if (!peek_app(pid, at, out, size)) {
        return ct_err_set(err, CT_EDENIED,
                          "the program's stack cannot be read (%s); a program that its user may "
                          "not read cannot be given secrets",
                          ct_err_name(errno));
    }
    return 0;
}

// At most `size` bytes of a string, always terminated.
static void read_string(pid_t pid, uintptr_t at, char *out, size_t size)
{
    size_t len = 0;
    while (len + 1 < size) {
        size_t want = PAGE - (at + len) % PAGE;
        want = want < size - 1 - len ? want : size - 1 - len;
        if (read_app(pid, at + len, out + len, want, NULL) != 0) {
            break;
        }
        size_t got = strnlen(out + len, want);
        len += got;
        if (got < want) {
            break;
        }
    }
    out[len] = '\0';
}

// Counts the addresses of a NULL-terminated array of the program.
static int count_pointers(pid_t pid, uintptr_t array, uintptr_t *ret, struct ct_err *err)
{
    uintptr_t chunk[PAGE / sizeof(uintptr_t)];
    uintptr_t n = 0;
    for (;;) {
        uintptr_t at = array + n * sizeof(uintptr_t);
        size_t want = PAGE - at % PAGE;
        int status = read_app(pid, at, chunk, want, err);
        if (status != 0) {
            return status;
        }
        for (size_t i = 0; i < want / sizeof(uintptr_t); i++, n++) {
            if (chunk[i] == 0) {
                *ret = n;
                return 0;
            }
        }
    }
}

int ct_stack_read(pid_t pid, uintptr_t sp, struct ct_stack *ret, struct ct_err *err)
{
    *ret = (struct ct_stack){.argv = sp + sizeof(uintptr_t)};
    int status = read_app(pid, sp, &ret->argc, sizeof(ret->argc), err);
    if (status != 0) {
        return status;
    }
    ret->envp = ret->argv + (ret->argc + 1) * sizeof(uintptr_t);
    status = count_pointers(pid, ret->envp, &ret->env_count, err);
    uintptr_t at = ret->envp + (ret->env_count + 1) * sizeof(uintptr_t);
    for (int i = 0; status == 0 && i < AUX_MAX; i++) {
        uintptr_t pair[2];
        status = read_app(pid, at, pair, sizeof(pair), err);
        if (status != 0 || pair[0] == AT_NULL) {
            break;
        }
        if (pair[0] == AT_SYSINFO_EHDR) {
            ret->vdso = pair[1];
            break;
        }
        at += sizeof(pair);
    }
    return status;
}

size_t ct_stack_argv(pid_t pid, const struct ct_stack *stack, char out[][CT_STACK_STRING_MAX],
                     size_t max)
{
    size_t n = stack->argc < max ? stack->argc : max;
    for (size_t i = 0; i < n; i++) {
        uintptr_t string;
        if (read_app(pid, stack->argv + i * sizeof(string), &string, sizeof(string), NULL) != 0) {
            return i;
        }
        read_string(pid, string, out[i], CT_STACK_STRING_MAX);
    }
    return n;
}

ssize_t ct_stack_string(pid_t pid, const struct ct_stack *stack, size_t i, char *out, size_t size)
{
    uintptr_t string;
    if (i >= stack->argc ||
        read_app(pid, stack->argv + i * sizeof(string), &string, sizeof(string), NULL) != 0) {
        return -1;
    }
    read_string(pid, string, out, size);
    size_t len = strlen(out);
    return len + 1 < size ? (ssize_t)len : -1;
}

// The beginning of an entry of its environment; false when it cannot be read.
static bool read_variable(pid_t pid, const struct ct_stack *stack, size_t i,
                          char out[CT_STACK_STRING_MAX])
{
    uintptr_t string;
    uintptr_t slot = stack->envp + i * sizeof(string);
    if (read_app(pid, slot, &string, sizeof(string), NULL) != 0) {
        return false;
    }
    read_string(pid, string, out, CT_STACK_STRING_MAX);
    return true;
}

bool ct_stack_has_variable(pid_t pid, const struct ct_stack *stack, const char *name)
{
    char found[CT_STACK_STRING_MAX];
    size_t len = strlen(name);
    for (size_t i = 0; i < stack->env_count; i++) {
        if (read_variable(pid, stack, i, found) && strncmp(found, name, len) == 0 &&
            found[len] == '=') {
            return true;
        }
    }
    return false;
}

// A system call of the app's whose refusal ends the delivery.
static int must_call(struct ct_inject *in, const char *what, long number, const long argument[6],
                     long *ret_value, struct ct_err *err)
{
    int status = ct_inject_call(in, number, argument, ret_value, err);
    if (status == 0 && *ret_value < 0 && *ret_value >= -ERRNO_MAX) {
        errno = (int)-*ret_value;
        status = ct_err_errno(err, "the app cannot be given its secrets: %s", what);
    }
    return status;
}

// The app maps the memfd that it inherited or was handed, and closes it: a stolen descriptor can be
// mapped.
static int map_secret(struct ct_delivery *d, struct ct_inject *in, struct ct_err *err)
{
    int fd = d->area.fd;
    int status = d->pass ? ct_pass_fd(in, d->area.fd, &fd, err) : 0;
    if (status != 0) {
        return status;
    }
    const long map[6] = {0, (long)d->area.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0};
    long value = 0;
    status = must_call(in, "mmap of its secret pages", SYS_mmap, map, &value, err);
    if (status != 0) {
        return status;
    }
    d->app_base = (uintptr_t)value;
    d->shared = true;
    d->fd_seen = ct_attack_descriptors(in->pid) == 1; // the control of the look after the close
    const long closing[6] = {fd};
    status = must_call(in, "close of its secret memfd", SYS_close, closing, &value, err);
    ct_close_fd(&d->area.fd);
    d->area.fd = -1;
    return status;
}

static int write_app(pid_t pid, uintptr_t at, const char *data, size_t size, struct ct_err *err)
{
    struct iovec local = {(void *)(uintptr_t)data, size};
    struct iovec remote = {(void *)at, size};
    if (process_vm_writev(pid, &local, 1, &remote, 1, 0) == (ssize_t)size) {
        return 0;
    }
    for (size_t done = 0; done < size; done += sizeof(long)) { // whole pages, so whole words
        long word;
        memcpy(&word, data + done, sizeof(word));
        if (ptrace(PTRACE_POKEDATA, pid, at + done, word) != 0) {
            return ct_err_errno(err, "the app cannot be given its secrets (PTRACE_POKEDATA)");
        }
        explicit_bzero(&word, sizeof(word));
    }
    return 0;
}

// Without memfd_secret: pages of the app's own, locked and kept out of dumps as far as it goes.
static int map_fallback(struct ct_delivery *d, struct ct_inject *in, struct ct_err *err)
{
    long size = (long)d->area.size;
    const long map[6] = {0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0};
    long value = 0;
    int status = must_call(in, "mmap of its pages", SYS_mmap, map, &value, err);
    if (status != 0) {
        return status;
    }
    d->app_base = (uintptr_t)value;
    const long lock[6] = {value, size, 0};
    long result = 0;
    status = ct_inject_call(in, SYS_mlock2, lock, &result, err);
    d->lock_errno = (int)-result;
    if (status == 0) {
        const long advice[6] = {value, size, MADV_DONTDUMP};
        status = ct_inject_call(in, SYS_madvise, advice, &result, err);
        d->dontdump_errno = (int)-result;
    }
    if (status == 0) {
        status = write_app(in->pid, d->app_base, d->area.base, d->area.size, err);
    }
    return status;
}

// Pages count against the app's own limit; for these calls it may use all of it.
static int map_in_app(struct ct_delivery *d, struct ct_inject *in, struct ct_err *err)
{
    struct rlimit old;
    bool raise = prlimit(in->pid, RLIMIT_MEMLOCK, NULL, &old) == 0 && old.rlim_cur != old.rlim_max;
    if (raise) {
        const struct rlimit all = {old.rlim_max, old.rlim_max};
        raise = prlimit(in->pid, RLIMIT_MEMLOCK, &all, NULL) == 0;
    }
    int status =
        d->area.kind == CT_SECMEM_SECRET ? map_secret(d, in, err) : map_fallback(d, in, err);
    if (raise && prlimit(in->pid, RLIMIT_MEMLOCK, &old, NULL) != 0 && status == 0) {
        status = ct_err_errno(err, "the app's RLIMIT_MEMLOCK cannot be restored");
    }
    return status;
}

static int point_slot(const struct ct_inject *in, const struct ct_stack *stack, size_t i,
                      uintptr_t value, struct ct_err *err)
{
    uintptr_t slot = stack->envp + i * sizeof(uintptr_t);
    return ptrace(PTRACE_POKEDATA, in->pid, slot, value) == 0
               ? 0
               : ct_err_errno(err, "the app's environment cannot be changed");
}

int ct_delivery_run(struct ct_delivery *d, struct ct_inject *in, const struct ct_stack *stack,
                    const struct ct_image *image, const struct ct_secrets *secrets,
                    struct ct_err *err)
{
    if (stack->env_count != image->env_count) {
        return ct_err_set(err, CT_EDENIED, "the program was given another environment than asked");
    }
    int status = map_in_app(d, in, err);
    for (size_t i = 0; status == 0 && i < image->env_count; i++) {
        char found[CT_STACK_STRING_MAX] = "";
        if (image->secret[i] == 0) {
            continue;
        }
        // Is it what was put there? A program must never be given a secret by mistake.
        (void)read_variable(in->pid, stack, i, found);
        if (strncmp(found, image->envp[i], sizeof(found) - 1) != 0) {
            return ct_err_set(err, CT_EDENIED,
                              "the program was given another environment than asked");
        }
        uintptr_t value = d->app_base + ct_delivery_offset(secrets, image->secret[i] - 1);
        status = point_slot(in, stack, i, value, err);
    }
    return status;
}

// 1 + index of the secret whose untouched placeholder a slot of the environment holds; 0 for none.
static size_t placeholder_in(pid_t pid, const struct ct_stack *stack, size_t i,
                             const struct ct_secrets *secrets, const char *placeholder)
{
    char found[CT_STACK_STRING_MAX];
    if (!read_variable(pid, stack, i, found)) {
        return 0;
    }
    const char *equals = strchr(found, '=');
    if (equals == NULL || strcmp(equals + 1, placeholder) != 0) {
        return 0;
    }
    size_t len = (size_t)(equals - found);
    for (size_t s = 0; s < secrets->n; s++) {
        const char *name = secrets->item[s].name;
        if (strlen(name) == len && memcmp(name, found, len) == 0) {
            return s + 1;
        }
    }
    return 0;
}

size_t ct_delivery_given(pid_t pid, const struct ct_stack *stack, const struct ct_secrets *secrets,
                         const char *placeholder, bool *given)
{
    size_t n = 0;
    memset(given, 0, secrets->n * sizeof(*given));
    for (size_t i = 0; i < stack->env_count; i++) {
        size_t s = placeholder_in(pid, stack, i, secrets, placeholder);
        if (s != 0 && !given[s - 1]) {
            given[s - 1] = true;
            n++;
        }
    }
    return n;
}

int ct_delivery_run_given(struct ct_delivery *d, struct ct_inject *in, const struct ct_stack *stack,
                          const struct ct_secrets *secrets, const char *placeholder,
                          struct ct_err *err)
{
    int status = map_in_app(d, in, err);
    for (size_t i = 0; status == 0 && i < stack->env_count; i++) {
        size_t s = placeholder_in(in->pid, stack, i, secrets, placeholder);
        if (s != 0) {
            uintptr_t value = d->app_base + ct_delivery_offset(secrets, s - 1);
            status = point_slot(in, stack, i, value, err);
        }
    }
    return status;
}
