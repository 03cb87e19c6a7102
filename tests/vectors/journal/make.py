#!/usr/bin/env python3
"""Makes the broken vectors from `whole`, each with what a verifier must say about it in expected.json. Run once after `whole` changed:

    python3 make.py
"""

import hashlib
import json
import shutil
from pathlib import Path

from verify import Record, verify

HERE = Path(__file__).parent
WHOLE = HERE / "whole"
NAMES = sorted(path.name for path in WHOLE.glob("journal-*.jsonl"))


def load():
    return {name: (WHOLE / name).read_bytes().splitlines(keepends=True) for name in NAMES}


def rehash(line, edit):
    """The line with an edited body and the hash that belongs to it: what a forger who knows the format writes."""
    body = edit(Record.parse(line.rstrip(b"\n")).body)
    prev = bytes.fromhex(body.split(b'"')[5].decode())
    digest = hashlib.sha256(b"pgward journal v1 entry\n" + prev + body).hexdigest().encode()
    return body + b',"hash":"' + digest + b'"}\n'


def store(name, segments, expected):
    directory = HERE / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    for segment, content in segments.items():
        (directory / segment).write_bytes(b"".join(content))
    (directory / "expected.json").write_text(json.dumps(expected) + "\n")


def broken(name, fault, good, edit, expect_head=None):
    segments = load()
    edit(segments)
    expected = {"whole": False, "fault": fault, "good": good}
    if expect_head:
        expected["expect_head"] = expect_head
    store(name, segments, expected)


def main():
    first, second = NAMES[0], NAMES[1]
    whole = verify(WHOLE)
    head = whole["head"]
    records, in_first = whole["records"], len(load()[first])
    (WHOLE / "expected.json").write_text(json.dumps({"whole": True, "records": records, "head": head}) + "\n")

    torn = load()
    torn[NAMES[-1]][-1] = torn[NAMES[-1]][-1][:-1]
    store("torn-tail", torn, {"whole": True, "records": records - 1})

    def cut_tail(segments):
        segments[NAMES[-1]].pop()

    segments = load()
    cut_tail(segments)
    store("cut-tail-unseen", segments, {"whole": True, "records": records - 1})
    broken("cut-tail-seen", "cut-off", records - 1, cut_tail, head)

    def alter(segments):
        segments[first][2] = segments[first][2].replace(b'"handler":"kim"', b'"handler":"lee"')

    def uppercase(segments):
        line = segments[first][1]
        segments[first][1] = line[:-67] + line[-67:-3].upper() + line[-3:]

    def lee(body):
        return body.replace(b'"handler":"kim"', b'"handler":"lee"')

    def replace(segments):
        segments[first][2] = rehash(segments[first][2], lee)

    def swap(segments):
        segments[first][1], segments[first][2] = segments[first][2], segments[first][1]

    def other_log(body):
        at = body.index(b'"log":"') + 7
        return body[:at] + b"00000000-0000-4000-8000-000000000000" + body[at + 36 :]

    def foreign(segments):
        segments[first][2] = rehash(segments[first][2], other_log)

    def renamed(segments):
        segments["journal-%020d.jsonl" % (in_first + 1)] = segments.pop(second)

    broken("altered", "altered", 2, alter)
    broken("uppercase-hash", "altered", 1, uppercase)
    broken("replaced", "replaced", 3, replace)
    broken("missing", "missing", 2, lambda segments: segments[first].pop(2))
    broken("missing-first", "missing", 0, lambda segments: segments[first].pop(0))
    broken("missing-segment", "missing", 0, lambda segments: segments.pop(first))
    broken("inserted-copy", "reordered", 1, lambda segments: segments[first].insert(1, segments[first][2]))
    broken("inserted-old", "inserted", 3, lambda segments: segments[first].insert(3, segments[first][1]))
    broken("reordered", "reordered", 1, swap)
    broken("foreign", "foreign", 2, foreign)
    broken("truncated", "truncated", in_first - 1, lambda segments: segments[first].append(segments[first].pop()[:-1]))
    broken("emptied", "truncated", 0, lambda segments: segments[first].clear())
    broken("renamed", "renamed", in_first, renamed)


if __name__ == "__main__":
    main()
