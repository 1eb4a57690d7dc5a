# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module between real servers."""

from __future__ import annotations

import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from ansible_collections.payaid.scaling.plugins.module_utils._plan import converge
from ansible_collections.payaid.scaling.plugins.module_utils._redis.login import Login
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy import source as source_io
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.io import CopyIO
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.journal import Journal
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.model import Desired
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.plan import plan
from redis.exceptions import RedisError

from ..redis_cluster.conftest import HOST, Fleet, Server, free_port, wait_for
from .conftest import Sides, command, run

HOUR = 3_600_000  # ms
PASSWORD = "correct-horse-battery"  # noqa: S105  # of a server that lives as long as one test


def fill_with_every_type(client: redis.Redis) -> int:
    """Write some keys of every type and form, and return how many."""
    client.set("string", "value")
    client.set("empty", "")
    client.set("number", 42)
    client.set(b"\xff\x00\r\n binary {", b"\x00\xff\r\n$5\r\n")
    client.set("large", b"x" * 5_000_000)
    client.set("{tag}one", 1, px=HOUR)
    client.set("{tag}two", 2, px=2 * HOUR)
    client.setbit("bitmap", 7_000, 1)
    client.pfadd("hyperloglog", *[f"visitor{n}" for n in range(2000)])
    client.rpush("list", *range(3000))
    client.rpush("small list", "a", "b", "")
    client.sadd("set", *[f"member{n}" for n in range(3000)])
    client.sadd("numbers", *range(100))
    client.sadd("small set", "a", "b")
    client.zadd("zset", {f"member{n}": n / 7 for n in range(3000)})
    client.zadd("small zset", {"a": float("inf"), "b": -1.5})
    client.hset("hash", mapping={f"field{n}": f"value{n}" for n in range(3000)})
    client.hset("small hash", mapping={"a": "1", "": ""})
    for number in range(300):
        client.xadd("stream", {"number": number}, id=f"{number + 1}-1")
    client.xdel("stream", "5-1")
    client.xgroup_create("stream", "readers", id="0")
    client.xreadgroup("readers", "one", {"stream": ">"}, count=10)
    client.xreadgroup("readers", "two", {"stream": ">"}, count=5)
    client.xack("stream", "readers", "1-1")
    client.pexpire("hash", HOUR)
    client.pexpire("stream", HOUR)
    return int(client.dbsize())


READ: dict[bytes, Callable[[Any, bytes], Any]] = {
    b"string": lambda client, key: client.get(key),
    b"list": lambda client, key: client.lrange(key, 0, -1),
    b"set": lambda client, key: client.smembers(key),
    b"zset": lambda client, key: client.zrange(key, 0, -1, withscores=True),
    b"hash": lambda client, key: client.hgetall(key),
    b"stream": lambda client, key: (
        client.xrange(key),
        client.xpending_range(key, "readers", "-", "+", 100),
        [(group["name"], group["last-delivered-id"]) for group in client.xinfo_groups(key)],
        sorted(row["name"] for row in client.xinfo_consumers(key, "readers")),
    ),
}


def content(client: Any, keys: list[bytes]) -> dict[bytes, Any]:
    """Read keys as an app does: type, value and expiry of each."""
    found = {}
    for key in keys:
        kind = client.type(key)
        value = READ[kind](client, key) if kind in READ else None
        found[key] = (kind, value, client.pexpiretime(key))
    return found


def assert_the_same(sides: Sides, tolerance: int = 0) -> int:
    """Compare both sides by what an app sees, and return how many keys there are."""
    with sides.old() as old, sides.new() as new:
        keys = list(old.scan_iter(count=1000))
        ours, theirs = content(old, keys), content(new, keys)
    for key in keys:
        # The time since a delivery goes on.
        assert without_idle(ours[key][:2]) == without_idle(theirs[key][:2]), key
        assert abs(ours[key][2] - theirs[key][2]) <= tolerance, key
    return len(keys)


def without_idle(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: inner for name, inner in value.items() if name != "time_since_delivered"}
    if isinstance(value, (list, tuple)):
        return [without_idle(inner) for inner in value]
    return value


def fill(client: redis.Redis, count: int, *, size: int = 20, first: int = 0) -> None:
    with client.pipeline(transaction=False) as pipe:
        for number in range(first, first + count):
            pipe.set(f"key:{number}", f"{number}".ljust(size, "."), px=HOUR if number % 3 else None)
            if number % 1000 == 0:
                pipe.execute()
        pipe.execute()


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """Do something over and over until the block ends, and hear of it if it fails."""
    ended = threading.Event()
    errors: list[BaseException] = []

    def loop() -> None:
        try:
            while not ended.is_set():
                work()
        except BaseException as error:  # raised again below
            errors.append(error)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if errors:
        raise errors[0]


# ------------------------------------------------------------------ what is copied


def test_every_type_arrives_as_it_was_and_as_check_mode_foretold(sides: Sides) -> None:
    with sides.old() as old:
        count = fill_with_every_type(old)
    foretold = sides.copy(check=True)
    assert not sides.journal.exists()
    assert sum(server.do("DBSIZE") for server in sides.masters()) == 0
    done = sides.copy()
    assert assert_the_same(sides) == count
    for key in ("actions", "before", "after", "diff", "types", "complete"):
        assert foretold[key] == done[key], key
    assert (foretold["changed"], done["changed"], done["complete"]) == (True, True, True)
    assert done["before"]["missing"] == done["copied"] == done["after"]["equal"] == count
    assert (
        done["before"]["source_keys"] == done["after"]["source_keys"] == done["after"]["target_keys"] == count
    )
    for check in (True, False):
        for stage in ("copy", "finish"):
            again = sides.copy(check=check, stage=stage)
            assert (again["changed"], again["actions"]) == (False, [])
            assert again["after"] == again["before"] == done["after"]


def test_values_of_another_form_are_known_to_be_the_same_without_a_journal(sides: Sides) -> None:
    with sides.old() as old:
        fill_with_every_type(old)
    sides.copy()
    sides.journal.unlink()
    # Hash tables are now serialised in another order than at the source, and some as no table at all.
    for server in sides.masters():
        server.do("CONFIG", "SET", "hash-max-listpack-entries", 5000, "set-max-intset-entries", 10)
    try:
        with sides.new() as new:
            new.delete("small set", "numbers")
            new.sadd("small set", "b", "a")
            new.sadd("numbers", *reversed(range(100)))
        again = sides.copy()
        assert (again["changed"], again["complete"]) == (False, True)
    finally:
        for server in sides.masters():
            server.do("CONFIG", "SET", "hash-max-listpack-entries", 128, "set-max-intset-entries", 512)


def test_a_source_that_has_only_times_to_live(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_io, "KNOWS_MOMENTS", (99, 0))
    with sides.old() as old:
        fill(old, 300)
        before = old.pexpiretime("key:1")
    given = sides.arguments(
        stage="copy",
        on_conflict="fail",
        delete=False,
        deleted_limit=0,
        expiry_tolerance_ms=1000,
        batch_keys=50,
        batch_bytes=1 << 20,
        max_rate=0,
    )
    desired = Desired.wanted(given)
    for changed in (True, False):
        journal = Journal(str(sides.journal), read_only=False)
        with CopyIO(desired, journal, Login(), Login(), check_mode=False) as io:
            outcome = converge(io.observe, lambda survey: plan(survey, desired), io, check_mode=False)
        assert outcome.changed is changed
    with sides.new() as new:
        assert abs(new.pexpiretime("key:1") - before) < 1000
        assert new.ttl("key:0") == -1


def test_a_key_that_expires_meanwhile_does_not_live_on(sides: Sides) -> None:
    with sides.old() as old:
        fill(old, 1000)
        for number in range(200):
            old.set(f"soon:{number}", "x", px=1500 + 5 * number)
    done = sides.copy(max_rate=800, batch_keys=100)
    assert done["before"]["source_keys"] >= 1000
    assert done["complete"]
    time.sleep(2.6)
    with sides.new() as new:
        assert new.exists(*[f"soon:{number}" for number in range(200)]) == 0
        assert len(list(new.scan_iter(count=1000))) == 1000
    assert sides.copy(stage="finish")["changed"] is False


def test_max_rate_is_kept(sides: Sides) -> None:
    with sides.old() as old:
        fill(old, 2000)
    began = time.monotonic()
    sides.copy(max_rate=1000, batch_keys=100)
    # Each key is looked at, fetched and looked at again.
    assert time.monotonic() - began > 5.5


# ------------------------------------------------------------------ who wins


@pytest.fixture
def parted(sides: Sides) -> Sides:
    """Both sides after a copy, a last write at the source, the switch, and some writes in the cluster."""
    with sides.old() as old, sides.new() as new:
        for number in range(100):
            old.set(f"key:{number}", f"first {number}")
        sides.copy()
        old.set("key:1", "changed at the source")
        old.expire("key:2", 1000)
        old.set("late", "made at the source")
        old.delete("key:3", "key:4")
        old.incr("counter")
        new.set("key:5", "changed in the cluster")
        new.expire("key:6", 1000)
        new.delete("key:7")
        new.set("own", "made in the cluster")
        new.set("key:4", "deleted at the source, changed in the cluster")
        old.set("key:8", "changed at the source")
        new.set("key:8", "changed in the cluster")
        old.set("key:9", "changed at the source")
        new.delete("key:9")
        new.incrby("counter", 10)
    return sides


BEFORE = {
    "missing": 1,
    "outdated": 2,
    "changed_in_cluster": 2,
    "deleted_in_cluster": 1,
    "deleted_at_source": 1,
    "conflicts": 3,
}


@pytest.mark.parametrize("winner", ["source", "target"])
@pytest.mark.parametrize("delete", [True, False])
def test_the_last_pass(parted: Sides, winner: str, delete: bool) -> None:
    options: dict[str, Any] = {"stage": "finish", "on_conflict": winner, "delete": delete}
    foretold = parted.copy(check=True, **options)
    done = parted.copy(**options)
    assert {name: done["before"][name] for name in BEFORE} == BEFORE
    assert (foretold["actions"], foretold["after"]) == (done["actions"], done["after"])
    assert sorted(done["conflict_sample"]) == ["counter", "key:8", "key:9"]
    assert (done["complete"], done["changed"], done["deleted"]) == (True, True, int(delete))
    with parted.new() as new:
        held = {key: new.get(key) for key in (b"key:1", b"late", b"key:4", b"key:5", b"key:7", b"own")}
        assert held == {
            b"key:1": b"changed at the source",
            b"late": b"made at the source",
            b"key:4": b"deleted at the source, changed in the cluster",
            b"key:5": b"changed in the cluster",
            b"key:7": None,
            b"own": b"made in the cluster",
        }
        assert new.get("key:3") == (None if delete else b"first 3")
        assert (new.ttl("key:2") > 0, new.ttl("key:6") > 0) == (True, True)
        ours = winner == "source"
        assert new.get("counter") == (b"1" if ours else b"10")
        assert new.get("key:8") == (b"changed at the source" if ours else b"changed in the cluster")
        assert new.get("key:9") == (b"changed at the source" if ours else None)
    again = parted.copy(**options)
    assert (again["changed"], again["after"]) == (False, done["after"])


def test_a_conflict_is_refused_before_anything_is_changed(parted: Sides) -> None:
    with parted.new() as new:
        before = {key: new.get(key) for key in new.scan_iter(count=1000)}
        for check in (True, False):
            said = parted.refusal(check=check, stage="finish")
            assert "differ in 3 keys of which either may be right" in said
            assert "key:8" in said
        assert {key: new.get(key) for key in new.scan_iter(count=1000)} == before


def test_a_source_that_lost_its_data_deletes_nothing(sides: Sides) -> None:
    with sides.old() as old:
        fill(old, 50)
        sides.copy()
        old.flushall()
    said = sides.refusal(stage="finish", delete=True, deleted_limit=49)
    assert "is without 50 keys copied from it earlier" in said
    done = sides.copy(stage="finish")
    assert (done["changed"], done["after"]["deleted_at_source"], done["after"]["target_keys"]) == (
        False,
        50,
        50,
    )


def test_a_cluster_that_lost_its_data_is_not_taken_for_an_app_that_deletes(sides: Sides) -> None:
    with sides.old() as old:
        fill(old, 50)
    sides.copy()
    for server in sides.masters():
        server.do("FLUSHALL")
    said = sides.refusal(stage="finish", deleted_limit=49)
    assert "is without 50 keys copied into it earlier" in said
    done = sides.copy()
    assert (done["before"]["unfinished"], done["copied"], done["complete"]) == (50, 50, True)
    assert assert_the_same(sides) == 50


def test_keys_that_were_never_copied_by_us_are_never_deleted(sides: Sides) -> None:
    with sides.old() as old, sides.new() as new:
        old.set("both", "same")
        new.set("both", "same")
        old.set("other", "x")
        sides.copy()
        old.delete("both")
        done = sides.copy(stage="finish", delete=True)
        assert (done["changed"], new.get("both")) == (False, b"same")


# ------------------------------------------------------------------ while others write


def test_a_copy_while_the_app_writes_and_a_last_pass_after_it(sides: Sides) -> None:
    with sides.old() as old:
        fill(old, 3000)
        chance = random.Random(3)  # noqa: S311  # no secret

        def write() -> None:
            number = chance.randrange(3500)
            old.set(f"key:{number}", f"later {chance.random()}", px=chance.choice([None, HOUR]))
            old.incr("counter")
            old.rpush("growing", number)
            old.hset(f"session:{number}", mapping={"user": number, "seen": chance.random()})
            old.delete(f"key:{chance.randrange(3500)}")
            old.pexpire(f"key:{chance.randrange(3500)}", 2 * HOUR)

        with meanwhile(write):
            first = sides.copy(batch_keys=100, max_rate=5000)
            second = sides.copy(batch_keys=100, max_rate=5000)
            said = sides.refusal(stage="finish", batch_keys=100, max_rate=5000)
        assert first["behind"] > 0
        assert second["before"]["outdated"] > 0
        assert "something still writes to it" in said
        done = sides.copy(stage="finish", delete=True, deleted_limit=10_000)
        assert (done["complete"], done["behind"]) == (True, 0)
        assert done["after"]["target_keys"] == done["after"]["source_keys"]
        assert done["after"]["source_keys"] == assert_the_same(sides, tolerance=1000)


def test_what_the_app_writes_in_the_cluster_during_the_last_pass_stays(sides: Sides) -> None:
    with sides.old() as old, sides.new() as new:
        fill(old, 4000)
        sides.copy()
        # All of these are to be replaced, while the app is writing some of them.
        fill(old, 4000, size=30)
        fill(old, 1000, first=4000)
        written: dict[str, str] = {}
        chance = random.Random(5)  # noqa: S311  # no secret

        def write() -> None:
            key = f"key:{chance.randrange(5000)}"
            written[key] = f"the app's {chance.random()}"
            new.set(key, written[key])

        with meanwhile(write):
            done = sides.copy(stage="finish", on_conflict="target", batch_keys=200, max_rate=4000)
        assert done["complete"]
        assert written
        for key, value in written.items():
            assert new.get(key) == value.encode(), key
        untouched = next(f"key:{n}" for n in range(5000) if f"key:{n}" not in written)
        assert new.get(untouched) == old.get(untouched)


@pytest.mark.parametrize("seed", range(4))
def test_a_run_that_is_killed_is_completed_by_the_next_one(sides: Sides, seed: int) -> None:
    with sides.old() as old:
        fill_with_every_type(old)
        fill(old, 3000)
        chance = random.Random(seed)  # noqa: S311  # no secret
        for turn in range(4):
            words = command("redis_copy_keys", sides.arguments(batch_keys=50, max_rate=4000))
            run = subprocess.Popen(words, stdout=subprocess.DEVNULL)  # noqa: S603  # our own words
            try:
                time.sleep(chance.uniform(0.6, 2.5))
            finally:
                run.kill()
                run.wait()
            # Nobody writes in the cluster: whatever the killed run left, no key may look as if somebody had.
            fill(old, 100, size=21 + turn, first=chance.randrange(2900))
        done = sides.copy()
        assert done["complete"]
        count = assert_the_same(sides)
        assert done["after"]["target_keys"] == count
        assert sides.copy(stage="finish")["changed"] is False


def test_a_failover_amid_a_copy_costs_no_key(sides: Sides) -> None:
    with sides.old() as old:
        fill(old, 4000)
    words = command("redis_copy_keys", sides.arguments(batch_keys=100, max_rate=2500))
    run = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)  # noqa: S603  # our own words
    try:
        victim = sides.masters()[0]
        wait_for(lambda: victim.do("DBSIZE") > 200, "the copy to be under way")
        victim.stop()
        said, _errors = run.communicate(timeout=60)
    finally:
        run.kill()
        run.wait()
    assert '"complete": true' in said, said
    with sides.old() as old:
        assert len(sides.masters()) == 3
        assert sum(server.do("DBSIZE") for server in sides.masters()) == old.dbsize() == 4000
    wait_for(lambda: set(sides.copy(stage="finish")["actions"]) == set(), "nothing to be left")


def test_slots_that_move_amid_a_copy_cost_no_key(sides: Sides) -> None:
    with sides.old() as old:
        fill(old, 4000)
    words = command("redis_copy_keys", sides.arguments(batch_keys=100, max_rate=2500))
    run = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)  # noqa: S603  # our own words
    cli = shutil.which("redis-cli")
    assert cli
    giver, taker = sides.masters()[:2]

    def move(one: Server, other: Server) -> None:
        options = ["--cluster-from", one.do("CLUSTER", "MYID"), "--cluster-to", other.do("CLUSTER", "MYID")]
        moved = ["--cluster", "reshard", one.addr, *options, "--cluster-slots", "800", "--cluster-yes"]
        subprocess.run([cli, *moved], check=True, capture_output=True)  # noqa: S603  # our own words

    try:
        wait_for(lambda: giver.do("DBSIZE") > 100, "the copy to be under way")
        move(giver, taker)
        said, _errors = run.communicate(timeout=60)
    finally:
        run.kill()
        run.wait()
        move(taker, giver)
    assert '"complete": true' in said, said
    assert sides.copy(stage="finish")["changed"] is False
    assert sum(server.do("DBSIZE") for server in sides.masters()) == 4000


# ------------------------------------------------------------------ what is refused


def test_refusals(sides: Sides, tmp_path: Path) -> None:
    first = {"host": HOST, "port": sides.nodes[0].port}
    with sides.old() as old:
        old.set("key", "value")
    assert "are the same server" in sides.refusal(source=first)
    assert "cannot be reached" in sides.refusal(source={"host": HOST, "port": 1})
    assert "resolves to nothing" in sides.refusal(source={"host": "no.such.invalid"})
    assert "cannot be reached" in sides.refusal(nodes=[{"host": HOST, "port": 1}])
    alone = [{"host": HOST, "port": sides.source.port}]
    assert "are the same server" in sides.refusal(nodes=alone)
    assert "no folder for the journal" in sides.refusal(journal=str(tmp_path / "none" / "journal"))
    assert "run stage=copy first" in sides.refusal(stage="finish")
    assert not sides.journal.exists()
    with redis.Redis(host=HOST, port=sides.source.port, db=2) as other:
        other.set("key", "value")
    assert "has keys in database 2" in sides.refusal()
    assert sum(server.do("DBSIZE") for server in sides.masters()) == 0


def test_a_node_outside_a_cluster_and_a_password(sides: Sides, fleet: Fleet) -> None:
    (single,) = fleet.start(1)
    node = [{"host": HOST, "port": single.port}]
    assert "cluster_state:fail" in sides.refusal(nodes=node)
    (other,) = fleet.start(1, "--cluster-enabled", "no")
    plain = [{"host": HOST, "port": other.port}]
    assert "is not in cluster mode" in sides.refusal(nodes=plain)
    (locked,) = fleet.start(1, "--cluster-enabled", "no", "--requirepass", PASSWORD, password=PASSWORD)
    source: dict[str, Any] = {"host": HOST, "port": locked.port}
    for password in ({}, {"login_password": "wrong"}):
        said = sides.refusal(source=source | password)
        assert "does not let us in" in said or "did not answer as it should (NOAUTH" in said
        assert "wrong" not in said.replace("WRONGPASS", "")
    locked.do("SET", "key", "value")
    assert sides.copy(source=source | {"login_password": PASSWORD})["copied"] == 1


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path, ports=set(range(21000, 21400)))
    try:
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, str]:
    """Make a certificate for the loopback address, which is its own authority."""
    openssl = shutil.which("openssl")
    assert openssl
    files = {"key": str(tmp_path / "key.pem"), "cert": str(tmp_path / "cert.pem")}
    words = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    names = ["-subj", "/CN=redis", "-addext", f"subjectAltName=IP:{HOST}"]
    made = [openssl, "req", "-x509", *words, *names, "-keyout", files["key"], "-out", files["cert"]]
    subprocess.run(made, check=True, capture_output=True)  # noqa: S603  # our own words
    return files


def test_both_sides_over_tls(fleet: Fleet, certificate: dict[str, str], sides: Sides) -> None:
    cert = certificate["cert"]
    files = ("--tls-cert-file", cert, "--tls-key-file", certificate["key"], "--tls-ca-cert-file", cert)
    secured: dict[int, int] = {}

    def start(*options: str) -> Server:
        port = free_port(fleet.ports)
        settings = ("--tls-port", str(port), *files, "--tls-auth-clients", "no", *options)
        (server,) = fleet.start(1, *settings)
        secured[server.port] = port
        return server

    listed = [{"host": HOST, "port": secured[start("--tls-cluster", "yes").port]} for _number in range(3)]
    source = start("--cluster-enabled", "no")
    tls = {"tls": True, "ca_certs": cert}
    formed = run("redis_cluster", {"nodes": listed, "replicas": 0, **tls})
    assert formed["health"]["state"] == "ok", formed
    source.do("SET", "key", "value")
    options: dict[str, Any] = {
        "source": {"host": HOST, "port": secured[source.port], **tls},
        "nodes": listed,
        **tls,
    }
    done = sides.copy(**options)
    assert (done["copied"], done["complete"]) == (1, True)
    distrusted = sides.refusal(**(options | {"source": options["source"] | {"ca_certs": None}}))
    assert distrusted.startswith(f"The source {HOST}:{secured[source.port]} and we do not agree on TLS")
    assert "correct tls" in sides.refusal(**(options | {"ca_certs": None}))
    # A plain port does not answer to TLS.
    plain = sides.refusal(**(options | {"source": {"host": HOST, "port": source.port, **tls}}))
    assert plain.startswith(f"The source {HOST}:{source.port} ")


def test_what_does_not_fit_is_refused_before_anything_is_evicted(sides: Sides) -> None:
    with sides.old() as old:
        fill(old, 300, size=100_000)
    limit = 5_000_000
    try:
        for server in sides.nodes:
            server.do("CONFIG", "SET", "maxmemory", limit, "maxmemory-policy", "allkeys-lru")
        said = sides.refusal()
        assert "bytes below its maxmemory" in said
        assert sum(server.do("DBSIZE") for server in sides.masters()) == 0
    finally:
        for server in sides.nodes:
            server.do("CONFIG", "SET", "maxmemory", 0, "maxmemory-policy", "noeviction")


def test_two_runs_at_a_time_are_refused(sides: Sides) -> None:
    with sides.old() as old:
        fill(old, 2000)
    words = command("redis_copy_keys", sides.arguments(batch_keys=100, max_rate=1000))
    run = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)  # noqa: S603  # our own words
    try:
        wait_for(sides.journal.exists, "the first run to be under way")
        assert "Another run uses the journal" in sides.refusal()
        said, _errors = run.communicate(timeout=60)
    finally:
        run.kill()
        run.wait()
    assert '"complete": true' in said


def test_a_reader_is_enough_at_the_source(sides: Sides) -> None:
    """The source is only ever read, whatever is asked for."""
    with sides.old() as old:
        fill(old, 100)
        reader = ("ACL", "SETUSER", "reader", "on", f">{PASSWORD}", "~*", "+@read", "+ping", "+info", "+time")
        old.execute_command(*reader)
        try:
            login = {
                "host": HOST,
                "port": sides.source.port,
                "login_user": "reader",
                "login_password": PASSWORD,
            }
            assert sides.copy(source=login)["copied"] == 100
        finally:
            old.execute_command("ACL", "DELUSER", "reader")


def test_no_error_of_the_clients_escapes(sides: Sides) -> None:
    """A source that dies amid a copy is a sentence, not a traceback."""
    with sides.old() as old:
        fill(old, 3000)
    words = command("redis_copy_keys", sides.arguments(batch_keys=100, max_rate=1500))
    run = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)  # noqa: S603  # our own words
    try:
        wait_for(lambda: sum(s.do("DBSIZE") for s in sides.masters()) > 200, "the copy to be under way")
        sides.source.stop()
        said, _errors = run.communicate(timeout=60)
    finally:
        run.kill()
        run.wait()
        sides.source.start()
    assert "broke the connection off" in said
    assert "Traceback" not in said
    with pytest.raises(RedisError), sides.old() as old:
        old.execute_command("NO SUCH COMMAND")
