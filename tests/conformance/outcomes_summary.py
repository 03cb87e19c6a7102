"""Compares the outcomes of a suite's tests, run directly and through pgward; see outcomes.py and python.sh.

    outcomes_summary.py undecided <suite> <directory> <expected>  the tests that differ and have to run again, a JSON string each
    outcomes_summary.py summary <suite> <directory> <expected>  the comparison; exit status 0 only if no unexpected test differs

In the directory: direct.1, pgward.1 (the whole suite), and, for the tests that were undecided then, direct.2, pgward.2 and so on.
"""

import fnmatch
import json
import pathlib
import re
import sys
from collections import Counter

# A test that differed in the whole suite is flaky if it then comes out alike so often, each time it runs again.
AGREEMENTS = 2


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


def seen(runs, test):
    """Every outcome of the test; of the later rounds, only where it ran at all."""
    return {outcome(run, test) for run in runs[:1] + [run for run in runs[1:] if test in run]}


def flips_directly(direct, through, test):
    """It comes out differently directly as well, and did nothing through pgward that it never does directly."""
    return len(seen(direct, test)) > 1 and seen(through, test) <= seen(direct, test)


def agreements(direct, through, test):
    """How often it ran again and came out alike; None: once it did not."""
    again = [(outcome(d, test), outcome(t, test)) for d, t in zip(direct[1:], through[1:]) if test in d or test in t]
    return len(again) if all(d == t for d, t in again) else None


def reason_for(known, test):
    return next((reason for glob, reason in known if fnmatch.fnmatchcase(test, glob.replace("[", "[[]"))), None)


def undecided(suite, directory, expected):
    """What is neither expected nor known to be flaky. A test that flips seldom needs many runs to show it."""
    direct, through = rounds(directory, "direct"), rounds(directory, "pgward")
    if not direct or not through:
        return []
    known = expectations(expected, suite)
    return [
        test
        for test in differing(direct[0], through[0])
        if not reason_for(known, test) and not flips_directly(direct, through, test) and (agreements(direct, through, test) or 0) < AGREEMENTS
    ]


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
        reason = reason_for(known, test)
        if flips_directly(direct, through, test) or (agreements(direct, through, test) or 0) >= AGREEMENTS:
            ways = [way for way, runs in (("directly", direct), ("through pgward", through)) if len(seen(runs, test)) > 1]
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
    _, command, suite, directory, expected = sys.argv
    if command == "undecided":
        for name in undecided(suite, pathlib.Path(directory), pathlib.Path(expected)):
            print(json.dumps(name))
    else:
        sys.exit(summary(suite, pathlib.Path(directory), pathlib.Path(expected)))
