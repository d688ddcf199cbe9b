# SPDX-License-Identifier: Apache-2.0
"""Last of all: what the programs have logged in the whole run."""

from containers import RunTestCase


class Logs(RunTestCase):
    def test_no_program_has_logged_a_secret(self):
        logged = dict(self.env.everything_logged())
        self.assertIn("webhook.log", logged)
        for name, raw in logged.items():
            with self.subTest(name):
                self.assert_nothing_secret(name, raw)
