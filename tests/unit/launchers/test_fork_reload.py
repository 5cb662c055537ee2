"""Tests for a new template that takes over from the old one."""

from __future__ import annotations

import os
import pwd

from tests.unit.test_service import ServiceCase


class TellingTests(ServiceCase):
    """Whoever asks for a reload is told when it is over, and whether it went well."""

    def test_it_is_over_when_the_new_one_has_taken_over(self) -> None:
        service = self.started()
        over = service.reload()
        self.assertNoResult(over)
        self.template_is_ready()
        self.assertTrue(self.successResultOf(over))

    def test_it_is_over_when_the_new_one_has_ended(self) -> None:
        service = self.started()
        over = service.reload()
        self.assertNoResult(over)
        self.channel().close()
        self.template_ends()
        self.assertFalse(self.successResultOf(over))

    def test_without_the_childrens_user_the_old_one_goes_on(self) -> None:
        user = pwd.getpwuid(os.getuid())
        users = {"somebody": user}
        self.patch(os, "geteuid", lambda: 0)
        self.patch(pwd, "getpwnam", users.__getitem__)
        service = self.started(user="somebody")
        del users["somebody"]
        self.assertFalse(self.successResultOf(service.reload()))
        self.assertEqual(
            self.lines[-2:],
            [
                "reloading",
                "reload failed reason=\"--user cannot be 'somebody': there is no such user\""
                f" template={self.reactor.started[0]['process'].pid}",
            ],
        )
        self.assertEqual(len(self.reactor.started), 1)
        self.serve_one(service)
        users["somebody"] = user
        service.reload()
        self.template_is_ready()
        self.assertTrue(self.lines[-1].startswith("reloaded"), self.lines[-1])
