# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the cluster for everything that the app was told is written."""

from __future__ import annotations

import json
from typing import Any

testinfra_hosts = ["redis_single"]

# Reads every key of the record on its standard input, and whether it has an expiry, from the cluster.
READER = """
import json, os, sys, redis
app = redis.RedisCluster(host=sys.argv[1], port=6379, password=os.environ["READER_PASSWORD"])
found = {}
for key in json.load(open(sys.argv[2])):
    value = app.get(key)
    found[key] = None if value is None else value.decode()
print(json.dumps(found))
"""


def last_words(host: Any, where: str) -> dict[str, str]:
    """Return what was acknowledged last for each key."""
    lines = host.check_output("cat /var/lib/writer-%s", where).splitlines()
    return dict(json.loads(line) for line in lines)


def test_the_cluster_holds_all_that_the_app_was_told_is_written(host: Any) -> None:
    source, cluster = last_words(host, "source"), last_words(host, "cluster")
    expected = source | cluster
    assert len(source) > 5000
    assert len(cluster) > 500
    host.run_expect([0], "cat > /root/keys <<'END'\n" + json.dumps(sorted(expected)) + "\nEND")
    host.run_expect([0], "cat > /root/reader.py <<'END'\n" + READER + "\nEND")
    password = host.ansible.get_variables()["vault_redis_password"]
    address = host.ansible.get_variables()["ansible_host"].rpartition(".")[0] + ".41"
    said = host.check_output("READER_PASSWORD=%s python3 /root/reader.py %s /root/keys", password, address)
    held = json.loads(said)
    # An app that deletes a key of which it does not know whether it has been copied yet.
    late = {key for key, value in cluster.items() if not value and source.get(key)}
    wrong = {key for key, value in expected.items() if (held[key] or "") != value} - late
    assert wrong == set(), sorted(wrong)[:5]
