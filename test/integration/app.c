// SPDX-License-Identifier: Apache-2.0
//
// The application of the end-to-end tests: proves which values its variables have without printing
// them.
//
//   app [--exit CODE | --stay] NAME…
//
// Prints a line `NAME sha256 HEX` (or `NAME unset`) for each variable, then `ready`, and ends with
// CODE (0) - or, with --stay, prints `ended by N` and ends with 0 once signal N (SIGTERM, SIGINT or
// SIGHUP) comes.
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 64

struct sha256 {
    uint32_t state[8];
    uint8_t block[BLOCK];
    size_t used;
    uint64_t bytes;
};

static uint32_t round_constant[64];

// The first `count` bits after the point of the square or cube root of `prime`: FIPS 180-4, 4.2.2 and
// 5.3.3. Found bit by bit in integers, so that no table needs to be typed in.
static uint32_t root_bits(uint32_t prime, unsigned power)
{
    unsigned __int128 target = (unsigned __int128)prime << (power == 2 ? 64 : 96);
    uint64_t root = 0;

    for (int bit = 36; bit >= 0; bit--) {
        uint64_t next = root | (uint64_t)1 << bit;
        unsigned __int128 product = (unsigned __int128)next * next;

        if (power == 3) {
            product *= next;
        }
        if (product <= target) {
            root = next;
        }
    }
    return (uint32_t)root;
}

static void sha256_init(struct sha256 *h)
{
    size_t found = 0;

    memset(h, 0, sizeof *h);
    for (uint32_t n = 2; found < 64; n++) {
        uint32_t divisor = 2;

        while (divisor * divisor <= n && n % divisor != 0) {
            divisor++;
        }
        if (divisor * divisor <= n) {
            continue;
        }
        if (found < 8) {
            h->state[found] = root_bits(n, 2);
        }
        round_constant[found++] = root_bits(n, 3);
    }
}

static uint32_t rotate(uint32_t x, unsigned n)
{
    return x >> n | x << (32 - n);
}

static void sha256_block(struct sha256 *h)
{
    uint32_t w[64], s[8];

    for (size_t i = 0; i < 16; i++) {
        const uint8_t *p = h->block + 4 * i;
        w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    }
    for (size_t i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] +
               (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    }
    memcpy(s, h->state, sizeof s);
    for (size_t i = 0; i < 64; i++) {
        uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
        uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
        uint32_t one = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) + choice +
                       round_constant[i] + w[i];
        uint32_t two = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) + majority;

        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += one;
        s[0] = one + two;
    }
    for (size_t i = 0; i < 8; i++) {
        h->state[i] += s[i];
    }
    h->used = 0;
    // The block held a secret, and w what follows from it.
    explicit_bzero(h->block, sizeof h->block);
    explicit_bzero(w, sizeof w);
}

static void sha256_byte(struct sha256 *h, uint8_t byte)
{
    h->block[h->used++] = byte;
    if (h->used == BLOCK) {
        sha256_block(h);
    }
}

static void print_digest(const char *text)
{
    struct sha256 h;

    sha256_init(&h);
    for (; *text != '\0'; text++) {
        sha256_byte(&h, (uint8_t)*text);
        h.bytes++;
    }
    sha256_byte(&h, 0x80);
    while (h.used != BLOCK - 8) {
        sha256_byte(&h, 0);
    }
    for (int shift = 56; shift >= 0; shift -= 8) {
        sha256_byte(&h, (uint8_t)(h.bytes * 8 >> shift));
    }
    for (size_t i = 0; i < 8; i++) {
        printf("%08x", h.state[i]);
    }
}

static void stay(void)
{
    sigset_t set;
    int sig = 0;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    puts("ready");
    (void)fflush(stdout);
    if (sigwait(&set, &sig) == 0) {
        printf("ended by %d\n", sig);
    }
}

int main(int argc, char **argv)
{
    int i = 1, code = 0;
    bool stays = false;

    if (argc > 2 && strcmp(argv[1], "--exit") == 0) {
        code = (int)strtol(argv[2], NULL, 10);
        i = 3;
    } else if (argc > 1 && strcmp(argv[1], "--stay") == 0) {
        stays = true;
        i = 2;
    }
    for (; i < argc; i++) {
        const char *value = getenv(argv[i]);

        printf("%s ", argv[i]);
        if (value == NULL) {
            puts("unset");
        } else {
            printf("sha256 ");
            print_digest(value);
            puts("");
        }
    }
    if (stays) {
        stay();
    } else {
        puts("ready");
    }
    return code;
}
