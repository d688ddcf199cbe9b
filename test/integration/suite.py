# SPDX-License-Identifier: Apache-2.0
"""Runs the tests one after the other and tells each as it ends."""

import os
import sys
import time
import unittest

import environment
from process import RigError

MODULES = ("test_admission", "test_author", "test_cluster", "test_nodes", "test_run",
           "test_login", "test_renewal", "test_refresh", "test_failures", "test_server", "test_watch",
           "test_certificates", "test_logs", "test_terminal", "test_demo")
SKIP_STATUS = 77


def _walk(tests):
    for test in tests:
        if isinstance(test, unittest.TestSuite):
            yield from _walk(test)
        else:
            yield test


def _name(test):
    return f"{type(test).__module__[5:]}.{test._testMethodName[5:]}"


class _Result(unittest.TestResult):
    """A line for each test; what went wrong right below it."""

    def __init__(self):
        super().__init__()
        self.passed = 0
        self._failed = False

    def startTest(self, test):
        super().startTest(test)
        self._start, self._failed = time.monotonic(), False

    def _tell(self, verdict, test):
        print(f"{verdict:4} {_name(test)} ({time.monotonic() - self._start:.1f} s)", flush=True)

    def addSuccess(self, test):
        self.passed += 1
        self._tell("ok", test)

    def addSkip(self, test, reason):
        # A run that must show everything has failed if it has not.
        if os.environ.get("CT_MUST_RUN") == "1":
            self.addFailure(test, (AssertionError, AssertionError(f"skipped: {reason}"), None))
            return
        super().addSkip(test, reason)
        self._tell("skip", test)
        print(f"     {reason}", flush=True)

    def _complain(self, test, error, title=""):
        self._failed = True
        self._tell("FAIL", test)
        text = self._exc_info_to_string(error, test)
        print("".join(f"     {title}{line}\n" for line in text.splitlines()), end="")
        for service in environment.current().suspects(text):
            print(f"     the end of {service.log}:\n{service.tail(6)}")
        sys.stdout.flush()

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._complain(test, err)

    def addError(self, test, err):
        super().addError(test, err)
        if isinstance(test, unittest.TestCase):
            self._complain(test, err)
        else:  # a module's beginning or end
            print(f"FAIL {test.id()}: {err[1]}", flush=True)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._complain(test, err, f"[{subtest._subDescription()}] ")


def _select(modules, words):
    loader = unittest.TestLoader()
    tests = list(_walk(loader.loadTestsFromNames(modules)))
    if loader.errors:
        raise RigError("\n".join(loader.errors))
    return [t for t in tests if not words or any(w in _name(t) for w in words)]


def main(arguments, modules=MODULES):
    if "--help" in arguments or "-h" in arguments:
        print(sys.modules["__main__"].__doc__.strip())
        return 0
    words = [a for a in arguments if not a.startswith("-")]
    tests = _select(modules, words)
    if "--list" in arguments:
        print("\n".join(_name(t) for t in tests))
        return 0
    missing = environment.missing()
    if missing and os.environ.get("CT_MUST_RUN") != "1":
        print(f"skipped: {missing}")
        return SKIP_STATUS
    start = time.monotonic()
    result = _Result()
    try:
        with environment.open_environment() as env:
            print(f"{env.WHAT} are up after {time.monotonic() - start:.1f} s; logs in {env.logs}",
                  flush=True)
            unittest.TestSuite(tests).run(result)
    except RigError as error:
        print(f"FAIL the rig: {error}")
        result.errors.append((None, str(error)))
    except KeyboardInterrupt as interrupt:
        print(f"FAIL ended by {interrupt or 'SIGINT'}")
        result.errors.append((None, "interrupted"))
    failed = len({id(getattr(t, "test_case", t)) for t, _ in result.errors + result.failures})
    print(f"{time.monotonic() - start:.0f} s in all")
    skipped = f", {len(result.skipped)} skipped" if result.skipped else ""
    print(f"{result.passed} passed, {failed} failed{skipped}")
    return 0 if failed == 0 and result.passed > 0 else 1
