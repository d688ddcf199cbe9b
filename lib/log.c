// SPDX-License-Identifier: Apache-2.0
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#define MESSAGE_MAX 2048
// In JSON a quote or a backslash takes two bytes; controls are gone by then.
#define LINE_MAX_BYTES (2 * MESSAGE_MAX + 512 + CT_LOG_FIELDS * (2 * CT_LOG_FIELD_MAX + 64))

static const char *log_program = "cloudtaser";
static enum ct_log_format log_format_set = CT_LOG_TEXT;
static enum ct_log_level log_level_set = CT_LOG_DEBUG;

// How a line is written: wait (as it was); do not.
enum way { WAIT, DO_NOT_WAIT, SEND, LOOK_FIRST };
static _Atomic(enum way) way = WAIT;
static atomic_int own_fd = STDERR_FILENO;
static atomic_ulong dropped;

static const struct {
    const char *name;
    const char *prefix;
} levels[] = {
    [CT_LOG_ERROR] = {"error", "error: "},
    [CT_LOG_WARN] = {"warning", "warning: "},
    [CT_LOG_INFO] = {"info", ""},
    [CT_LOG_DEBUG] = {"debug", ""},
};

void ct_log_init(const char *program, enum ct_log_format format)
{
    log_program = program;
    log_format_set = format;
}

void ct_log_set_level(enum ct_log_level level)
{
    log_level_set = level;
}

enum ct_log_format ct_log_format(void)
{
    return log_format_set;
}

// Length of the well-formed UTF-8 sequence at `s` (RFC 3629), 0 when there is none.
static size_t utf8_sequence(const unsigned char *s)
{
    if (s[0] >= 0xc2 && s[0] <= 0xdf) {
        return (s[1] & 0xc0) == 0x80 ? 2 : 0;
    }
    if (s[0] >= 0xe0 && s[0] <= 0xef) {
        bool second = s[0] == 0xe0   ? s[1] >= 0xa0 && s[1] <= 0xbf
                      : s[0] == 0xed ? s[1] >= 0x80 && s[1] <= 0x9f
                                     : (s[1] & 0xc0) == 0x80;
        return second && (s[2] & 0xc0) == 0x80 ? 3 : 0;
    }
    if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        bool second = s[0] == 0xf0   ? s[1] >= 0x90 && s[1] <= 0xbf
                      : s[0] == 0xf4 ? s[1] >= 0x80 && s[1] <= 0x8f
                                     : (s[1] & 0xc0) == 0x80;
        return second && (s[2] & 0xc0) == 0x80 && (s[3] & 0xc0) == 0x80 ? 4 : 0;
    }
    return 0;
}

// Controls, C1 ones too (0xc2 0x80..0x9f), and malformed UTF-8 become '?'; the text never grows.
static void make_harmless(char *msg)
{
    unsigned char *to = (unsigned char *)msg;
    const unsigned char *s = (const unsigned char *)msg;
    while (*s != '\0') {
        if (*s >= 0x20 && *s < 0x7f) {
            *to++ = *s++;
            continue;
        }
        size_t n = utf8_sequence(s);
        if (n == 0 || (s[0] == 0xc2 && s[1] < 0xa0)) {
            *to++ = '?';
            s += n == 0 ? 1 : n;
            continue;
        }
        memmove(to, s, n);
        to += n;
        s += n;
    }
    *to = '\0';
}

struct line {
    char text[LINE_MAX_BYTES];
    size_t len;
};

static void put(struct line *line, const char *s, bool json)
{
    for (; *s != '\0' && line->len + 3 < sizeof(line->text); s++) {
        if (json && (*s == '"' || *s == '\\')) {
            line->text[line->len++] = '\\';
        }
        line->text[line->len++] = *s;
    }
}

// RFC 3339 in UTC. Computed here because gmtime_r() may allocate and read files in glibc; days to
// civil date in the proleptic Gregorian calendar, years counted from March.
static void put_time(struct line *line)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    unsigned long long seconds = (unsigned long long)now.tv_sec;
    unsigned long long days = seconds / 86400 + 719468;
    unsigned clock = (unsigned)(seconds % 86400);
    unsigned era = (unsigned)(days / 146097);
    unsigned day = (unsigned)(days % 146097);
    unsigned year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    day -= 365 * year + year / 4 - year / 100;
    unsigned month = (5 * day + 2) / 153;
    char text[64];
    (void)snprintf(text, sizeof(text), "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
                   year + era * 400 + (month >= 10), month < 10 ? month + 3 : month - 9,
                   day - (153 * month + 2) / 5 + 1, clock / 3600, clock / 60 % 60, clock % 60,
                   (unsigned)(now.tv_nsec / 1000000));
    put(line, text, false);
}

static void put_field(struct line *line, const struct ct_log_field *field)
{
    char text[CT_LOG_FIELD_MAX + 1];
    put(line, ",\"", false);
    put(line, field->name, false);
    put(line, "\":", false);
    if (field->text != NULL) {
        (void)snprintf(text, sizeof(text), "%s", field->text);
        make_harmless(text);
        put(line, "\"", false);
        put(line, text, true);
        put(line, "\"", false);
    } else if (field->flag) {
        put(line, field->number != 0 ? "true" : "false", false);
    } else {
        (void)snprintf(text, sizeof(text), "%lld", field->number);
        put(line, text, false);
    }
}

static void put_json(struct line *line, enum ct_log_level level, const char *msg,
                     const struct ct_log_field *fields, size_t n)
{
    put(line, "{\"time\":\"", false);
    put_time(line);
    put(line, "\",\"program\":\"", false);
    put(line, log_program, true);
    put(line, "\",\"level\":\"", false);
    put(line, levels[level].name, false);
    put(line, "\",\"msg\":\"", false);
    put(line, msg, true);
    put(line, "\"", false);
    for (size_t i = 0; i < n && i < CT_LOG_FIELDS; i++) {
        put_field(line, &fields[i]);
    }
    put(line, "}", false);
}

static void put_text(struct line *line, enum ct_log_level level, const char *msg)
{
    put(line, "[", false);
    put(line, log_program, false);
    put(line, "] ", false);
    put(line, levels[level].prefix, false);
    put(line, msg, false);
}

void ct_log_never_block(void)
{
    struct stat st;
    if (fstat(STDERR_FILENO, &st) != 0 || S_ISREG(st.st_mode)) {
        return; // a file never waits for a reader
    }
    if (S_ISSOCK(st.st_mode)) {
        way = SEND;
        return;
    }
    int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd >= 0) {
        own_fd = fd;
    }
    way = fd >= 0 ? DO_NOT_WAIT : LOOK_FIRST;
}

unsigned long ct_log_dropped(void)
{
    return dropped;
}

static ssize_t write_out(const struct line *line)
{
    // Another writer may take the room between the look and the write: where the own description
    // cannot be had (another user's pipe, no /proc), this is the best there is.
    struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (way == SEND) {
        return send(STDERR_FILENO, line->text, line->len, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    if (way == LOOK_FIRST && (poll(&room, 1, 0) != 1 || (room.revents & POLLOUT) == 0)) {
        return -1;
    }
    return write(own_fd, line->text, line->len);
}

static CT_PRINTF(4, 0) void write_line(enum ct_log_level level, const struct ct_log_field *fields,
                                       size_t n_fields, const char *fmt, va_list args)
{
    int saved = errno;
    char msg[MESSAGE_MAX];
    int n = vsnprintf(msg, sizeof(msg), fmt, args);
    if (n < 0) {
        msg[0] = '\0';
    } else if ((size_t)n >= sizeof(msg)) {
        memcpy(msg + sizeof(msg) - sizeof("..."), "...", sizeof("..."));
    }
    make_harmless(msg);
    struct line line;
    line.len = 0;
    if (log_format_set == CT_LOG_JSON) {
        put_json(&line, level, msg, fields, n_fields);
    } else {
        put_text(&line, level, msg);
    }
    line.text[line.len++] = '\n';
    // A log that cannot be written is lost: there is no place left to say so.
    if (write_out(&line) != (ssize_t)line.len) {
        dropped++;
    }
    errno = saved;
}

void ct_log(enum ct_log_level level, const char *fmt, ...)
{
    va_list args;
    if (level <= log_level_set) {
        va_start(args, fmt);
        write_line(level, NULL, 0, fmt, args);
        va_end(args);
    }
}

void ct_log_record(enum ct_log_level level, const struct ct_log_field *fields, size_t n,
                   const char *fmt, ...)
{
    va_list args;
    if (level <= log_level_set) {
        va_start(args, fmt);
        write_line(level, fields, n, fmt, args);
        va_end(args);
    }
}
