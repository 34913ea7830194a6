"""The shipped unit under a real systemd, installed with the commands of docs/operations.md."""

import re
from collections import Counter

import orjson

from tests.support.debian import commands_of
from tests.support.machine import Machine, Unit

DYNAMIC_USERS = range(61184, 65520)
"""User ids that systemd gives to units with DynamicUser=."""
_GET = """
import sys, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Authorization": sys.argv[2]})
print(urllib.request.urlopen(request).read().decode())
"""


def test_commands_of_the_docs_install_and_start_the_service(unit: Unit) -> None:
    for command in commands_of("operations.md", "With systemd"):
        if command.startswith("systemctl"):
            unit.machine.must("sh", "-ec", command)

    unit.until(ActiveState="active", SubState="running", StatusText="ready at http://127.0.0.1:8080")
    assert unit.properties()["UnitFileState"] == "enabled"
    main = unit.properties()["ExecMainPID"]
    assert int(unit.machine.must("stat", "-c", "%u", f"/proc/{main}")) in DYNAMIC_USERS
    assert (unit.state.stat().st_mode & 0o777, unit.mark("admin.key").stat().st_mode & 0o777) == (0o700, 0o600)


def test_job_is_done_and_kept_over_a_restart(unit: Unit) -> None:
    unit.start()
    unit.mark("go").touch()
    done = unit.enqueue("waits")
    unit.until_job(done, "succeeded")

    unit.machine.must("systemctl", "restart", unit.name)

    assert unit.command("jobs", "show", done)["status"] == "succeeded"
    assert unit.command("health", "--timeout", "60")["status"] in ("Healthy", "Degraded")


def test_reload_applies_good_settings_and_refuses_bad_ones(unit: Unit) -> None:
    unit.start()
    main = unit.properties()["ExecMainPID"]
    unit.settings({"Worker": {"Concurrency": 17}})
    unit.machine.must("systemctl", "reload", unit.name)
    unit.until(StatusText="settings reloaded")
    assert unit.command("health", "--timeout", "60")["entries"]["queue"]["data"]["concurrency"] == 17

    unit.settings({"Worker": {"Concurency": 18}})
    unit.machine.must("systemctl", "reload", unit.name)

    unit.machine.until(lambda: unit.properties()["StatusText"].startswith("reload failed: "), "the reload failed")
    health = unit.command("health", "--timeout", "60")
    assert (health["status"], health["entries"]["settings"]["status"]) == ("Degraded", "Degraded")
    assert health["entries"]["queue"]["data"]["concurrency"] == 17
    assert unit.is_at(ActiveState="active", ExecMainPID=main, NRestarts="0")
    unit.until_logged("Worker:Concurrency", "-p", "err")


def test_watchdog_restarts_a_service_whose_event_loop_is_blocked(unit: Unit) -> None:
    unit.change("WatchdogSec=5\n")
    unit.start()
    main = unit.properties()["ExecMainPID"]
    blocker = unit.enqueue("blocks")
    unit.machine.until(unit.mark("begun").exists, "the job blocks the event loop")

    unit.machine.until(lambda: unit.properties()["ExecMainPID"] not in ("0", main), "the watchdog ended the service")
    unit.mark("go").touch()

    unit.until(ActiveState="active", SubState="running")
    unit.until_logged("Watchdog timeout")
    assert re.search(r"unit_handlers\.py\", line \d+ in blocks", unit.log()), "the log names what blocked"
    unit.until_job(blocker, "succeeded")


def test_stop_lets_a_running_job_finish(unit: Unit) -> None:
    unit.start()
    job = unit.enqueue("waits")
    unit.machine.until(unit.mark("begun").exists, "the job runs")
    unit.machine.must("systemctl", "stop", "--no-block", unit.name)
    unit.until(ActiveState="deactivating", StatusText="finishing 1 jobs, 30 s left")

    unit.mark("go").touch()

    unit.until(ActiveState="inactive", Result="success", ExecMainStatus="0")
    unit.start()
    found = unit.command("jobs", "show", job)
    assert (found["status"], found["result"]) == ("succeeded", 1)


def test_stop_ends_a_stubborn_handler_before_systemd_kills(unit: Unit) -> None:
    unit.settings({"HostOptions": {"ShutdownTimeout": 2}})
    unit.start()
    job = unit.enqueue("blocks")
    unit.machine.until(unit.mark("begun").exists, "the job blocks the event loop")

    unit.machine.ask("systemctl", "stop", unit.name)

    # 63: the service's own guard has ended it. A kill by systemd would be Result=timeout.
    assert unit.is_at(ExecMainStatus="63", Result="exit-code", NRestarts="0")
    assert unit.machine.ask("pgrep", "-f", "bin/insignia-worker") == ""
    unit.mark("go").touch()
    unit.machine.must("systemctl", "reset-failed", unit.name)
    unit.start()
    unit.until_job(job, "succeeded")
    assert unit.command("jobs", "show", job)["attempt"] == 1, "the forced stop does not count as an attempt"


def test_faulty_settings_end_the_service_once(unit: Unit) -> None:
    unit.settings({"Worker": {"Concurency": 18}})

    assert unit.machine.run("systemctl", "start", unit.name).returncode != 0

    assert unit.is_at(ActiveState="failed", Result="exit-code", ExecMainStatus="78", NRestarts="0")
    unit.until_logged("did you mean 'Worker:Concurrency'?", "-p", "err")


def test_service_that_is_killed_is_started_again(unit: Unit) -> None:
    unit.start()
    main = unit.properties()["ExecMainPID"]
    job = unit.enqueue("waits")
    unit.machine.until(unit.mark("begun").exists, "the job runs")

    unit.machine.must("systemctl", "kill", "--signal=KILL", "--kill-who=main", unit.name)

    unit.machine.until(lambda: unit.properties()["ExecMainPID"] not in ("0", main), "systemd has started it again")
    unit.until(ActiveState="active", SubState="running", NRestarts="1")
    unit.mark("go").touch()
    unit.until_job(job, "succeeded")


def test_backup_by_root_is_restored_for_the_user_of_the_unit(unit: Unit) -> None:
    unit.start()
    unit.mark("go").touch()
    job = unit.enqueue("waits")
    unit.until_job(job, "succeeded")
    unit.machine.must("rm", "-rf", "/root/backup")
    unit.machine.must("insignia-worker", "db", "backup", "/root/backup")
    unit.machine.must("systemctl", "stop", unit.name)
    unit.machine.must("sh", "-c", "rm /var/lib/insignia-worker/*.db*")

    unit.machine.must("insignia-worker", "db", "restore", "/root/backup")

    unit.start()
    assert unit.command("jobs", "show", job)["status"] == "succeeded"


def test_credential_is_read_as_the_setting_of_its_name(unit: Unit) -> None:
    secret = "canary-of-a-systemd-credential"
    unit.machine.write("/etc/credstore/WebSocket__Token", secret)
    unit.change("LoadCredential=WebSocket__Token:/etc/credstore/WebSocket__Token\n")
    unit.start()

    key = unit.mark("admin.key").read_text().strip()
    text = unit.machine.must("python3", "-c", _GET, "http://127.0.0.1:8080/api/v1/settings", f"Bearer {key}")

    [found] = [row for row in orjson.loads(text)["settings"] if row["key"] == "WebSocket:Token"]
    assert found["value"] == "***"
    assert "/run/credentials/insignia-worker.service/WebSocket__Token" in found["origin"]
    assert secret not in text + unit.log()


def test_journal_has_a_priority_for_each_level(unit: Unit) -> None:
    unit.settings({"Worker": {"MaxAttempts": 1}})
    unit.start()
    unit.mark("go").touch()
    for kind, end in (("waits", "succeeded"), ("fails", "failed")):
        unit.until_job(unit.enqueue(kind), end)
    unit.until_logged("fails on purpose")

    lines = unit.machine.ask("journalctl", "-u", unit.name, "-o", "json", "_COMM=insignia-worker").splitlines()
    found = [orjson.loads(line) for line in lines]
    by_priority = Counter(entry["PRIORITY"] for entry in found)

    assert {"6", "5", "3"} <= set(by_priority), "information, success, error"
    assert [entry["PRIORITY"] for entry in found if "fails on purpose" in str(entry["MESSAGE"])] == ["3"]
    assert not [entry for entry in found if str(entry["MESSAGE"]).startswith("<")], "the prefix is not part of a line"


def test_booted_unit_is_hardened(machine: Machine) -> None:
    judged = machine.run("systemd-analyze", "security", "--threshold=20", "insignia-worker.service")
    assert judged.returncode == 0, judged.stdout[-300:]
