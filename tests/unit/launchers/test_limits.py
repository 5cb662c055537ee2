"""Tests for the limits of children: what they are told."""

from __future__ import annotations

import os
import resource
from typing import Any

from tests.unit.cases import Case
from twisted_fork.launchers import limits
from twisted_fork.settings import InvalidSetting, Settings
from twisted_fork.wire.orders import Limits

_UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


class OrderTests(Case):
    """What children are told, and what is refused before there are any."""

    def order(self, uid: int = 0, **given: Any) -> Limits:
        told = limits.order(Settings(**given), uid)
        assert told is not None
        return told

    def refusal(self, uid: int, **given: Any) -> str:
        with self.assertRaises(InvalidSetting) as caught:
            limits.order(Settings(**given), uid)
        return str(caught.exception)

    def test_without_limits_there_is_nothing_to_tell(self) -> None:
        self.assertIsNone(limits.order(Settings()))

    def test_each_limit_alone_is_told(self) -> None:
        each = {
            "cpu_seconds": 5,
            "memory": 1 << 30,
            "open_files": 20,
            "processes": 3,
            "file_size": 100,
            "nice": 19,
            "umask": 0o27,
        }
        for name, value in each.items():
            told = dict(self.order(**{name: value}))
            self.assertEqual(told.pop(name), value)
            self.assertTrue(all(rest in (None, False) for rest in told.values()), name)

    def test_a_limit_of_zero_is_one_too(self) -> None:
        for name in ("file_size", "nice", "umask"):
            self.assertEqual(self.order(**{name: 0})[name], 0, name)

    def test_a_user_brings_a_group_and_no_new_privileges(self) -> None:
        told = self.order(user="nobody")
        self.assertEqual((told["uid"], told["gid"]), (65534, 65534))
        self.assertIs(told["no_new_privs"], True)

    def test_a_group_may_be_another_than_the_users(self) -> None:
        told = self.order(user="nobody", group="daemon")
        self.assertEqual((told["uid"], told["gid"]), (65534, 1))

    def test_a_group_alone_leaves_the_user(self) -> None:
        told = self.order(group="daemon")
        self.assertEqual((told["uid"], told["gid"]), (None, 1))
        self.assertIs(told["no_new_privs"], False)

    def test_roots_group_alone_is_told_too(self) -> None:
        self.assertEqual(self.order(group="root")["gid"], 0)

    def test_no_new_privileges_may_be_had_without_a_user(self) -> None:
        self.assertIs(self.order(uid=1000, no_new_privs=True)["no_new_privs"], True)

    def test_whom_there_is_not_is_refused(self) -> None:
        self.assertEqual(
            self.refusal(0, user="no-such-user"),
            "--user cannot be 'no-such-user': there is no such user",
        )
        self.assertEqual(
            self.refusal(0, group="no-such-group"),
            "--group cannot be 'no-such-group': there is no such group",
        )

    def test_another_user_or_group_takes_root(self) -> None:
        for given in ({"user": "nobody"}, {"group": "daemon"}):
            self.assertIn("need a server that runs as root", self.refusal(1000, **given))

    def test_more_than_the_system_allows_is_refused(self) -> None:
        self.patch(resource, "getrlimit", lambda kind: (100, 200))
        for name, asked in (("open_files", 201), ("processes", 201)):
            option = name.replace("_", "-")
            self.assertEqual(
                self.refusal(1000, **{name: asked}),
                f"--{option} cannot be {asked}: the system allows 200",
            )
            self.assertEqual(dict(self.order(1000, **{name: 200}))[name], 200)

    def test_any_other_limit_beyond_the_systems_is_refused_too(self) -> None:
        hard = 2 * 1024 * 1024
        self.patch(resource, "getrlimit", lambda kind: (hard, hard))
        for name in ("cpu_seconds", "memory", "file_size"):
            self.assertIn(f"the system allows {hard}", self.refusal(1000, **{name: hard + 1}))

    def test_an_unlimited_system_allows_everything(self) -> None:
        self.patch(resource, "getrlimit", lambda kind: _UNLIMITED)
        self.assertEqual(self.order(1000, open_files=1000)["open_files"], 1000)

    def test_a_better_priority_takes_root(self) -> None:
        self.patch(os, "getpriority", lambda which, who: 0)
        self.assertIn("--nice cannot be -1", self.refusal(1000, nice=-1))
        self.assertEqual(self.order(1000, nice=1)["nice"], 1)
        self.assertEqual(self.order(0, nice=-1)["nice"], -1)
