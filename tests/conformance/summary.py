"""Compares two runs of pg_regress test for test. Exit status 0 only if each test came to the same result, and wrote the same output."""

import difflib
import pathlib
import re
import sys

# `test name ... ok 12 ms`, `     name ... FAILED 12 ms` (up to PostgreSQL 15); `ok 1 + name 12 ms`, `not ok 1 - name 12 ms` (since 16).
OLD = re.compile(r"^(?:test|\s{4,})\s*(\S+)\s+\.\.\.\s+(ok|FAILED|failed(?: \(ignored\))?)")
NEW = re.compile(r"^(ok|not ok)\s+\d+\s+[+-]\s+(\S+)")


def outcomes(directory):
    """Result by test, in the order of the run."""
    found = {}
    path = directory / "outcome"
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        if match := OLD.match(line):
            found[match[1]] = match[2].lower() == "ok"
        elif match := NEW.match(line):
            found[match[2]] = match[1] == "ok"
    return found


def output(directory, test):
    path = directory / "run" / "results" / f"{test}.out"
    return path.read_text(errors="surrogateescape").splitlines(keepends=True) if path.exists() else None


def main(suite, direct, through, strict=None):
    direct, through = pathlib.Path(direct), pathlib.Path(through)
    a, b = outcomes(direct), outcomes(through)
    if missing := [str(directory / "errors") for directory, found in ((direct, a), (through, b)) if not found]:
        sys.exit(f"{suite}: no results; see {' and '.join(missing)}")
    same = [t for t in a if a[t] == b.get(t)]
    print(f"{suite}: {len(a)} tests; passed directly {sum(a.values())}, through pgward {sum(b.values())}; same result {len(same)}")
    for test in a:
        if test not in same:
            result = {True: "ok", False: "FAILED", None: "missing"}
            print(f"  {test}: directly {result[a[test]]}, through pgward {result[b.get(test)]}")
    # A test that fails either way must fail alike, and one that passes has often more than one expected output; not so in a strict comparison.
    unlike = [t for t in same if output(direct, t) != output(through, t)]
    for test in unlike:
        diff = difflib.unified_diff(output(direct, test) or [], output(through, test) or [], f"{test} directly", f"{test} through pgward", n=1)
        lines = [line[:200].rstrip("\n") + "\n" for line in diff]
        print(f"  {test}: {'ok' if a[test] else 'FAILED'} both ways, with different output:")
        print("".join("    " + line for line in lines[:20]), end="")
    failed = [t for t in same if not a[t]]
    if failed:
        print(f"  failed both ways: {' '.join(failed)}")
    return 0 if len(same) == len(a) == len(b) and all(a[t] and not strict for t in unlike) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5]))
