#!/usr/bin/env python3
"""Checks the vectors beside this file against a second implementation of the format, written from README.md alone.

Needs the package `cryptography` over OpenSSL 3.2 or newer (AES-GCM-SIV); ends with status 77 ("skipped") without it.
`check.py --write` makes the vectors anew: the same bytes every time.
"""

import hashlib
import hmac
import json
import pathlib
import struct
import sys

try:
    from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.cmac import CMAC
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    AESGCMSIV(bytes(32))
except (ImportError, UnsupportedAlgorithm) as error:
    print(f"skipped: {error}")
    sys.exit(77)

HERE = pathlib.Path(__file__).parent
SEALED, EQ, DETERMINISTIC = 0x20, 0x21, 0x28


class Fault(Exception):
    pass


def derive(key, info):
    return HKDF(SHA256(), 32, None, info.encode()).derive(key)


def equality_tag(secret, normalised):
    mac = CMAC(AES(derive(secret, "pgward/1 equality tag")))
    mac.update(normalised)
    return mac.finalize()


def by_id(things, number):
    return next((thing for thing in things if thing["id"] == number), None)


def deterministic_plaintext(kind, canonical):
    if kind in ("smallint", "integer", "bigint"):
        return int.from_bytes(canonical, "big", signed=True).to_bytes(8, "big", signed=True)
    if kind.startswith("character("):
        return canonical.rstrip(b" ")
    return canonical


def deterministic_canonical(kind, plaintext):
    if kind in ("smallint", "integer"):
        return int.from_bytes(plaintext, "big", signed=True).to_bytes(
            {"smallint": 2, "integer": 4}[kind], "big", signed=True
        )
    if kind.startswith("character("):
        return plaintext.decode().ljust(int(kind[10:-1])).encode()
    return plaintext


def domain_id(world, name):
    return next(key["domain_id"] for key in world["keys"] if key["domain"] == name)


def seal(world, column, canonical, normalised, nonce):
    column = by_id(world["columns"], column)
    key = next(k for k in world["keys"] if k["domain"] == column["domain"] and k["state"] == "active")
    secret = bytes.fromhex(key["secret"])
    layout = {"sealed": SEALED, "eq": EQ, "deterministic": DETERMINISTIC}[column["mode"]]
    owner = key["domain_id"] if layout == DETERMINISTIC else column["id"]
    clear = struct.pack(">BBII", 0xFA, layout, key["id"], owner)
    if layout == EQ:
        clear += equality_tag(secret, normalised)
    associated = b"pgward" + bytes.fromhex(world["database"]) + clear
    if layout == DETERMINISTIC:
        text = deterministic_plaintext(column["type"], canonical)
        return clear + AESGCMSIV(derive(secret, "pgward/1 deterministic")).encrypt(bytes(12), text, associated)
    return clear + nonce + AESGCMSIV(derive(secret, "pgward/1 sealing")).encrypt(nonce, canonical, associated)


def open_envelope(world, column, envelope):
    column = by_id(world["columns"], column)
    shortest = {SEALED: 38, EQ: 54, DETERMINISTIC: 26}
    if len(envelope) < 10 or envelope[0] != 0xFA or len(envelope) < shortest.get(envelope[1], 1 << 31):
        raise Fault("not-an-envelope")
    layout, key_id, owner = struct.unpack(">BII", envelope[1:10])
    expected = domain_id(world, column["domain"]) if layout == DETERMINISTIC else column["id"]
    if owner != expected:
        raise Fault("other-column")
    key = by_id(world["keys"], key_id)
    if key is None:
        raise Fault("unknown-key")
    if key["state"] == "destroyed":
        raise Fault("destroyed-key")
    secret = bytes.fromhex(key["secret"])
    end = 26 if layout == EQ else 10
    associated = b"pgward" + bytes.fromhex(world["database"]) + envelope[:end]
    try:
        if layout == DETERMINISTIC:
            text = AESGCMSIV(derive(secret, "pgward/1 deterministic")).decrypt(bytes(12), envelope[end:], associated)
            return deterministic_canonical(column["type"], text)
        return AESGCMSIV(derive(secret, "pgward/1 sealing")).decrypt(
            envelope[end : end + 12], envelope[end + 12 :], associated
        )
    except InvalidTag:
        raise Fault("authentication") from None


def wrapping(root, context):
    associated = b"pgward/1 data key" + bytes.fromhex(context["database"]) + struct.pack(">I", context["key"])
    if context["purpose"] == "values":
        associated += b"v" + struct.pack(">I", context["domain_id"]) + context["domain"].encode()
    else:
        associated += b"p"
    return AESGCMSIV(derive(root, "pgward/1 wrapping")), associated


def wrap(root, context, key, nonce):
    cipher, associated = wrapping(root, context)
    return b"\x01" + nonce + cipher.encrypt(nonce, key, associated)


def unwrap(root, context, wrapped):
    cipher, associated = wrapping(root, context)
    if len(wrapped) != 61 or wrapped[0] != 1:
        raise Fault("authentication")
    try:
        return cipher.decrypt(wrapped[1:13], wrapped[13:], associated)
    except InvalidTag:
        raise Fault("authentication") from None


def key_file(root):
    check = hashlib.sha256(b"pgward-root-key-v1" + root).hexdigest()[:16]
    return f"pgward-root-key-v1\nkey {root.hex()}\ncheck {check}\n"


def pseudonym(key, schema, table, subject):
    parts = b"".join(struct.pack(">I", len(name.encode())) + name.encode() for name in (schema, table))
    return hmac.new(key, parts + subject, hashlib.sha256).digest()[:16]


def outcome(function, *arguments):
    try:
        return function(*arguments).hex(), None
    except Fault as fault:
        return None, str(fault)


# --- making the vectors -------------------------------------------------------------------------------------------------------


def bytes_of(label, length):
    """Bytes that nobody chose."""
    return hashlib.shake_256(b"pgward vectors: " + label.encode()).digest(length)


def make():
    def key(number, domain, identity, state):
        secret = bytes_of(f"data key {number}", 32).hex()
        return {
            "id": number,
            "domain": domain,
            "domain_id": identity,
            "state": state,
            "secret": None if state == "destroyed" else secret,
        }

    columns = [
        (1, "sealed", "people", "text"),
        (2, "eq", "people", "text"),
        (3, "deterministic", "people", "text"),
        (4, "deterministic", "ids", "integer"),
        (5, "deterministic", "ids", "bigint"),
        (6, "deterministic", "ids", "smallint"),
        (7, "deterministic", "codes", "character(5)"),
        (8, "eq", "people", "character varying(320)"),
        (9, "sealed", "orders", "bytea"),
        (10, "sealed", "people", "text"),
    ]
    world = {
        "database": bytes_of("database", 16).hex(),
        "keys": [
            key(1, "people", 101, "opening"),
            key(2, "people", 101, "active"),
            key(3, "people", 101, "destroyed"),
            key(4, "ids", 102, "active"),
            key(5, "codes", 103, "active"),
            key(0xFFFFFFFF, "orders", 104, "active"),
        ],
        "columns": [{"id": i, "mode": m, "domain": d, "type": t} for i, m, d, t in columns],
    }
    derived = [
        {
            "key": k["id"],
            **{
                n: derive(bytes.fromhex(k["secret"]), f"pgward/1 {i}").hex()
                for n, i in (
                    ("sealing", "sealing"),
                    ("equality_tag", "equality tag"),
                    ("deterministic", "deterministic"),
                )
            },
        }
        for k in world["keys"]
        if k["secret"]
    ]

    email, blank = b"someone@example.org", b""
    seals = []
    for name, column, canonical, normalised in [
        ("sealed, one block and a bit", 1, email, blank),
        ("sealed, empty", 1, blank, blank),
        ("sealed, one byte", 1, b"x", blank),
        ("sealed, one block", 1, b"0123456789abcdef", blank),
        ("sealed, 1000 bytes", 9, bytes_of("long", 1000), blank),
        ("eq", 2, email, email),
        ("eq, another column of the key domain: the same tag", 8, email, email),
        ("eq, normal form differs from canonical form", 2, b"100.00", b"100"),
        ("eq, empty", 2, blank, blank),
        ("eq, normal form of one block", 2, b"0123456789abcdef", b"0123456789abcdef"),
        ("deterministic text", 3, email, blank),
        ("deterministic text, empty", 3, blank, blank),
        ("deterministic integer", 4, struct.pack(">i", -42), blank),
        ("deterministic bigint: the same envelope", 5, struct.pack(">q", -42), blank),
        ("deterministic smallint: the same envelope", 6, struct.pack(">h", -42), blank),
        ("deterministic char(5): trailing blanks are not sealed", 7, "äb   ".encode(), blank),
    ]:
        nonce = bytes_of(f"nonce of {name}", 12)
        seals.append(
            {
                "name": name,
                "column": column,
                "canonical": canonical.hex(),
                "normalised": normalised.hex(),
                "nonce": nonce.hex(),
                "envelope": seal(world, column, canonical, normalised, nonce).hex(),
            }
        )

    envelopes = {s["name"]: bytes.fromhex(s["envelope"]) for s in seals}
    sealed, eq, det = envelopes["sealed, one block and a bit"], envelopes["eq"], envelopes["deterministic text"]

    def flip(envelope, index, mask=1):
        changed = bytearray(envelope)
        changed[index] ^= mask
        return bytes(changed)

    def under(number):
        older = {**world, "keys": [{**k, "state": "active" if k["id"] == number else "opening"} for k in world["keys"]]}
        return seal(older, 1, email, blank, bytes_of(f"nonce under {number}", 12))

    elsewhere = {**world, "database": bytes_of("another database", 16).hex()}
    cases = [
        ("sealed", 1, sealed),
        ("eq", 2, eq),
        ("deterministic", 3, det),
        ("sealed under a key that only opens", 1, under(1)),
        ("integer read where bigint wrote", 4, envelopes["deterministic bigint: the same envelope"]),
        ("char(5) is padded by characters", 7, envelopes["deterministic char(5): trailing blanks are not sealed"]),
        ("sealed, empty", 1, envelopes["sealed, empty"]),
        ("deterministic, empty", 3, envelopes["deterministic text, empty"]),
        ("nothing", 1, b""),
        ("one byte", 1, b"\xfa"),
        ("header only", 1, sealed[:10]),
        ("one byte short of the shortest", 1, sealed[:37]),
        ("eq: one byte short of the shortest", 2, eq[:53]),
        ("deterministic: one byte short of the shortest", 3, det[:25]),
        ("plain text", 1, b"somebody@example.org, long enough to be an envelope"),
        ("plain text in UTF-8", 1, "Größe, lang genug, um ein Umschlag sein zu können".encode()),
        ("hexadecimal digits of an envelope", 1, (r"\x" + sealed.hex()).encode()),
        ("other magic", 1, flip(sealed, 0)),
        ("version 0", 1, sealed[:1] + b"\x00" + sealed[2:]),
        ("version 2", 1, sealed[:1] + b"\x40" + sealed[2:]),
        ("version 7", 1, sealed[:1] + b"\xe0" + sealed[2:]),
        ("tokens flagged", 1, sealed[:1] + b"\x22" + sealed[2:]),
        ("subject flagged", 1, sealed[:1] + b"\x24" + sealed[2:]),
        ("reserved bit", 1, sealed[:1] + b"\x30" + sealed[2:]),
        ("deterministic with tag", 2, eq[:1] + b"\x29" + eq[2:]),
        ("another column", 10, sealed),
        ("another column's id written in", 10, sealed[:6] + struct.pack(">I", 10) + sealed[10:]),
        ("column id 0", 1, sealed[:6] + bytes(4) + sealed[10:]),
        ("eq: another column of the key domain", 8, eq),
        ("deterministic: another key domain", 4, det),
        ("deterministic in place of sealed", 1, det[:6] + struct.pack(">I", 1) + det[10:]),
        ("sealed in place of deterministic", 3, sealed),
        ("unknown key", 1, sealed[:2] + struct.pack(">I", 77) + sealed[6:]),
        ("key id 0", 1, sealed[:2] + bytes(4) + sealed[6:]),
        ("destroyed key", 1, sealed[:2] + struct.pack(">I", 3) + sealed[6:]),
        ("an older key's id written in", 1, sealed[:2] + struct.pack(">I", 1) + sealed[6:]),
        ("another domain's key id written in", 1, sealed[:2] + struct.pack(">I", 4) + sealed[6:]),
        ("another database: sealed", 1, seal(elsewhere, 1, email, blank, bytes_of("elsewhere", 12))),
        ("another database: eq", 2, seal(elsewhere, 2, email, email, bytes_of("elsewhere", 12))),
        ("another database: deterministic", 3, seal(elsewhere, 3, email, blank, bytes_of("elsewhere", 12))),
        ("nonce altered", 1, flip(sealed, 10)),
        ("last bit of the nonce altered", 1, flip(sealed, 21)),
        ("ciphertext altered", 1, flip(sealed, 22)),
        ("authentication tag altered", 1, flip(sealed, len(sealed) - 1)),
        ("high bit of the authentication tag altered", 1, flip(sealed, len(sealed) - 1, 0x80)),
        ("eq: equality tag altered", 2, flip(eq, 10)),
        (
            "eq: equality tag of another value",
            2,
            eq[:10] + envelopes["eq, normal form differs from canonical form"][10:26] + eq[26:],
        ),
        ("eq: nonce altered", 2, flip(eq, 26)),
        ("eq: ciphertext altered", 2, flip(eq, 38)),
        ("eq as sealed", 2, eq[:1] + b"\x20" + eq[2:]),
        ("sealed as eq", 1, sealed[:1] + b"\x21" + sealed[2:] + bytes(16)),
        ("eq: equality tag cut out", 2, eq[:1] + b"\x20" + eq[2:10] + eq[26:]),
        ("deterministic: ciphertext altered", 3, flip(det, 10)),
        ("deterministic: authentication tag altered", 3, flip(det, len(det) - 1)),
        (
            "deterministic with the sealing key",
            3,
            det[:10]
            + AESGCMSIV(derive(bytes.fromhex(world["keys"][1]["secret"]), "pgward/1 sealing")).encrypt(
                bytes(12), email, b"pgward" + bytes.fromhex(world["database"]) + det[:10]
            ),
        ),
        ("the last byte cut off", 1, sealed[:-1]),
        ("a byte added", 1, sealed + b"\x00"),
        ("ciphertext swapped with another envelope's", 1, sealed[:22] + under(1)[22:]),
        (
            "no associated data",
            1,
            sealed[:22]
            + AESGCMSIV(derive(bytes.fromhex(world["keys"][1]["secret"]), "pgward/1 sealing")).encrypt(
                sealed[10:22], email, None
            ),
        ),
        ("two envelopes in one", 1, sealed + sealed),
    ]
    opens = []
    for name, column, envelope in cases:
        canonical, error = outcome(open_envelope, world, column, envelope)
        opens.append(
            {
                "name": name,
                "column": column,
                "envelope": envelope.hex(),
                **({"canonical": canonical} if error is None else {"error": error}),
            }
        )

    pseudonym_key = bytes_of("pseudonym key", 32)
    pseudonyms = [
        {"schema": s, "table": t, "subject_key": k, "pseudonym": pseudonym(pseudonym_key, s, t, k.encode()).hex()}
        for s, t, k in [
            ("public", "customers", "42"),
            ("public", "customers", "43"),
            ("public", "customers4", "2"),
            ("publicc", "ustomers", "42"),
            ("öffentlich", "t", ""),
        ]
    ]

    root = bytes_of("root key", 32)
    values = {"database": world["database"], "key": 2, "purpose": "values", "domain": "people", "domain_id": 101}
    wrapped = wrap(root, values, bytes.fromhex(world["keys"][1]["secret"]), bytes_of("nonce of wrapping", 12))
    pseudonyms_context = {"database": world["database"], "key": 9, "purpose": "pseudonyms"}
    unwraps = []
    for name, context, bytes_ in [
        ("values", values, wrapped),
        (
            "pseudonyms",
            pseudonyms_context,
            wrap(root, pseudonyms_context, pseudonym_key, bytes_of("nonce of wrapping 2", 12)),
        ),
        ("another key id", {**values, "key": 3}, wrapped),
        ("another key domain", {**values, "domain": "peopl"}, wrapped),
        ("another id of the key domain", {**values, "domain_id": 102}, wrapped),
        ("another database", {**values, "database": elsewhere["database"]}, wrapped),
        ("another purpose", {**pseudonyms_context, "key": 2}, wrapped),
        ("another root key", values, wrap(bytes_of("root key 2", 32), values, bytes(32), bytes(12))),
        ("version 2", values, b"\x02" + wrapped[1:]),
        ("nonce altered", values, flip(wrapped, 1)),
        ("key altered", values, flip(wrapped, 13)),
        ("tag altered", values, flip(wrapped, 60)),
        ("cut", values, wrapped[:-1]),
        ("longer", values, wrapped + b"\x00"),
        ("nothing", values, b""),
    ]:
        key_bytes, error = outcome(unwrap, root, context, bytes_)
        unwraps.append(
            {
                "name": name,
                "context": context,
                "wrapped": bytes_.hex(),
                **({"key": key_bytes} if error is None else {"error": error}),
            }
        )

    return {
        "format": "pgward envelope, version 1",
        **world,
        "derived": derived,
        "seal": seals,
        "open": opens,
        "pseudonym_key": pseudonym_key.hex(),
        "pseudonyms": pseudonyms,
        "root_key": {
            "file": key_file(root),
            "fingerprint": "file:" + derive(root, "pgward/1 fingerprint")[:8].hex(),
            "unwrap": unwraps,
        },
    }


def main():
    path = HERE / "envelope.json"
    text = json.dumps(make(), indent=1, ensure_ascii=False) + "\n"
    if "--write" in sys.argv[1:]:
        path.write_text(text, encoding="utf-8")
    found = json.loads(path.read_text(encoding="utf-8"))
    if found != json.loads(text):
        sys.exit("envelope.json differs from what this implementation makes of the same inputs")
    failing = sum("error" in case for case in found["open"])
    print(
        f"{len(found['seal'])} sealed, {len(found['open'])} opened ({failing} of them must fail), {len(found['root_key']['unwrap'])} unwrapped: all as written"
    )


if __name__ == "__main__":
    main()
