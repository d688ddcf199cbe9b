// SPDX-License-Identifier: Apache-2.0
#include "image.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "config.h"
#include "launch.h"

// Does "NAME=value" set this variable?
static bool sets(const char *entry, const char *name)
{
    size_t len = strlen(name);
    return strncmp(entry, name, len) == 0 && entry[len] == '=';
}

// 1 + index of the secret that an entry is replaced by, or 0.
static uint32_t find_secret(const struct ct_secrets *secrets, const char *entry)
{
    for (size_t i = 0; i < secrets->n; i++) {
        if (sets(entry, secrets->item[i].name)) {
            return (uint32_t)i + 1;
        }
    }
    return 0;
}

static bool is_present(char *const *environment, const char *name)
{
    for (size_t i = 0; environment[i] != NULL; i++) {
        if (sets(environment[i], name)) {
            return true;
        }
    }
    return false;
}

static size_t placeholder_size(const struct ct_image *image, const struct ct_secret_variable *v)
{
    return strlen(v->name) + 1 + strlen(image->placeholder) + 1;
}

// How many strings there will be, and their bytes together; both at most.
static void measure(const struct ct_image *image, char *const *argv, char *const *environment,
                    const struct ct_secrets *secrets, size_t *ret_args, size_t *ret_env,
                    size_t *ret_bytes)
{
    size_t args = 0;
    size_t env = 0;
    size_t bytes = 0;
    for (; argv[args] != NULL; args++) {
        bytes += strlen(argv[args]) + 1;
    }
    for (; environment[env] != NULL; env++) {
        uint32_t s = find_secret(secrets, environment[env]);
        bytes +=
            s != 0 ? placeholder_size(image, &secrets->item[s - 1]) : strlen(environment[env]) + 1;
    }
    for (size_t i = 0; i < secrets->n; i++) {
        bytes += placeholder_size(image, &secrets->item[i]);
    }
    *ret_args = args;
    *ret_env = env + secrets->n;
    *ret_bytes = bytes;
}

static char *put_string(char **at, const char *s)
{
    char *put = *at;
    size_t size = strlen(s) + 1;
    memcpy(put, s, size);
    *at += size;
    return put;
}

static void add_secret(struct ct_image *image, const struct ct_secrets *secrets, uint32_t s,
                       char **at)
{
    const struct ct_secret_variable *v = &secrets->item[s - 1];
    size_t size = placeholder_size(image, v);
    (void)snprintf(*at, size, "%s=%s", v->name, image->placeholder);
    image->secret[image->env_count] = s;
    image->envp[image->env_count++] = *at;
    *at += size;
}

static void fill(struct ct_image *image, char *const *argv, char *const *environment,
                 const struct ct_secrets *secrets, char *at)
{
    for (size_t i = 0; argv[i] != NULL; i++) {
        image->argv[i] = put_string(&at, argv[i]);
    }
    for (size_t i = 0; environment[i] != NULL; i++) {
        uint32_t s = find_secret(secrets, environment[i]);
        if (sets(environment[i], CT_CONFIG_VARIABLE)) {
            continue;
        }
        if (s != 0) {
            add_secret(image, secrets, s, &at);
        } else {
            image->envp[image->env_count++] = put_string(&at, environment[i]);
        }
    }
    for (size_t i = 0; i < secrets->n; i++) {
        if (!is_present(environment, secrets->item[i].name)) {
            add_secret(image, secrets, (uint32_t)i + 1, &at);
        }
    }
}

static int make_placeholder(struct ct_image *image, struct ct_err *err)
{
    unsigned char random[CT_IMAGE_RANDOM];
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        return ct_err_errno(err, "no random bytes for the secrets' placeholder");
    }
    int at = snprintf(image->placeholder, sizeof(image->placeholder), "%s:", CT_LAUNCH_PLACEHOLDER);
    for (size_t i = 0; i < sizeof(random); i++) {
        at += snprintf(image->placeholder + at, sizeof(image->placeholder) - (size_t)at, "%02x",
                       random[i]);
    }
    return 0;
}

int ct_image_make(char *const *argv, char *const *environment, const struct ct_secrets *secrets,
                  struct ct_image *ret, struct ct_err *err)
{
    size_t args;
    size_t env;
    size_t bytes;
    *ret = (struct ct_image){0};
    int status = make_placeholder(ret, err);
    if (status != 0) {
        return status;
    }
    measure(ret, argv, environment, secrets, &args, &env, &bytes);
    size_t pointers = (args + 1 + env + 1) * sizeof(char *);
    ret->size = pointers + env * sizeof(uint32_t) + bytes;
    char *pages = mmap(NULL, ret->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) {
        return ct_err_errno(err, "no memory for the app's environment");
    }
    ret->pages = pages;
    ret->argv = (char **)(void *)pages;
    ret->envp = ret->argv + args + 1;
    ret->secret = (uint32_t *)(void *)(pages + pointers);
    fill(ret, argv, environment, secrets, (char *)(ret->secret + env));
    return 0;
}

void ct_image_done(struct ct_image *image)
{
    if (image->pages != NULL) {
        (void)munmap(image->pages, image->size);
    }
    *image = (struct ct_image){0};
}

const char *ct_image_variable(const struct ct_image *image, const char *name)
{
    for (size_t i = 0; i < image->env_count; i++) {
        if (sets(image->envp[i], name)) {
            return image->envp[i] + strlen(name) + 1;
        }
    }
    return NULL;
}
