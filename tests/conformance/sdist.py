"""Fetches and unpacks a source distribution from PyPI: sdist.py <project> <version> <directory>. Status 2 where it can't be had.

`pip download` would build it first to learn its dependencies: compilers and headers for a directory of tests.
"""

import hashlib
import io
import json
import sys
import tarfile
import urllib.parse
import urllib.request


def get(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=120) as answer:
        return answer.read()


def main(project, version, directory):
    index = f"https://pypi.org/simple/{project}/"
    files = json.loads(get(index, Accept="application/vnd.pypi.simple.v1+json"))["files"]
    file = next((f for f in files if f["filename"].lower() == f"{project}-{version}.tar.gz".lower()), None)
    if file is None:
        sys.exit(f"PyPI has no source distribution of {project} {version}")
    archive = get(urllib.parse.urljoin(index, file["url"]))
    if hashlib.sha256(archive).hexdigest() != file["hashes"]["sha256"]:
        sys.exit(f"{file['filename']}: not what PyPI says it is")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(directory, filter="data") if hasattr(tarfile, "data_filter") else tar.extractall(directory)


if __name__ == "__main__":
    main(*sys.argv[1:4])
