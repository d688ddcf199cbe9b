// SPDX-License-Identifier: Apache-2.0
// What registrant's ways share (registrant.c): none of it is thread-safe, and all of it prints to standard output.
#ifndef CT_TEST_REGISTRANT_H
#define CT_TEST_REGISTRANT_H

#include <stdbool.h>
#include <sys/types.h>

// One call of the guard, whose answer is an errno or comes by a signal.
int ask(unsigned long operation, unsigned long argument);
// Asks to be registered, and waits for the answer.
int once(void);
// "NAME ANSWER", by the answer's name.
void say(const char *what, int answer);
// What a child answers, by its exit status.
int by_child(int (*act)(pid_t parent));
// Registers, as a wrapper does, by executing itself in between.
bool registers(char **argv);
// Runs the program as a released child, and gives its exit status.
int run(char *const program[]);
// Sleeps for good, as a thread's function.
void *idle(void *cls);

// The ways that need many processes, or measure one: each takes main's arguments and gives the exit status.
int ends(char **argv);
int many(char **argv);
int often(char **argv);
int nag(char **argv);
int flood(char **argv);
int measured(char **argv);

#endif
