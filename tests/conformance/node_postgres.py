"""Runs node-postgres' suites, each file in a process of its own, and prints one line a test, as pg_regress does."""

import json
import pathlib
import re
import subprocess
import sys

PASSED = re.compile(r"^\s*(.*?)\s*✔$", re.M)
FAILED = re.compile(r"^\s*(.*?)\s*FAILED!$", re.M)
# Longer than the server's authentication_timeout, which ends a connection that a test leaves open.
SECONDS = 150

number = 0
names = set()


def report(passed, name):
    global number
    number += 1
    name = re.sub(r"\s+", "_", name)
    unique, again = name, 1
    while unique in names:
        again += 1
        unique = f"{name}#{again}"
    names.add(unique)
    print(f"{'ok' if passed else 'not ok'} {number} {'+' if passed else '-'} {unique}", flush=True)


def run(command, directory, log):
    """Exit status, or None where it did not end; what it wrote. Some tests expect things within 100 ms, which a busy machine misses: one that fails runs again,
    and what it wrote stays beside the log."""
    for attempt in range(1, 5):
        status, text = run_once(command, directory, log)
        if status == 0:
            break
        kept = log.with_name(f"{log.name}.failed-{attempt}")
        kept.write_text(text)
        print(f"{kept}: status {status}", file=sys.stderr)
    return status, text


def run_once(command, directory, log):
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        try:
            status = subprocess.run(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, timeout=SECONDS).returncode
        except subprocess.TimeoutExpired:
            status = None
    return status, log.read_text(errors="replace")


def plain(tree, results, mode, wanted):
    """pg's integration tests: programs that print a line a test, and end with a status."""
    directory = tree / "packages/pg"
    for file in sorted(directory.glob("test/native/*-tests.js" if mode == "native-only" else "test/integration/**/*-tests.js")):
        name = str(file.relative_to(directory / "test").with_suffix("")).removeprefix("integration/").removeprefix("native/")
        if wanted and not any(part in f"pg-{mode}/{name}" for part in wanted):
            continue
        command = ["node", str(file.relative_to(directory)), "postgres://"] + ([mode] if mode in ("binary", "native") else [])
        status, text = run(command, directory, results / f"pg-{mode}" / f"{name}.log")
        for test in PASSED.findall(text):
            report(True, f"pg-{mode}/{name}/{test}")
        for test in FAILED.findall(text):
            report(False, f"pg-{mode}/{name}/{test}")
        # Some files have no named tests, and some checks come when the process ends.
        report(status == 0, f"pg-{mode}/{name}")


def mocha(tree, results, package, pattern, options, wanted):
    directory = tree / "packages" / package
    for file in sorted(directory.glob(pattern)):
        if wanted and not any(part in f"{package}/{file.stem}" for part in wanted):
            continue
        outcome = (results / package / f"{file.stem}.json").resolve()
        outcome.unlink(missing_ok=True)
        command = [str(tree / "node_modules/.bin/mocha"), *options, "--timeout", "20000", "--reporter", "json", "--reporter-option", f"output={outcome}", str(file.relative_to(directory))]
        status, _ = run(command, directory, results / package / f"{file.stem}.log")
        if outcome.exists():
            told = json.loads(outcome.read_text())
            for test in told["passes"]:
                report(True, f"{package}/{file.stem}/{test['fullTitle']}")
            for test in told["failures"]:
                report(False, f"{package}/{file.stem}/{test['fullTitle']}")
        report(status == 0, f"{package}/{file.stem}")


def main(tree, results, *wanted):
    tree, results = pathlib.Path(tree), pathlib.Path(results)
    plain(tree, results, "text", wanted)
    plain(tree, results, "binary", wanted)
    if (tree / "node_modules/libpq/build/Release/addon.node").exists():
        plain(tree, results, "native", wanted)
        plain(tree, results, "native-only", wanted)
        mocha(tree, results, "pg-native", "test/*.js", [], wanted)
    mocha(tree, results, "pg-pool", "test/*.js", [], wanted)
    mocha(tree, results, "pg-cursor", "test/*.js", [], wanted)
    mocha(tree, results, "pg-query-stream", "test/*.ts", ["-r", "ts-node/register/transpile-only"], wanted)


if __name__ == "__main__":
    main(*sys.argv[1:])
