# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes backups, loses data in several ways, and looks for what comes back. Each test builds on the last."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import Machines, Patience, Playbooks

ROOT = Path(__file__).resolve().parents[3]
DATABASES = ("pg1", "pg2")
SILENCE = "table inet silence { chain out { type filter hook output priority 0; ip daddr %s drop; }; }"
STREAMS = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"


def psql(machine: Any, query: str, database: str = "app") -> str:
    """Ask as the superuser."""
    said = machine.check_output(
        "cd / && sudo -u postgres psql -XAtq -v ON_ERROR_STOP=1 -d %s -c %s", database, query
    )
    return str(said)


def info(host: Any) -> dict[str, Any]:
    """Ask what the repository holds."""
    said = host.check_output(
        "cd / && sudo -u postgres pgbackrest --stanza=main --output=json --log-level-console=off info"
    )
    (stanza,) = json.loads(said)
    return dict(stanza)


def archive(machine: Any, soon: Patience) -> None:
    """Wait until all that is committed here is in the repository."""
    segment = psql(machine, "SELECT pg_walfile_name(pg_switch_wal())")
    soon(lambda: psql(machine, "SELECT last_archived_wal FROM pg_stat_archiver")[-16:] >= segment[-16:], 30)


def words(machine: Any) -> set[str]:
    return set(psql(machine, "SELECT word FROM words").split())


def write(machine: Any, *some: str) -> None:
    """Commit words; they are acknowledged when it returns."""
    psql(machine, f"INSERT INTO words VALUES {', '.join(f'($${word}$$)' for word in some)}")  # noqa: S608


# Not the plugin's own: pytest would run the tests that ask for it first, and these go by their order.
@pytest.fixture(scope="module")
def repository(machines: Machines) -> Any:
    """Return the machine that keeps the backups."""
    return machines("backup1")


def test_there_is_a_backup_and_it_is_encrypted(repository: Any) -> None:
    stanza = info(repository)
    assert stanza["status"]["code"] == 0
    assert stanza["cipher"] == "aes-256-cbc"
    assert [backup["type"] for backup in stanza["backup"]] == ["full"]


def test_the_passphrase_is_only_where_the_repository_is(repository: Any, machines: Machines) -> None:
    (passphrase,) = re.findall(
        r"repo1-cipher-pass=(\S+)", repository.file("/etc/pgbackrest.conf").content_string
    )
    holders = sorted(repository.check_output("grep -rlF %s /etc", passphrase).split())
    assert holders == ["/etc/pgbackrest-check.conf", "/etc/pgbackrest.conf"]
    for holder in holders:
        assert (repository.file(holder).mode, repository.file(holder).user) == (0o640, "postgres")
    for name in DATABASES:
        assert machines(name).run("grep -rlF %s /etc", passphrase).stdout == ""


def test_machines_serve_nobody_but_whom_they_need(repository: Any, machines: Machines) -> None:
    address = machines("pg1").ansible.get_variables()["ansible_host"]
    asked = "cd / && sudo -u postgres pgbackrest --stanza=main --repo1-host={} info"
    right = machines("pg2").run(asked.format(repository.ansible.get_variables()["ansible_host"]))
    assert right.rc == 0, right.stdout
    wrong = machines("pg2").run(asked.format(address))
    assert "access denied" in wrong.stdout + wrong.stderr
    # Nor is a stranger served, who calls himself by the right name.
    stranger = (
        "cd /tmp && openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=%s -keyout s.key -out s.crt && "
        "chmod 600 s.key && pgbackrest --config=/dev/null --stanza=main --repo1-host=%s "
        "--repo1-host-type=tls --repo1-host-port=8432 --repo1-host-ca-file=/etc/pgbackrest-tls/ca.crt "
        "--repo1-host-cert-file=/tmp/s.crt --repo1-host-key-file=/tmp/s.key info"
    )
    own = repository.ansible.get_variables()["ansible_host"]
    refused = machines("pg2").run(stranger, address, own)
    assert "unknown ca" in refused.stdout + refused.stderr


def test_keys_are_for_postgres_alone(repository: Any, machines: Machines) -> None:
    for machine in (repository, *map(machines, DATABASES)):
        key = machine.file("/etc/pgbackrest-tls/machine.key")
        assert (key.mode, key.user) == (0o600, "postgres")


def test_timers_run_where_the_repository_is(repository: Any, machines: Machines) -> None:
    for timer in ("backup@full", "backup@incr", "restore-check"):
        assert repository.service(f"pgbackrest-{timer}.timer").is_running
        assert repository.service(f"pgbackrest-{timer}.timer").is_enabled
    assert not repository.file("/etc/systemd/system/pgbackrest-backup@diff.timer").exists
    assert machines("pg1").run("ls /etc/systemd/system/pgbackrest-*").rc != 0


def test_wal_is_archived_before_a_segment_is_full(machines: Machines) -> None:
    assert psql(machines("pg1"), "SHOW archive_timeout") == "1min"
    recent = "SELECT last_failed_time IS NULL OR last_failed_time < last_archived_time FROM pg_stat_archiver"
    assert psql(machines("pg1"), recent) == "t"
    assert psql(machines("pg2"), "SHOW archive_command") == psql(machines("pg1"), "SHOW archive_command")


def test_an_incremental_backup_holds_what_has_changed(
    playbooks: Playbooks, repository: Any, machines: Machines
) -> None:
    write(machines("pg1"), "second")
    playbooks("playbooks/backup.yml", backup_type="incr")
    full, incremental = info(repository)["backup"]
    assert incremental["type"] == "incr"
    assert incremental["prior"] == full["label"]
    assert incremental["info"]["delta"] < full["info"]["delta"] / 5


def test_the_check_restores_and_reads(playbooks: Playbooks, repository: Any) -> None:
    said = playbooks("playbooks/backup_check.yml")
    assert info(repository)["backup"][-1]["label"] in said
    assert "amcheck: true" in said
    # What was asked for: two words, and when the second was written.
    assert re.search(r"rows:\s+- +- '2'\s+- '\d{4}-", said), said[-3000:]
    assert repository.run("pgrep -u postgres -f pgbackrest-check").rc != 0
    assert not repository.file("/var/lib/postgresql/pgbackrest-check").exists


def test_the_check_fails_loudly_when_a_row_is_missing(repository: Any) -> None:
    wanted = json.loads(repository.file("/etc/pgbackrest-check.json").content_string)
    wanted["queries"] = [{"database": "app", "query": "SELECT word FROM words WHERE word = 'never'"}]
    program = "/usr/local/lib/payaid/pgbackrest_restore_check.py"
    repository.check_output("echo %s > /tmp/wanted.json", json.dumps(wanted))
    said = repository.run("cd / && sudo -u postgres python3 %s /tmp/wanted.json", program)
    assert said.rc != 0
    assert "in the restored app there is no row for: SELECT word" in said.stderr
    assert not repository.file("/var/lib/postgresql/pgbackrest-check").exists


def test_the_check_runs_as_a_unit(repository: Any) -> None:
    repository.check_output("systemctl start pgbackrest-restore-check.service")
    assert '"backup":' in repository.check_output(
        "journalctl -u pgbackrest-restore-check.service -o cat -n 5"
    )


FROM_BACKUP: dict[str, Any] = {"postgres_replica_clone_from": "backup"}
# Freezes the restore on a replica, which would be too quick, and kills the run that waits for it.
KILL_A_RESTORE = """
for _ in $(seq 3000); do
  restore=$(pgrep -f '^/usr/bin/pgbackrest.*/main[.]new.* restore$') && kill -STOP $restore && break
  sleep 0.1
done
sleep 1
kill -KILL $(ps -o ppid= -p $restore) && echo $restore
"""


@pytest.fixture
def base_backups(machines: Machines) -> Any:
    """Count the base backups that the primary was asked for, from now on."""
    primary = machines("pg1")
    log = primary.check_output("ls /var/log/postgresql/postgresql-*-main.log")

    def asked() -> int:
        return int(primary.check_output("grep -c 'replication command: BASE_BACKUP' %s || true", log))

    before = asked()
    psql(primary, "ALTER SYSTEM SET log_replication_commands = on")
    psql(primary, "SELECT pg_reload_conf()")
    yield lambda: asked() - before
    psql(primary, "ALTER SYSTEM RESET log_replication_commands")
    psql(primary, "SELECT pg_reload_conf()")


def test_a_wiped_replica_is_cloned_from_the_backup_however_often_that_is_killed(
    playbooks: Playbooks, machines: Machines, base_backups: Any, soon: Patience
) -> None:
    primary, replica = map(machines, DATABASES)
    replica.check_output("systemctl stop 'postgresql@*-main.service'")
    replica.check_output("rm -r /var/lib/postgresql/*/main")
    write(primary, "meanwhile")
    run = playbooks.begin("playbooks/postgres.yml", **FROM_BACKUP)
    frozen = replica.check_output(KILL_A_RESTORE)
    assert run.communicate()[0]
    assert run.returncode != 0
    assert replica.run("ps -p %s", frozen).rc == 0, "the restore outlives its run"
    playbooks("playbooks/postgres.yml", **FROM_BACKUP)
    assert replica.run("pgrep -f '/main[.]new'").rc != 0
    assert replica.run("ps -p %s", frozen).rc != 0
    assert replica.check_output("ls /var/lib/postgresql/*/").split() == ["main", "main.passfile"]
    soon(lambda: psql(primary, STREAMS) == "1", 10)
    soon(lambda: words(replica) == {"first", "second", "meanwhile"}, 10)
    assert base_backups() == 0
    psql(primary, "DELETE FROM words WHERE word = 'meanwhile'")


def test_a_replica_that_was_away_for_long_catches_up_by_the_archive(
    playbooks: Playbooks, machines: Machines, base_backups: Any, soon: Patience
) -> None:
    """Its slot has lost what it needs, and it comes back without a clone."""
    primary, replica = map(machines, DATABASES)
    short = {"max_slot_wal_keep_size": "16MB", "wal_keep_size": "0"}
    for name, value in short.items():
        psql(primary, f"ALTER SYSTEM SET {name} = '{value}'")
    psql(primary, "SELECT pg_reload_conf()")
    replica.check_output("systemctl stop 'postgresql@*-main.service'")
    for number in range(6):
        write(primary, f"absent{number}")
        archive(primary, soon)
    psql(primary, "CHECKPOINT", "postgres")
    status = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'pg2'"
    soon(lambda: psql(primary, status) == "lost", 30)
    playbooks("playbooks/postgres.yml")
    soon(lambda: psql(primary, STREAMS) == "1", 10)
    soon(lambda: words(replica) == words(primary), 10)
    assert len(words(replica)) == 8
    assert psql(primary, status) in ("reserved", "extended")
    assert base_backups() == 0
    assert "main.old" not in replica.check_output("ls /var/lib/postgresql/*/")
    for name in short:
        psql(primary, f"ALTER SYSTEM RESET {name}")
    psql(primary, "SELECT pg_reload_conf()")
    psql(primary, "DELETE FROM words WHERE word LIKE 'absent%'")


def test_the_archive_has_no_gap_across_a_switchover(
    playbooks: Playbooks, repository: Any, machines: Machines, soon: Patience
) -> None:
    before = len(info(repository)["backup"])
    playbooks("playbooks/switchover.yml", switchover_to="pg2")
    write(machines("pg2"), "switched")
    archive(machines("pg2"), soon)
    # The last backup is from before it, and what is replayed from there reaches beyond it.
    assert re.search(r"rows:\s+- +- '3'\s+- '\d{4}-", playbooks("playbooks/backup_check.yml"))
    playbooks("playbooks/backup.yml", backup_type="incr")
    assert len(info(repository)["backup"]) == before + 1
    assert info(repository)["backup"][-1]["archive"]["stop"].startswith("00000002")


def test_after_a_switchover_there_is_nothing_to_set_up_anew(
    playbooks: Playbooks, machines: Machines, soon: Patience
) -> None:
    assert not re.search(r"changed=[1-9]", playbooks("playbooks/pgbackrest.yml"))
    playbooks("playbooks/switchover.yml", switchover_to="pg1")
    psql(machines("pg1"), "DELETE FROM words WHERE word = 'switched'")
    soon(lambda: psql(machines("pg1"), STREAMS) == "1", 10)


def test_nothing_is_overwritten_that_was_not_named(playbooks: Playbooks, machines: Machines) -> None:
    said = playbooks("playbooks/restore.yml", restore_overwrite="pg1", fails=True)
    assert "say so by -e restore_overwrite=pg1,pg2. Nothing was changed." in " ".join(said.split())
    assert words(machines("pg1")) == {"first", "second"}


@pytest.fixture(scope="module")
def moment(machines: Machines) -> str:
    """Write a row, and another one two seconds after a moment."""
    write(machines("pg1"), "wanted")
    time.sleep(1)
    at = psql(
        machines("pg1"), "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00')"
    )
    time.sleep(1)
    # The last thing ever committed there: a recovery must still see that the moment is over.
    write(machines("pg1"), "unwanted")
    return at


def test_a_restore_to_a_moment_finds_what_was_before_and_not_what_was_after(
    playbooks: Playbooks, machines: Machines, moment: str, soon: Patience
) -> None:
    playbooks(
        "playbooks/restore.yml",
        restore_overwrite="pg1,pg2",
        restore_until="time",
        restore_target=moment,
        restore_name="mistake",
    )
    assert words(machines("pg1")) == {"first", "second", "wanted"}
    soon(lambda: psql(machines("pg1"), STREAMS) == "1", 10)
    assert words(machines("pg2")) == {"first", "second", "wanted"}


def test_what_was_there_before_is_still_there(machines: Machines) -> None:
    for name in DATABASES:
        (folder,) = machines(name).check_output("ls -d /var/lib/postgresql/*/main.before-mistake").split()
        assert machines(name).file(f"{folder}/PG_VERSION").exists


def test_nothing_of_the_restore_is_left_in_the_settings(machines: Machines) -> None:
    for name in DATABASES:
        assert "pgbackrest-fetch" in psql(machines(name), "SHOW restore_command")
        assert "recovery" not in machines(name).check_output(
            "cat /var/lib/postgresql/*/main/postgresql.auto.conf"
        )
    # The server that was restored knows its target until it is restarted, and makes nothing of it.
    assert psql(machines("pg2"), "SHOW recovery_target_time") == ""


def test_a_restore_of_the_same_name_is_not_done_again(
    playbooks: Playbooks, machines: Machines, moment: str
) -> None:
    write(machines("pg1"), "later")
    said = playbooks(
        "playbooks/restore.yml",
        restore_overwrite="pg1,pg2",
        restore_until="time",
        restore_target=moment,
        restore_name="mistake",
    )
    assert not re.search(r"changed=[1-9]", said), said[-2000:]
    assert words(machines("pg1")) == {"first", "second", "wanted", "later"}


def test_backups_go_on_on_another_primary(
    playbooks: Playbooks, repository: Any, machines: Machines, soon: Patience
) -> None:
    """The primary is killed and wiped; somebody promotes the replica, and tells the backups nothing."""
    old, new = map(machines, DATABASES)
    old.check_output("systemctl kill --signal=KILL 'postgresql@*-main.service'")
    old.check_output("systemctl stop 'postgresql@*-main.service'; rm -r /var/lib/postgresql/*/main")
    # Nor is the repository there, and nothing says so: the promotion does not wait for what it may have.
    new.check_output(f"echo '{SILENCE}' | nft -f -", repository.ansible.get_variables()["ansible_host"])
    time.sleep(10)
    began = time.monotonic()
    assert psql(new, "SELECT pg_promote()", "postgres") == "t"
    assert time.monotonic() - began < 15
    new.check_output("nft delete table inet silence")
    psql(new, "CHECKPOINT", "postgres")  # it is on its new timeline for a backup only once it has had one
    write(new, "promoted")
    archive(new, soon)
    before = len(info(repository)["backup"])
    playbooks("playbooks/backup.yml", backup_type="incr")
    assert len(info(repository)["backup"]) == before + 1
    write(new, "acknowledged")


def test_a_wiped_primary_comes_back_with_every_row(
    playbooks: Playbooks, machines: Machines, soon: Patience
) -> None:
    playbooks("playbooks/restore.yml", restore_overwrite="pg2,pg1", restore_name="wiped", **FROM_BACKUP)
    everything = {"first", "second", "wanted", "later", "promoted", "acknowledged"}
    assert words(machines("pg1")) == everything
    soon(lambda: psql(machines("pg1"), STREAMS) == "1", 10)
    assert words(machines("pg2")) == everything
    assert machines("pg1").check_output("ls /var/lib/postgresql/*/ | grep -c before-wiped || true") == "0"


def test_the_new_timeline_can_be_restored(
    playbooks: Playbooks, repository: Any, machines: Machines, soon: Patience
) -> None:
    write(machines("pg1"), "last")
    archive(machines("pg1"), soon)
    playbooks("playbooks/backup.yml", backup_type="full")
    assert info(repository)["backup"][-1]["type"] == "full"
    assert "- '7'" in playbooks("playbooks/backup_check.yml")


def test_no_unit_has_failed(repository: Any, machines: Machines) -> None:
    for machine in (repository, *map(machines, DATABASES)):
        assert machine.check_output("systemctl is-system-running") == "running"
