#!/usr/bin/env python3
"""Verifies a pgward journal. Written from docs/RECORDS.md alone; shares nothing with pgward's own code. Standard library only.

    verify.py DIRECTORY [--expect-head INDEX:HASH]

Prints one JSON object. Exit status 0: whole; 1: broken; 2: wrong arguments.
"""

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path

NAME = re.compile(r"journal-(\d{20})\.jsonl\Z")
LINE = re.compile(
    rb'(?P<body>\{"index":(?P<index>0|[1-9][0-9]*),"prev":"(?P<prev>[0-9a-f]{64})",'
    rb'"log":"(?P<log>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})",.*)'
    rb',"hash":"(?P<hash>[0-9a-f]{64})"\}',
    re.DOTALL,
)


class Broken(Exception):
    def __init__(self, fault, good, segment="", line=0, text=""):
        super().__init__(text)
        self.result = {"whole": False, "fault": fault, "good": good, "segment": segment, "line": line, "text": text}


class Record:
    """A line taken apart; None of it is trusted before `sound`."""

    def __init__(self, match):
        self.body = match["body"]
        self.index = int(match["index"])
        self.prev = bytes.fromhex(match["prev"].decode())
        self.log = bytes.fromhex(match["log"].decode().replace("-", ""))
        self.hash = bytes.fromhex(match["hash"].decode())

    @staticmethod
    def parse(line):
        match = LINE.fullmatch(line)
        return Record(match) if match else None

    def sound(self):
        computed = hashlib.sha256(b"pgward journal v1 entry\n" + self.prev + self.body).digest()
        return computed == self.hash


def genesis(log):
    return hashlib.sha256(b"pgward journal v1 genesis\n" + log).digest()


def segments(directory):
    found = [path for path in Path(directory).iterdir() if NAME.match(path.name)]
    return sorted(found, key=lambda path: path.name)


def lines(path):
    """Lines without newline, and whether each had one."""
    with open(path, "rb") as file:
        for line in file:
            yield (line[:-1], True) if line.endswith(b"\n") else (line, False)


def comes_later(paths, skip, head, index):
    """Whether the record that belongs here stands after line `skip` of the first of these segments."""
    for position, path in enumerate(paths):
        for number, (line, _) in enumerate(lines(path), 1):
            record = Record.parse(line)
            if record and record.prev == head and record.index == index and record.sound():
                if position > 0 or number > skip:
                    return True
    return False


def verify(directory, expect=None):
    log = head = None
    good = size = unfinished = 0
    at_noted = None
    paths = segments(directory)
    for position, path in enumerate(paths):
        last = position == len(paths) - 1
        number = 0
        for line, ended in lines(path):
            number += 1

            def broken(fault, text):
                return Broken(fault, good, path.name, number, text)

            if not ended:
                if last:
                    unfinished = len(line)
                    break
                raise broken("truncated", "the segment ends within a line, though others follow")
            record = Record.parse(line)
            if record is None or not record.sound():
                raise broken("altered", "the record's bytes do not give its hash")
            if log is None:
                log, head = record.log, genesis(record.log)
            if record.log != log:
                raise broken("foreign", "the record is of another log")
            if record.prev != head or record.index != good:
                later = comes_later(paths[position:], number, head, good)
                if later:
                    fault = "reordered" if record.index > good else "inserted"
                elif record.index > good:
                    fault = "missing"
                else:
                    fault = "inserted" if record.index < good else "replaced"
                raise broken(fault, f"record {record.index} stands where record {good} belongs")
            if number == 1 and int(NAME.match(path.name)[1]) != record.index:
                raise broken("renamed", "the segment's name is not that of its first record")
            head = record.hash
            if expect and expect[0] == record.index:
                at_noted = head
            good += 1
            size += len(line) + 1
        if number == 0 and not last:
            raise Broken("truncated", good, path.name, 1, "the segment is empty, though others follow")
    if good == 0:
        raise Broken("no-journal", 0, text="no journal here, or an empty one")
    if expect:
        if at_noted is None:
            raise Broken("cut-off", good, text=f"the log ends at record {good - 1}")
        if at_noted != expect[1]:
            raise Broken("other-head", good, text=f"record {expect[0]} has another hash than the one noted")
    return {
        "whole": True,
        "records": good,
        "segments": len(paths),
        "bytes": size,
        "head": f"{good - 1}:{head.hex()}",
        "unfinished_bytes": unfinished,
    }


def noted_head(text):
    index, _, digest = text.partition(":")
    if not re.fullmatch("[0-9]+", index) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise argparse.ArgumentTypeError("a head is written INDEX:HASH")
    return int(index), bytes.fromhex(digest)


def main():
    parser = argparse.ArgumentParser(description="Verifies a pgward journal.")
    parser.add_argument("directory")
    parser.add_argument("--expect-head", type=noted_head, metavar="INDEX:HASH")
    arguments = parser.parse_args()
    try:
        result = verify(arguments.directory, arguments.expect_head)
    except Broken as broken:
        result = broken.result
    except OSError as error:
        result = {"whole": False, "fault": "unreadable", "good": 0, "text": str(error)}
    print(json.dumps(result))
    return 0 if result["whole"] else 1


if __name__ == "__main__":
    sys.exit(main())
