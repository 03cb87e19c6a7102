#!/usr/bin/env bash
# node-postgres' own suites (pg in text and in binary mode and over libpq, pg-native, pg-pool, pg-cursor, pg-query-stream), directly and through pgward; see README.md.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/stage.sh"

here=$(cd "$(dirname "$0")" && pwd)
suite_tree=$cache/node-postgres
# What the suites use beside node-postgres' own packages, in the versions that its package.json files ask for; TypeScript 4.9 compiles a `break` in
# `for await` wrongly.
packages="async@2.6.4 bluebird@3.7.2 co@4.6.0 pg-copy-streams@0.3.0 pg-types@2.2.0 pgpass@1.0.5 typescript@4.8.4 mocha@10.8.2 expect.js@0.3.1
    lodash@4.17.21 chai@4.5.0 ts-node@8.10.2 @types/chai@4.3.20 @types/mocha@10.0.10 @types/node@14.18.63 JSONStream@1.3.5 concat-stream@1.0.1
    stream-spec@0.3.6 okay@0.3.0 generic-pool@2.5.4 semver@7.7.2 libpq@1.8.15 node-gyp@10.3.1"
own="pg pg-native pg-pool pg-cursor pg-protocol pg-query-stream pg-connection-string pg-cloudflare"

fetch_suite() {
    [ ! -e "$suite_tree/.done" ] || return 0
    need node npm openssl
    # With the whole repository, and so with its tests.
    fetch_tarball node-postgres "$cache/node-postgres.tar.gz" || die "skipped: the sources of node-postgres can't be fetched"
    rm -rf "$suite_tree"
    mkdir -p "$suite_tree"
    tar xf "$cache/node-postgres.tar.gz" -C "$suite_tree" --strip-components=1
    (
        cd "$suite_tree" || exit 1
        # Of the workspaces only those are wanted whose suites run here; the others bring browsers' and bundlers' tool chains.
        echo '{ "private": true }' >package.json
        npm install --silent --ignore-scripts --no-audit --no-fund --no-package-lock $packages || exit 1
        for package in $own; do ln -sfn "../packages/$package" "node_modules/$package"; done
        for package in pg-cloudflare pg-protocol pg-query-stream; do
            # It complains of types that only its own tests lack, and compiles all the same.
            (cd "packages/$package" && ../../node_modules/.bin/tsc -p . >&2) || [ -e "packages/$package/dist/index.js" ] || exit 1
        done
        # A time limit of five seconds for what sends 5,000 statements is one for the machine.
        sed -i 's/this.timeout = 5000/this.timeout = 60000/' packages/pg/test/suite.js
        build_libpq || say "Without pg-native: its libpq can't be built"
        touch .done
    ) || die "skipped: what node-postgres' suites need can't be fetched from npm"
}

# The addon that pg-native uses, against the installed libpq and the headers that `fetch` brought.
build_libpq() {
    local prefix=$suite_tree/libpq
    mkdir -p "$prefix"
    ln -sfn "$(ldconfig -p | sed -n 's/.*libpq\.so\.5 .*=> //p' | head -1)" "$prefix/libpq.so"
    printf '#!/bin/sh\ncase $1 in --libdir) echo %s;; --includedir) echo %s;; *) ;; esac\n' \
        "$prefix" "$cache/dev-$version/usr/include/postgresql" >"$prefix/pg_config"
    chmod +x "$prefix/pg_config"
    local headers=()
    # Node's headers are fetched where they are not installed.
    [ ! -d /usr/include/node ] || headers=(--nodedir=/usr)
    (cd node_modules/libpq && PATH=$prefix:$PATH ../.bin/node-gyp rebuild "${headers[@]}" >"$prefix/log" 2>&1)
}

suite() {
    local out=$1 port=$2 hba=$1/../data/pg_hba.conf
    # The role with a password that the suite's SCRAM tests ask for; everybody else is trusted.
    sql node_postgres "SET password_encryption = 'scram-sha-256'; CREATE ROLE scram_test LOGIN PASSWORD 'test4scram'"
    printf 'host all scram_test 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n' | as_server tee "$hba" >/dev/null
    # TLS, at the server as at pgward.
    for file in crt key; do as_server tee "$out/../data/server.$file" <"$tls/server.$file" >/dev/null; done
    as_server chmod 600 "$out/../data/server.key"
    echo "ssl = on" | as_server tee -a "$out/../data/postgresql.conf" >/dev/null
    as_server "$bindir/pg_ctl" -D "$out/../data" reload >/dev/null
    (
        cd "$suite_tree/packages/pg"
        export PGHOST=127.0.0.1 PGPORT=$port PGUSER=postgres PGDATABASE=node_postgres PGTESTNOSSL=true
        export SCRAM_TEST_PGUSER=scram_test SCRAM_TEST_PGPASSWORD=test4scram
        node script/create-test-tables.js postgres:// >&2
        python3 "$here/node_postgres.py" "$suite_tree" "$out/results" ${TESTS:-}
    )
}

fetch
fetch_suite
# Not the suite's own certificates: they are of X.509's first version.
tls=$cache/node-tls
[ -e "$tls/server.crt" ] || {
    mkdir -p "$tls"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
        -keyout "$tls/server.key" -out "$tls/server.crt" 2>/dev/null || die "skipped: openssl makes no certificate"
    chmod 600 "$tls/server.key"
}
listen_also="tls_cert = \"$tls/server.crt\"
tls_key = \"$tls/server.key\""
compare node_postgres node_postgres suite
