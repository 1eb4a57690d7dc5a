# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the cluster for everything that the app was told is written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import Machines

testinfra_hosts = ["redis_single"]

# Reads every key that the app has written, and prints those of which the cluster says otherwise.
READER = """
import json, os, sys, redis
app = redis.RedisCluster(host=sys.argv[1], port=6379, username='app', password=os.environ['READER_PASSWORD'])
source, cluster = (dict(map(json.loads, open('/var/lib/writer-' + where))) for where in ('source', 'cluster'))
wrong = {}
for key, value in (source | cluster).items():
    held = (app.get(key) or b'').decode()
    # An app that deletes a key in the cluster cannot know whether it has been copied yet.
    if held != value and not (key in cluster and not value and held == source.get(key)):
        wrong[key] = [held, value]
print(json.dumps({'source': len(source), 'cluster': len(cluster), 'wrong': wrong}))
"""


def test_the_cluster_holds_all_that_the_app_was_told_is_written(host: Any, machines: Machines) -> None:
    variables = host.ansible.get_variables()
    address = machines("redis1").ansible.get_variables()["ansible_host"]
    said = json.loads(
        host.check_output(
            "READER_PASSWORD=%s python3 -c %s %s", variables["vault_redis_app_password"], READER, address
        )
    )
    assert said["source"] > 5000
    assert said["cluster"] > 500
    assert said["wrong"] == {}
