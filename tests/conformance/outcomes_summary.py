"""Compares the outcomes of a suite's tests, run directly and through pgward; see outcomes.py and python.sh.

    outcomes_summary.py differing <directory>                 the tests whose first outcomes differ, a JSON string each
    outcomes_summary.py summary <suite> <directory> <expected>  the comparison; exit status 0 only if no unexpected test differs

In the directory: direct.1, pgward.1 (the whole suite), and, for the tests that differed there, direct.2, pgward.2 and so on.
"""

import fnmatch
import json
import pathlib
import re
import sys
from collections import Counter


def outcomes(path):
    found = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            # The same test twice in one run: the later outcome, as a rerun within pytest would count it.
            found[entry["test"]] = (entry["outcome"], entry["message"])
    return found


def rounds(directory, way):
    numbers = sorted(int(path.suffix[1:]) for path in directory.glob(f"{way}.*") if path.suffix[1:].isdigit())
    return [outcomes(directory / f"{way}.{number}") for number in numbers]


def outcome(run, test):
    return run.get(test, ("missing", ""))[0]


def differing(a, b):
    return [test for test in {**a, **b} if outcome(a, test) != outcome(b, test)]


def like(message):
    """A message without what differs from one run to the next: numbers, addresses, random names."""
    return re.sub(r"0x[0-9a-f]+|\d+", "#", message)


def expectations(path, suite):
    """Lines `<suite> <glob of tests> <reason>`."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    entries = [line.split(None, 2) for line in lines if line.strip() and not line.startswith("#")]
    return [(glob, reason) for of, glob, reason in entries if fnmatch.fnmatchcase(suite, of)]


def summary(suite, directory, expected):
    direct, through = rounds(directory, "direct"), rounds(directory, "pgward")
    if not direct or not through or not direct[0] or not through[0]:
        print(f"{suite}: no outcomes; see the logs in {directory}")
        return 1
    a, b = direct[0], through[0]
    unlike = differing(a, b)
    count = {way: Counter(o for o, _ in run.values()) for way, run in (("directly", a), ("through pgward", b))}
    passed = ", ".join(f"passed {way} {c['passed']}" for way, c in count.items())
    print(f"{suite}: {len({**a, **b})} tests; {passed}; same outcome {len({**a, **b}) - len(unlike)}")
    for way, c in count.items():
        print(f"  {way}: " + ", ".join(f"{number} {name}" for name, number in sorted(c.items())))

    def row(test):
        # Of the later rounds, only where the test ran at all.
        def shown(runs):
            return ", ".join([outcome(runs[0], test)] + [outcome(run, test) for run in runs[1:] if test in run])

        return f"  {test}\n    directly {shown(direct)}; through pgward {shown(through)}"

    bad = 0
    by_reason = {}
    known = expectations(expected, suite)
    for test in unlike:
        again = [(outcome(d, test), outcome(t, test)) for d, t in zip(direct[1:], through[1:]) if test in d or test in t]
        seen = [{outcome(run, test) for run in runs[:1] + [r for r in runs[1:] if test in r]} for runs in (direct, through)]
        reason = next((reason for glob, reason in known if fnmatch.fnmatchcase(test, glob.replace("[", "[[]"))), None)
        # One that flips directly as well, and did nothing through pgward that it never does directly; or one that came out alike ever after.
        if len(seen[0]) > 1 and seen[1] <= seen[0] or again and all(d == t for d, t in again):
            ways = [way for way, outcomes in zip(("directly", "through pgward"), seen) if len(outcomes) > 1]
            print(row(test) + f"\n    flaky: flips {' and '.join(ways) or 'with its neighbours'}")
        elif reason:
            by_reason.setdefault(reason, []).append(test)
            continue
        else:
            bad += 1
            print(row(test) + "\n    DIFFERENT")
        for way, runs in (("directly", direct), ("through pgward", through)):
            if text := runs[0].get(test, ("", ""))[1]:
                print(f"    {way}: {' | '.join(text.splitlines())[:300]}")
    for reason, tests in by_reason.items():
        print(f"  expected: {reason}: {len(tests)} tests")
        for test in tests:
            print(f"    {test}: directly {outcome(a, test)}, through pgward {outcome(b, test)}")
    unlike_messages = [t for t in a if t in b and a[t][0] == b[t][0] == "failed" and like(a[t][1]) != like(b[t][1])]
    for test in unlike_messages:
        print(f"  {test}\n    failed both ways, with different errors\n    directly: {a[test][1][:300]!r}\n    through pgward: {b[test][1][:300]!r}")
    alike = [t for t in a if outcome(a, t) == outcome(b, t) == "failed" and t not in unlike_messages]
    if alike:
        print(f"  failed both ways, with the same error: {len(alike)}")
        for test in alike[:40]:
            print(f"    {test}: {' | '.join(a[test][1].splitlines())[:160]}")
    return 1 if bad else 0


if __name__ == "__main__":
    if sys.argv[1] == "differing":
        directory = pathlib.Path(sys.argv[2])
        for name in differing(outcomes(directory / "direct.1"), outcomes(directory / "pgward.1")):
            print(json.dumps(name))
    else:
        sys.exit(summary(sys.argv[2], pathlib.Path(sys.argv[3]), pathlib.Path(sys.argv[4])))
