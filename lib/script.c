// SPDX-License-Identifier: Apache-2.0
//
// A reader of just enough of sh(1)'s grammar to see simple commands, what stands between them, and
// whether one of them is `exec PROGRAM`. Nothing is expanded. Whatever it does not understand makes
// the script one that starts children, which is the careful answer.
#include "script.h"

#include <string.h>

#include "cleanup.h"
#include "text.h"

#define WORD_MAX 32    // of a word, enough to know keywords and builtins by
#define NESTING_MAX 32 // of quotes in substitutions in quotes

struct reader {
    const char *at;
    const char *end;
    int depth;           // of ( … )
    int nesting;         // of skip_quoted() and skip_bracketed()
    char here[WORD_MAX]; // the word that ends the text which begins on the next line; "" for none
    bool here_tabs;      // it may stand behind tabs
    bool piped;          // the command being read gets its input from a pipe
    bool compound;       // something else than simple commands one after the other
    bool execs;          // a command `exec PROGRAM` of the shell's own
    unsigned programs;   // simple commands that are none of the shell's own
};

// A simple command as it is being read.
struct command {
    size_t words; // behind assignments and redirections
    char word[2][WORD_MAX];
};

// Commands of every such shell's own that start no program.
static const char *const builtins[] = {":",   "cd",       "echo",  "exit",  "export",
                                       "pwd", "readonly", "set",   "shift", "test",
                                       "[",   "true",     "umask", "unset", "ulimit"};

// Words that begin or continue something compound, or run text that is not seen here.
static const char *const keywords[] = {
    "if",   "then", "elif", "else", "fi",     "for",   "while",    "until",  "do",
    "done", "case", "esac", "in",   "{",      "}",     "function", "select", "!",
    "[[",   "trap", "eval", ".",    "source", "alias", "coproc"};

// After these a command may follow at once, in the shell's own process.
static const char *const openers[] = {"then", "elif", "else",  "do",   "{",
                                      "!",    "if",   "while", "until"};

static bool is_in(const char *word, const char *const *table, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(word, table[i]) == 0) {
            return true;
        }
    }
    return false;
}

static char peek(const struct reader *r, size_t ahead)
{
    return (size_t)(r->end - r->at) > ahead ? r->at[ahead] : '\0';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static bool is_operator(char c)
{
    return c != '\0' && strchr("\n;&|()<>", c) != NULL;
}

static void skip_quoted(struct reader *r, char quote);

// Passes over $( … ), ${ … } and the like, brackets within counted.
static void skip_bracketed(struct reader *r, char open, char close)
{
    int depth = 0;
    while (r->at < r->end) {
        char c = *r->at;
        if (c == '\'' || c == '"') {
            skip_quoted(r, c);
            continue;
        }
        depth += c == open ? 1 : c == close ? -1 : 0;
        r->at += c == '\\' && r->end - r->at > 1 ? 2 : 1;
        if (depth == 0) {
            return;
        }
    }
}

// Passes over text up to its closing character; in double quotes a backslash keeps the next one, and
// a substitution may hold quotes of its own.
static void skip_quoted(struct reader *r, char quote)
{
    if (++r->nesting > NESTING_MAX) {
        r->compound = true;
        r->at = r->end;
    }
    r->at += r->at < r->end ? 1 : 0;
    while (r->at < r->end && *r->at != quote) {
        char c = *r->at;
        bool substitution = quote == '"' && c == '$' && peek(r, 1) == '(';
        r->compound = r->compound || substitution || (quote == '"' && c == '`');
        if (substitution) {
            r->at++;
            skip_bracketed(r, '(', ')');
        } else {
            r->at += quote == '"' && c == '\\' && r->end - r->at > 1 ? 2 : 1;
        }
    }
    r->at += r->at < r->end ? 1 : 0;
    r->nesting--;
}

// One character, quoted part or substitution of a word. Returns the plain character that it stands
// for, or '?' for what is not plain.
static char read_part(struct reader *r)
{
    char c = *r->at;
    if (c == '\'' || c == '"') {
        skip_quoted(r, c);
        return '?';
    }
    if (c == '`') {
        r->compound = true;
        skip_quoted(r, c);
        return '?';
    }
    if (c == '$' && (peek(r, 1) == '(' || peek(r, 1) == '{')) {
        bool brace = peek(r, 1) == '{';
        const char *from = ++r->at;
        skip_bracketed(r, brace ? '{' : '(', brace ? '}' : ')');
        bool nested = memmem(from, (size_t)(r->at - from), "$(", 2) != NULL ||
                      memchr(from, '`', (size_t)(r->at - from)) != NULL;
        r->compound = r->compound || !brace || nested;
        return '?';
    }
    if (c == '\\' && r->end - r->at > 1) {
        r->at += 2;
        return '?';
    }
    r->at++;
    return c;
}

// A word, as far as it fits; its unplain parts show as '?'.
static void read_word(struct reader *r, char out[WORD_MAX])
{
    size_t len = 0;
    while (r->at < r->end && !is_blank(*r->at) && !is_operator(*r->at)) {
        char c = read_part(r);
        if (len + 1 < WORD_MAX) {
            out[len++] = c;
        }
    }
    out[len] = '\0';
}

static bool is_assignment(const char *word)
{
    size_t name = 0;
    while (ct_text_is_alnum(word[name]) || word[name] == '_') {
        name++;
    }
    return name > 0 && !ct_text_is_digit(word[0]) &&
           (word[name] == '=' || (word[name] == '+' && word[name + 1] == '='));
}

static void take_word(struct reader *r, struct command *c, const char *word)
{
    if (c->words == 0 && is_assignment(word)) {
        return;
    }
    if (c->words == 0 && is_in(word, keywords, CT_ARRAY_LEN(keywords))) {
        r->compound = true;
        if (is_in(word, openers, CT_ARRAY_LEN(openers))) {
            return; // what follows is a command again
        }
    }
    if (c->words < CT_ARRAY_LEN(c->word)) {
        memcpy(c->word[c->words], word, WORD_MAX);
    }
    c->words++;
}

// What separates this command from the next is read already; `own`: it runs in the shell's process.
static void end_command(struct reader *r, struct command *c, bool own)
{
    if (c->words > 0 && strcmp(c->word[0], "exec") == 0) {
        // `exec` without a program only redirects; what a subshell or a pipe execs is a child.
        bool program = c->words > 1 && c->word[1][0] != '{'; // {fd}>file of bash
        r->execs = r->execs || (program && own && r->depth == 0 && !r->piped);
    } else if (c->words > 0 && !is_in(c->word[0], builtins, CT_ARRAY_LEN(builtins))) {
        r->programs++;
    }
    *c = (struct command){0};
    r->piped = false;
}

// The word behind "<<", without its quotes.
static void read_here(struct reader *r)
{
    size_t len = 0;
    for (; r->at < r->end && !is_blank(*r->at) && !is_operator(*r->at); r->at++) {
        if (strchr("'\"\\", *r->at) == NULL && len + 1 < WORD_MAX) {
            r->here[len++] = *r->at;
        }
    }
    r->here[len] = '\0';
}

// Passes over the lines up to and with the one that ends the text of a "<<".
static void skip_here(struct reader *r)
{
    size_t len = strlen(r->here);
    bool found = false;
    while (!found && r->at < r->end) {
        const char *newline = memchr(r->at, '\n', (size_t)(r->end - r->at));
        const char *line = r->at;
        const char *line_end = newline != NULL ? newline : r->end;
        while (r->here_tabs && line < line_end && *line == '\t') {
            line++;
        }
        // A word that did not fit is compared as far as it did.
        size_t line_len = (size_t)(line_end - line);
        found = line_len >= len && memcmp(line, r->here, len) == 0 &&
                (line_len == len || len == WORD_MAX - 1);
        r->at = newline != NULL ? newline + 1 : r->end;
    }
    r->here[0] = '\0';
}

// A redirection: the operator, and the word that it takes.
static void read_redirection(struct reader *r)
{
    const char *from = r->at;
    if (peek(r, 1) == '(') {
        r->compound = true; // a substituted process
        r->at++;
        skip_bracketed(r, '(', ')');
        return;
    }
    while (r->at < r->end && strchr("<>&|-", *r->at) != NULL) {
        r->at++;
    }
    size_t operator_len = (size_t)(r->at - from);
    bool here = (operator_len == 2 || (operator_len == 3 && from[2] == '-')) && from[0] == '<' &&
                from[1] == '<';
    while (r->at < r->end && is_blank(*r->at)) {
        r->at++;
    }
    if (here) {
        r->here_tabs = operator_len == 3;
        read_here(r);
    } else {
        char word[WORD_MAX];
        read_word(r, word);
    }
}

static void read_operator(struct reader *r, struct command *c)
{
    char op = *r->at++;
    bool twice = op != '\n' && peek(r, 0) == op;
    r->at += twice ? 1 : 0;
    bool background = op == '&' && !twice;
    bool pipe = op == '|' && !twice;
    bool list = op == ';' || op == '\n' || (op == '&' && twice);
    if (op == '(') {
        // A subshell or a function's name; "((" is arithmetic.
        end_command(r, c, false);
        r->depth += twice ? 2 : 1;
    } else if (op == ')') {
        // Also behind a pattern of `case`, which opens none.
        end_command(r, c, true);
        r->depth -= twice ? 2 : 1;
        r->depth = r->depth < 0 ? 0 : r->depth;
    } else {
        end_command(r, c, !background && !pipe);
        r->piped = pipe;
    }
    r->compound = r->compound || !list || (op == ';' && twice);
    if (op == '\n' && r->here[0] != '\0') {
        skip_here(r);
    }
}

// The digits of "2>&1" belong to the redirection.
static bool is_descriptor(const struct reader *r, const char *word)
{
    return word[strspn(word, "0123456789")] == '\0' && (peek(r, 0) == '<' || peek(r, 0) == '>');
}

// Reads one token and what belongs to it.
static void read_token(struct reader *r, struct command *command)
{
    char c = *r->at;
    if (is_blank(c)) {
        r->at++;
    } else if (c == '\\' && peek(r, 1) == '\n') {
        r->at += 2; // the line goes on
    } else if (c == '#') {
        while (r->at < r->end && *r->at != '\n') {
            r->at++;
        }
    } else if (c == '<' || c == '>' || (c == '&' && peek(r, 1) == '>')) {
        r->at += c == '&' ? 1 : 0;
        read_redirection(r);
    } else if (is_operator(c)) {
        read_operator(r, command);
    } else {
        char word[WORD_MAX];
        read_word(r, word);
        if (!is_descriptor(r, word)) {
            take_word(r, command, word);
        }
    }
}

enum ct_script_kind ct_script_judge(const char *text, size_t len)
{
    struct reader r = {.at = text, .end = text + len};
    struct command command = {0};
    if (memchr(text, '\0', len) != NULL) {
        return CT_SCRIPT_CHILDREN;
    }
    while (r.at < r.end) {
        read_token(&r, &command);
    }
    end_command(&r, &command, true);
    if (r.execs) {
        return CT_SCRIPT_EXEC;
    }
    return !r.compound && r.programs == 1 ? CT_SCRIPT_ONE : CT_SCRIPT_CHILDREN;
}

bool ct_script_uses(const char *text, size_t len, const char *name)
{
    size_t name_len = strlen(name);
    const char *end = text + len;
    for (const char *at = text; (at = memchr(at, '$', (size_t)(end - at))) != NULL;) {
        at++;
        if (at < end && *at == '{') {
            at++;
            at += at < end && (*at == '#' || *at == '!') ? 1 : 0;
        }
        if ((size_t)(end - at) >= name_len && memcmp(at, name, name_len) == 0) {
            char next = (size_t)(end - at) > name_len ? at[name_len] : '\0';
            if (!ct_text_is_alnum(next) && next != '_') {
                return true;
            }
        }
    }
    return false;
}

// Of shells that are not interactive. bash(1), mksh(1), oksh(1); others read ENV only when they are.
const char *ct_shell_startup_variable(const char *shell)
{
    static const struct {
        const char *shell;
        const char *variable;
    } table[] = {
        {"bash", "BASH_ENV"}, {"rbash", "BASH_ENV"}, {"ksh", "ENV"},   {"mksh", "ENV"},
        {"lksh", "ENV"},      {"oksh", "ENV"},       {"pdksh", "ENV"}, {"posh", "ENV"},
    };
    for (size_t i = 0; i < CT_ARRAY_LEN(table); i++) {
        if (strcmp(table[i].shell, shell) == 0) {
            return table[i].variable;
        }
    }
    return NULL;
}

// A cluster of options: "-ec". Adds to *taken how many of the next arguments they take.
static bool parse_cluster(const char *options, struct ct_shell_line *ret, bool *ret_stdin,
                          size_t *taken)
{
    bool text = false;
    for (const char *o = options + 1; *o != '\0'; o++) {
        text = text || (*o == 'c' && options[0] == '-');
        ret->startup = ret->startup || (options[0] == '-' && (*o == 'l' || *o == 'i'));
        *ret_stdin = *ret_stdin || *o == 's';
        *taken += *o == 'o' || *o == 'O' ? 1 : 0;
    }
    return text;
}

void ct_shell_parse(const char *const *argv, size_t argc, struct ct_shell_line *ret)
{
    *ret = (struct ct_shell_line){.startup = argc > 0 && argv[0][0] == '-'};
    bool text = false;
    bool from_stdin = false;
    size_t i = 1;
    for (; i < argc && (argv[i][0] == '-' || argv[i][0] == '+') && argv[i][1] != '\0'; i++) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        size_t taken = 0;
        if (strncmp(argv[i], "--", 2) == 0) {
            ret->startup = ret->startup || strcmp(argv[i], "--login") == 0;
            taken = strcmp(argv[i], "--rcfile") == 0 || strcmp(argv[i], "--init-file") == 0;
        } else if (parse_cluster(argv[i], ret, &from_stdin, &taken)) {
            text = true;
        }
        i += taken;
    }
    i += i < argc && strcmp(argv[i], "-") == 0 ? 1 : 0;
    if (i < argc && text) {
        ret->text = argv[i];
    } else if (i < argc && !from_stdin) {
        ret->file = argv[i];
    }
}
