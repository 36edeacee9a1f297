#!/usr/bin/env python3
"""Checks a bundle that Saqta handed over. Needs nothing but Python 3.8, and shares no code with Saqta.

    python3 verify_bundle.py FOLDER [--trust POLICY] [--json]

Exit code 0: it is whole. 1: something was changed, or is not of whom you trust. 2: it is no bundle.

What is checked, in this order: the lists of files (BagIt, RFC 8493); that the record's keyed hash was in the log where its proof says
(RFC 6962, RFC 9162); the files the record speaks of; the record of the handing over, and with it every other file; the signature of the
log's checkpoint (Ed25519, RFC 8032); with --trust, whether its key and enough of its witnesses are among those you trust (C2SP tlog-policy).
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import re
import stat
import sys

BAG_BYTES_MAX = 512 * 1024 * 1024
FILES_MAX = 4096
FOLDERS_DEEP_MAX = 16
RECORD_BYTES_MAX = 48 * 1024
NOTE_BYTES_MAX = 64 * 1024
PROOF_BYTES_MAX = NOTE_BYTES_MAX + 4 * 1024
SIGNATURES_MAX = 64
NUMBER_MAX = 2 ** 53
DEPTH_MAX = 16

DECLARATION = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
HELD = ["bagit.txt", "bag-info.txt", "VERIFY.md", "signer.vkey", "manifest-sha256.txt", "manifest-sha512.txt"]
TAG_LISTS = ["tagmanifest-sha256.txt", "tagmanifest-sha512.txt"]
PROOFS = ["proofs/record.tlog-proof", "proofs/bundle.json", "proofs/bundle.tlog-proof"]
EXHIBITS = "data/exhibits/"


class Refused(Exception):
    """Something was changed, or is not of whom one trusts."""

    def __init__(self, file, reason):
        super().__init__(f"{file}: {reason}")
        self.file, self.reason = file, reason


class Unusable(Exception):
    """There is no bundle to check, or no policy to check it by."""


# The lists of files.

def read_folder(folder):
    files, left = {}, BAG_BYTES_MAX

    def walk(path, name, deep):
        nonlocal left
        if deep == FOLDERS_DEEP_MAX:
            raise Unusable("folders lie too deep in it")
        for entry in os.scandir(path):
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                walk(entry.path, name + entry.name + "/", deep + 1)
            elif stat.S_ISREG(mode):
                with open(entry.path, "rb") as file:
                    data = file.read(left + 1)
                left -= len(data)
                files[name + entry.name] = data
                if left < 0 or len(files) > FILES_MAX:
                    raise Unusable("it is too big")
            else:
                raise Unusable(f"{entry.path} is no file and no folder")

    try:
        with open(os.path.join(folder, "bagit.txt"), "rb") as file:
            if file.read(len(DECLARATION) + 1) != DECLARATION:
                raise Unusable("its bagit.txt is not that of BagIt 1.0")
        walk(folder, "", 0)
    except OSError as error:
        raise Unusable(str(error))
    return files


def lists(files):
    """Each list of files as it has to be."""
    def made(names, sum_of):
        lines = (f"{sum_of(files[name]).hexdigest()}  {name}\n" for name in sorted(names, key=str.encode))
        return "".join(lines).encode()
    payload = [name for name in files if name.startswith("data/")]
    yield "manifest-sha256.txt", made(payload, hashlib.sha256)
    yield "manifest-sha512.txt", made(payload, hashlib.sha512)
    tags = [name for name in files if not name.startswith("data/") and name not in TAG_LISTS]
    yield "tagmanifest-sha256.txt", made(tags, hashlib.sha256)
    yield "tagmanifest-sha512.txt", made(tags, hashlib.sha512)


def check_lists(files):
    for name in ["manifest-sha256.txt", "manifest-sha512.txt"] + TAG_LISTS:
        if name not in files:
            raise Refused(name, "it is not there")
    for name, made in lists(files):
        if files[name] != made:
            raise Refused(name, "it is not the list of what is there")


# The record.

def no_twice(pairs):
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name stands there twice")
    return dict(pairs)


def canonical(value, depth=None):
    """RFC 8785, of the part of JSON that has one form."""
    if depth == 0:
        raise ValueError("too deep")
    inner = None if depth is None else depth - 1
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        if abs(value) > NUMBER_MAX:
            raise ValueError("a number is too large")
        return str(value)
    if isinstance(value, str):
        value.encode()
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ",".join(canonical(one, inner) for one in value) + "]"
    if isinstance(value, dict):
        if not all(name.isascii() for name in value):
            raise ValueError("a name is not ASCII")
        return "{" + ",".join(json.dumps(name) + ":" + canonical(value[name], inner) for name in sorted(value)) + "}"
    raise ValueError("a fraction")


HEX = re.compile(r"[0-9a-f]{64}\Z")
NAME = re.compile(r"[a-z0-9_]{1,64}\Z")


def keyed(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


class Record:
    def __init__(self, data):
        if len(data) > RECORD_BYTES_MAX:
            raise ValueError("it is too long")
        whole = json.loads(data.decode(), object_pairs_hook=no_twice)
        if not isinstance(whole, dict) or set(whole) != {"v", "kind", "salt", "fields"} or whole["v"] != 1 or whole["v"] is True:
            raise ValueError("it is no record")
        self.kind, self.values, hashes = whole["kind"], {}, {}
        if not isinstance(whole["fields"], dict) or len(whole["fields"]) > 64:
            raise ValueError("it has no fields, or too many")
        if not all(isinstance(name, str) and NAME.match(name) for name in [self.kind, *whole["fields"]]):
            raise ValueError("a name is none")
        for name, field in whole["fields"].items():
            if isinstance(field, dict) and set(field) == {"withheld"}:
                hashes[name] = self.bytes_of(field["withheld"]).hex()
            elif isinstance(field, dict) and set(field) == {"salt", "value"}:
                value = canonical(field["value"], DEPTH_MAX).encode()
                hashes[name] = keyed(self.bytes_of(field["salt"]), b"saqta.field.v1\0", name.encode(), b"\0", value).hex()
                self.values[name] = field["value"]
            else:
                raise ValueError(f"the field {name} is none")
        statement = canonical({"v": 1, "kind": self.kind, "fields": hashes}).encode()
        self.leaf = keyed(self.bytes_of(whole["salt"]), b"saqta.record.v1\0", statement)
        if canonical(whole).encode() != data:
            raise ValueError("it is not in the one form that a record is written in")

    @staticmethod
    def bytes_of(text):
        if not isinstance(text, str) or not HEX.match(text):
            raise ValueError("a key or a hash is none")
        return bytes.fromhex(text)


def record_of(files, name):
    try:
        return Record(files[name])
    except (ValueError, RecursionError) as error:
        raise Refused(name, f"it is no record: {error}")


# The tree.

def of_entry(entry):
    return hashlib.sha256(b"\0" + entry).digest()


def of_node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def includes(root, size, index, entry, path):
    """By the split of the tree itself: from the top down to the entry, then up again."""
    if index >= size:
        return False
    sides, start, end = [], 0, size
    while end - start > 1:
        middle = start + (1 << ((end - start - 1).bit_length() - 1))
        sides.append(index < middle)
        start, end = (start, middle) if index < middle else (middle, end)
    if len(sides) != len(path):
        return False
    found = entry
    for is_left, beside in zip(reversed(sides), path):
        found = of_node(found, beside) if is_left else of_node(beside, found)
    return found == root


# Keys and notes.

def of_base64(text):
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("it is not base64")
    return data


def is_key_name(text):
    control = any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text)
    return 0 < len(text.encode()) <= 255 and not control and not any(c.isspace() for c in text) and "+" not in text


class Key:
    def __init__(self, text):
        name, number, rest = text.split("+", 2)
        data = of_base64(rest)
        if not is_key_name(name) or len(data) != 33 or data[0] not in (1, 4):
            raise ValueError("it is no key")
        point(data[1:])
        self.name, self.kind, self.public = name, data[0], data[1:]
        self.id = hashlib.sha256(name.encode() + b"\n" + data).digest()[:4]
        if int(number, 16) != int.from_bytes(self.id, "big") or not re.match(r"[0-9a-fA-F]{1,8}\Z", number):
            raise ValueError("its number is another's")

    def __str__(self):
        data = bytes([self.kind]) + self.public
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(data).decode()}"

    def fingerprint(self):
        total = hashlib.sha256(bytes([self.kind]) + self.public).hexdigest()[:32]
        return " ".join(total[at:at + 4] for at in range(0, 32, 4))


class Note:
    def __init__(self, data):
        if len(data) > NOTE_BYTES_MAX:
            raise ValueError("it is too long")
        whole = data.decode()
        if any(c < " " and c != "\n" for c in whole):
            raise ValueError("it is not text")
        end = whole.rfind("\n\n")
        if end < 0 or not whole.endswith("\n") or end + 2 >= len(whole):
            raise ValueError("it has no signatures")
        self.text, self.lines = whole[:end + 1], []
        for line in whole[end + 2:-1].split("\n"):
            words = line.split(" ", 2)
            if len(words) != 3 or words[0] != "—" or not is_key_name(words[1]):
                raise ValueError("a line is no signature")
            data = of_base64(words[2])
            if len(data) < 5 or len(self.lines) == SIGNATURES_MAX:
                raise ValueError("a line is no signature, or there are too many")
            self.lines.append((words[1], data[:4], data[4:]))

    def signed_by(self, key):
        """None: no line of this key. False: a wrong one. Else True, or a witness's time."""
        said = None
        for name, number, data in self.lines:
            if (name, number) != (key.name, key.id):
                continue
            if key.kind == 1:
                said = len(data) == 64 and ed25519(key.public, self.text.encode(), data)
            else:
                time = int.from_bytes(data[:8], "big")
                signed = f"cosignature/v1\ntime {time}\n{self.text}".encode()
                is_right = len(data) == 72 and time < 2 ** 63 and ed25519(key.public, signed, data[8:])
                said = time if is_right else False
            if said is False:
                return False
        return said


class Proof:
    def __init__(self, data):
        if len(data) > PROOF_BYTES_MAX:
            raise ValueError("it is too long")
        before, _, note = data.partition(b"\n\n")
        lines = before.decode().split("\n")
        if len(lines) < 2 or lines[0] != "c2sp.org/tlog-proof@v1" or not re.match(r"index (0|[1-9][0-9]*)\Z", lines[1]):
            raise ValueError("it is no proof")
        self.index, self.path = int(lines[1][6:]), [of_base64(line) for line in lines[2:]]
        if any(len(one) != 32 for one in self.path) or len(self.path) > 63 or self.index >= 2 ** 64:
            raise ValueError("a hash in it is none")
        self.note = Note(note)
        head = self.note.text[:-1].split("\n")
        if len(head) < 3 or "" in head or not is_key_name(head[0]) or not re.match(r"(0|[1-9][0-9]*)\Z", head[1]):
            raise ValueError("its checkpoint is none")
        self.origin, self.size, self.root = head[0], int(head[1]), of_base64(head[2])
        if len(self.root) != 32 or self.size >= 2 ** 64:
            raise ValueError("its checkpoint is none")

    def shows(self, leaf):
        return includes(self.root, self.size, self.index, of_entry(leaf), self.path)


def proof_of(files, name):
    try:
        return Proof(files[name])
    except ValueError as error:
        raise Refused(name, f"it is no proof: {error}")


# Ed25519, by RFC 8032's definitions: slow and plain.

P = 2 ** 255 - 19
L = 2 ** 252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def point(data):
    """In (x, y, 1, xy), of 32 bytes."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (2 ** 255 - 1)
    if y >= P:
        raise ValueError("it is no point")
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    square = u * pow(v, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (x == 0 and sign):
        raise ValueError("it is no point")
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def add(one, other):
    a = (one[1] - one[0]) * (other[1] - other[0]) % P
    b = (one[1] + one[0]) * (other[1] + other[0]) % P
    c, d = 2 * one[3] * other[3] * D % P, 2 * one[2] * other[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(number, one):
    total = (0, 1, 1, 0)
    while number:
        if number & 1:
            total = add(total, one)
        one, number = add(one, one), number >> 1
    return total


def is_same(one, other):
    return (one[0] * other[2] - other[0] * one[2]) % P == 0 and (one[1] * other[2] - other[1] * one[2]) % P == 0


BASE = point(int(4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
NOTHING = (0, 1, 1, 0)


def ed25519(public, text, signature):
    try:
        key, r = point(public), point(signature[:32])
    except ValueError:
        return False
    s = int.from_bytes(signature[32:], "little")
    # A key or a commitment of small order signs anything.
    if s >= L or is_same(times(8, key), NOTHING) or is_same(times(8, r), NOTHING):
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + text).digest(), "little") % L
    return is_same(times(s, BASE), add(r, times(h, key)))


# Whom to trust.

class Policy:
    def __init__(self, text):
        self.logs, self.members, self.quorum, names, grouped = [], [], "missing", {}, set()
        for number, line in enumerate(text.split("\n"), 1):
            words = [word for word in re.split(r"[ \t]", line) if word]
            if not words or words[0].startswith("#"):
                continue
            try:
                self.take(words, names, grouped)
            except (ValueError, KeyError) as error:
                raise Unusable(f"line {number} of the policy: {error}")
        if self.quorum == "missing":
            raise Unusable("the policy has no line `quorum`")

    def take(self, words, names, grouped):
        if words[0] == "log" and len(words) in (2, 3):
            key = Key(words[1])
            if key.kind != 1 or any(key.public == other.public for other in self.logs):
                raise ValueError("it is no log's key, or stands there twice")
            self.logs.append(key)
        elif words[0] == "witness" and len(words) in (3, 4):
            key = Key(words[2])
            if key.kind != 4 or any(isinstance(other, Key) and other.public == key.public for other in self.members):
                raise ValueError("it is no witness's key, or stands there twice")
            self.name(words[1], key, names)
        elif words[0] == "group" and len(words) > 3:
            members = [names[word] for word in words[3:]]
            if len(set(members)) != len(members) or grouped & set(members):
                raise ValueError("a member stands in two groups")
            grouped |= set(members)
            least = {"any": 1, "all": len(members)}.get(words[2]) or int(words[2])
            if not 1 <= least <= len(members):
                raise ValueError("a group asks for `any`, `all`, or a number of its members")
            self.name(words[1], (least, members), names)
        elif words[0] == "quorum" and len(words) == 2 and self.quorum == "missing":
            self.quorum = None if words[1] == "none" else names[words[1]]
        else:
            raise ValueError("it is none that a policy has")

    def name(self, name, member, names):
        if name == "none" or name in names:
            raise ValueError("this name stands for something else")
        names[name] = len(self.members)
        self.members.append(member)

    def trusts(self, note, origin):
        log = None
        for key in self.logs:
            if key.name == origin:
                said = note.signed_by(key)
                if said is False:
                    raise ValueError("a signature of a log you trust is wrong")
                log = key if said else log
        if log is None:
            raise ValueError("it is signed by none of the logs you trust")
        seen, witnesses = [], []
        for member in self.members:
            if isinstance(member, Key):
                said = note.signed_by(member)
                if said is False:
                    raise ValueError("a signature of a witness you trust is wrong")
                if said is not None:
                    witnesses.append({"name": member.name, "at": said})
                seen.append(said is not None)
            else:
                seen.append(sum(seen[one] for one in member[1]) >= member[0])
        if self.quorum is not None and not seen[self.quorum]:
            raise ValueError("fewer of the witnesses you trust have seen it than you ask for")
        return log, witnesses


# All of it.

def verify(files, policy=None):
    check_lists(files)
    names = set(HELD + TAG_LISTS + PROOFS + ["data/record.json"])
    for name in sorted(files):
        if name not in names and not (name.startswith(EXHIBITS) and re.match(r"(?!\.)[A-Za-z0-9._-]{1,64}\Z", name[len(EXHIBITS):])):
            raise Refused(name, "it does not belong into a bundle")
    for name in sorted(names):
        if name not in files:
            raise Refused(name, "it is not there")
    try:
        text = files["signer.vkey"].decode()
        signer = Key(text[:-1])
        if f"{signer}\n" != text:
            raise ValueError
    except ValueError:
        raise Refused("signer.vkey", "it is no key")
    record, of_record = record_of(files, "data/record.json"), proof_of(files, "proofs/record.tlog-proof")
    if not of_record.shows(record.leaf):
        raise Refused("proofs/record.tlog-proof", "the record was not in the ledger there")
    check_exhibits(files, record)
    bundle = record_of(files, "proofs/bundle.json")
    held = bundle.values.get("files")
    if bundle.kind != "bundle" or bundle.values.get("of") != record.leaf.hex() or not isinstance(held, dict) or len(held) != len(HELD):
        raise Refused("proofs/bundle.json", "it is of another record")
    for name in HELD:
        if held.get(name) != hashlib.sha256(files[name]).hexdigest():
            raise Refused(name, "it is not what was handed over")
    of_bundle = proof_of(files, "proofs/bundle.tlog-proof")
    if not of_bundle.shows(bundle.leaf):
        raise Refused("proofs/bundle.tlog-proof", "the handing over was not in the ledger there")
    if (of_bundle.note.text, of_bundle.note.lines) != (of_record.note.text, of_record.note.lines):
        raise Refused("proofs/bundle.tlog-proof", "the two proofs are of different checkpoints")
    if of_record.origin != signer.name:
        raise Refused("proofs/record.tlog-proof", "its checkpoint is of another log")
    if signer.kind != 1 or of_record.note.signed_by(signer) is not True:
        raise Refused("proofs/record.tlog-proof", "its checkpoint is not signed by the key of the bundle")
    witnesses = []
    if policy is not None:
        try:
            log, witnesses = policy.trusts(of_record.note, of_record.origin)
        except ValueError as error:
            raise Refused("proofs/record.tlog-proof", str(error))
        if log.public != signer.public:
            raise Refused("signer.vkey", "it is none of the logs you trust")
    is_drill = record.values.get("drill") is True or bundle.values.get("drill") is True
    return {"signer": signer, "record": record, "size": of_record.size, "index": of_record.index, "drill": is_drill, "witnesses": witnesses}


def check_exhibits(files, record):
    listed = record.values.get("exhibits")
    spoken_of = {}
    for one in listed if isinstance(listed, list) else []:
        one = one if isinstance(one, dict) else {}
        name = one.get("name")
        spoken_of[EXHIBITS + (name if isinstance(name, str) else "")] = (one.get("sha256"), one.get("bytes"))
    for name in sorted(files):
        if name.startswith(EXHIBITS):
            if name not in spoken_of:
                raise Refused(name, "the record does not speak of it")
            total, length = spoken_of.pop(name)
            if total != hashlib.sha256(files[name]).hexdigest() or length != len(files[name]) or isinstance(length, bool):
                raise Refused(name, "the record speaks of it with another hash or length")
    for name in sorted(spoken_of):
        raise Refused(name, "the record speaks of it and it is not there")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("--trust", metavar="POLICY", help="a file of C2SP tlog-policy: logs, witnesses, quorum")
    parser.add_argument("--json", action="store_true", help="one JSON object, for programs")
    asked = parser.parse_args()
    said = {"ok": False, "signer_checked": False, "reason": None, "file": None, "log": None, "tree_size": None, "witnesses": [], "drill": None}
    try:
        policy = None
        if asked.trust:
            with open(asked.trust, encoding="utf-8", errors="surrogateescape") as file:
                policy = Policy(file.read())
        found = verify(read_folder(asked.folder), policy)
    except (Unusable, OSError) as error:
        said["reason"] = str(error)
        first, code = f"UNUSABLE: {error}", 2
    except Refused as error:
        said["reason"], said["file"] = error.reason, error.file
        first, code = f"REFUSED: {error}", 1
    else:
        signer = found["signer"]
        said.update(ok=True, signer_checked=policy is not None, log=str(signer), tree_size=found["size"], witnesses=found["witnesses"], drill=found["drill"])
        first, code = ("INTACT, SIGNER NOT CHECKED" if policy is None else f"INTACT, SIGNED BY {signer.name}"), 0
    if asked.json:
        print(json.dumps(said, ensure_ascii=False))
        return code
    print(first)
    if code == 0:
        if policy is None:
            print(f"fingerprint  {signer.fingerprint()}\n             compare it with the newsroom by telephone")
        if found["drill"]:
            print("drill        A REHEARSAL: nobody was attacked")
        values = found["record"].values
        print(f"record       {found['record'].kind} {values.get('id', '')}, entry {found['index']} of {found['size']} of {signer.name}")
        print("not shown    that it is complete, that what was written was true then, who attacked or why")
    return code


if __name__ == "__main__":
    sys.exit(main())
