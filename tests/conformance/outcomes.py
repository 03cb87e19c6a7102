"""A pytest plugin that writes the outcome of every test to $OUTCOMES, a JSON line each; with $ONLY_TESTS, runs only the tests listed in that file.

One line as soon as a test has ended: a run that is cut short keeps what it has. A test that passes and then fails in its teardown has failed.
"""

import json
import os

RANK = ["passed", "xpassed", "xfailed", "skipped", "failed"]
pending = {}


def write(test, outcome, message):
    with open(os.environ["OUTCOMES"], "a", encoding="utf-8") as out:
        out.write(json.dumps({"test": test, "outcome": outcome, "message": message}) + "\n")


def message(report):
    """What went wrong, or why it was skipped: the last line that says something."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2]
    lines = [line for line in (getattr(report, "longreprtext", "") or "").splitlines() if line.strip()]
    crash = getattr(getattr(report.longrepr, "reprcrash", None), "message", "")
    return (crash or (lines or [""])[-1])[:2000]


def pytest_collection_modifyitems(config, items):
    if listed := os.environ.get("ONLY_TESTS"):
        with open(listed, encoding="utf-8") as file:
            wanted = {json.loads(line) for line in file}
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in wanted])
        items[:] = [item for item in items if item.nodeid in wanted]


def pytest_collectreport(report):
    if report.failed:
        write(report.nodeid, "failed", message(report))


def pytest_runtest_logreport(report):
    outcome = report.outcome
    if hasattr(report, "wasxfail"):
        outcome = "xfailed" if report.skipped else "xpassed"
    before = pending.get(report.nodeid, ("passed", ""))
    if RANK.index(outcome) > RANK.index(before[0]):
        pending[report.nodeid] = (outcome, message(report))
    if report.when == "teardown":
        write(report.nodeid, *pending.pop(report.nodeid, before))
