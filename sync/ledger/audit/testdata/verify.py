#!/usr/bin/env python3
"""Checks a punchd ledger, or a proof, with the gateway's public key alone.

Written from protocol/checkpoint/FORMAT.md, sync/ledger/FORMAT.md and
protocol/attendance/FORMAT.md, and from nothing else, so that it is a second
opinion on `punchd verify`. It needs Python 3.8 and no other module.

    verify.py --ledger DIR --key PUB [--key OLD]... [--witness FILE]... [--json]
    verify.py --proof FILE --key PUB [--json]

Exit status: 0 all holds, 1 something is wrong, 2 the command line is wrong.
"""
import argparse
import base64
import binascii
import collections
import datetime
import hashlib
import json
import mmap
import os
import re
import struct
import sys


class Wrong(Exception):
    """What is read is not what the formats say."""


# ---- CRC-32C: reflected, polynomial 0x1EDC6F41, four bytes at a time.

def crc_tables():
    byte = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
        byte.append(i)

    def after(c):  # four zero bytes
        for _ in range(4):
            c = byte[c & 0xFF] ^ c >> 8
        return c

    def table(shift):  # linear: from the single bits to all
        t = [0] * 65536
        for i in range(16):
            bit = after(1 << i + shift)
            for j in range(1 << i):
                t[1 << i | j] = t[j] ^ bit
        return t
    return byte, table(0), table(16)


CRC_BYTE, CRC_LOW, CRC_HIGH = crc_tables()


def crc_update(c, data):
    """Goes on with a check sum that is not inverted yet."""
    low, high = CRC_LOW, CRC_HIGH
    n = len(data) // 4
    for w in struct.unpack_from('<%dI' % n, data):
        c ^= w
        c = low[c & 0xFFFF] ^ high[c >> 16]
    for b in data[4 * n:]:
        c = CRC_BYTE[(c ^ b) & 0xFF] ^ c >> 8
    return c


# ---- Ed25519, RFC 8032, section 5.1: verification alone.

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def point_x(y, sign):
    if y >= P:
        return None
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if x2 == 0:
        return None if sign else 0
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * ROOT % P
    if (x * x - x2) % P:
        return None
    return P - x if x & 1 != sign else x


def point_add(a, b):
    ax, ay, az, at = a
    bx, by, bz, bt = b
    m, n = (ay - ax) * (by - bx) % P, (ay + ax) * (by + bx) % P
    c, d = 2 * at * bt * D % P, 2 * az * bz % P
    e, f, g, h = n - m, d - c, d + c, n + m
    return e * f % P, g * h % P, f * g % P, e * h % P


def point_read(b):
    y = int.from_bytes(b, 'little')
    sign, y = y >> 255, y & (1 << 255) - 1
    x = point_x(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE_X = point_x(BASE_Y, 0)
BASE = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)


def ed25519_verify(public, message, signature):
    a = point_read(public)
    s = int.from_bytes(signature[32:], 'little')
    if a is None or len(signature) != 64 or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), 'little') % L
    minus = (P - a[0], a[1], 1, P - a[3])
    both = point_add(BASE, minus)
    q = (0, 1, 1, 0)  # S times the base minus k times A
    for i in range(max(s.bit_length(), k.bit_length()) - 1, -1, -1):
        q = point_add(q, q)
        which = (s >> i & 1) + 2 * (k >> i & 1)
        if which:
            q = point_add(q, (BASE, minus, both)[which - 1])
    inverse = pow(q[2], P - 2, P)
    x, y = q[0] * inverse % P, q[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, 'little') == signature[:32]


def read_key(path):
    """A JWK as punchd init writes it, or PEM."""
    with open(path, 'rb') as f:
        text = f.read(4096).strip()
    try:
        if text.startswith(b'{'):
            jwk = json.loads(text)
            x = jwk['x']
            raw = base64.urlsafe_b64decode(x + '=' * (-len(x) % 4))
            if jwk['kty'] != 'OKP' or jwk['crv'] != 'Ed25519' or 'd' in jwk:
                raise ValueError
        else:
            lines = text.decode('ascii').splitlines()
            der = base64.b64decode(''.join(lines[1:-1]))
            if lines[0] != '-----BEGIN PUBLIC KEY-----' or der[:12].hex() != '302a300506032b6570032100':
                raise ValueError
            raw = der[12:]
        if len(raw) != 32:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise Wrong('%s is no public Ed25519 key, neither as a JWK nor in PEM' % path)
    return raw


# ---- The tree, RFC 6962, section 2.1.

def leaf_hash(leaf):
    return hashlib.sha256(b'\0' + leaf).digest()


def node_hash(left, right):
    return hashlib.sha256(b'\1' + left + right).digest()


def lost_hash(seq):
    return leaf_hash(b'punchd lost record\n' + struct.pack('<Q', seq))


class Tree:
    def __init__(self, size=0, edge=()):
        self.size, self.edge = size, list(edge)

    def add(self, leaf):
        n, edge = self.size, self.edge
        while n & 1:
            leaf = node_hash(edge.pop(), leaf)
            n >>= 1
        edge.append(leaf)
        self.size += 1

    def root(self):
        if not self.edge:
            return hashlib.sha256(b'').digest()
        root = self.edge[-1]
        for left in self.edge[-2::-1]:
            root = node_hash(left, root)
        return root


# ---- Signed heads.

PREFIX = 'punchd/ledger/'
MAX_NOTE = 64 << 10
MAX_SIZE = 1 << 48
SIGNER = '\u2014 '
Head = collections.namedtuple('Head', 'ledger size root at lost')


def parse_head(text):
    lines = text.split('\n')
    if len(lines) < 5 or lines[-1] != '':
        raise Wrong('a head of %d lines' % (len(lines) - 1))
    ledger, size, root, at, lost = lines[0], lines[1], lines[2], lines[3], lines[4:-1]
    if not re.fullmatch(PREFIX + '[0-9a-fA-F]{32}', ledger):
        raise Wrong('its first line is no name of a ledger')
    if not re.fullmatch('0|[1-9][0-9]{0,14}', size) or int(size) > MAX_SIZE:
        raise Wrong('its second line is no number of records')
    try:
        raw = base64.b64decode(root, validate=True)
    except binascii.Error:
        raw = b''
    if len(raw) != 32 or base64.b64encode(raw).decode() != root:
        raise Wrong('its third line is no hash')
    try:
        if not re.fullmatch(r'time [0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z', at):
            raise ValueError
        datetime.datetime.strptime(at[5:], '%Y-%m-%dT%H:%M:%S.%fZ')
    except ValueError:
        raise Wrong('its fourth line is no time')
    spans = []
    for line in lost:
        m = re.fullmatch('lost (0|[1-9][0-9]{0,14})-(0|[1-9][0-9]{0,14})', line)
        if not m or len(spans) >= 1000:
            raise Wrong('a line says neither more nor that records are lost')
        first, last = int(m[1]), int(m[2])
        if first > last or last >= int(size) or spans and first <= spans[-1][1]:
            raise Wrong('records are said to be lost out of order')
        spans.append((first, last))
    return Head(ledger[len(PREFIX):], int(size), raw, at[5:], spans)


def open_head(note, keys):
    """The head, and whether one of the keys has signed it."""
    if len(note) > MAX_NOTE:
        raise Wrong('a head of %d bytes' % len(note))
    try:
        text = note.decode('utf-8')
    except UnicodeDecodeError:
        raise Wrong('a head that is no text')
    signed, split, lines = text.rpartition('\n\n')
    if not split:
        raise Wrong('a head without a signature')
    head = parse_head(text.partition('\n\n')[0] + '\n')
    signed += '\n'
    if re.search('[\x00-\x09\x0b-\x1f]', text) or not lines.endswith('\n') or lines.count('\n') > 100:
        raise Wrong('a head with characters that are no text, or with too many signatures')
    name = PREFIX + head.ledger
    by = {hashlib.sha256(name.encode() + b'\n\1' + k).digest()[:4]: k for k in reversed(keys)}
    good = bad = False
    for line in lines.split('\n')[:-1]:
        if not line.startswith(SIGNER):
            raise Wrong('a line of signatures is none')
        who, _, sig = line[len(SIGNER):].partition(' ')
        try:
            sig = base64.b64decode(sig, validate=True)
        except (binascii.Error, ValueError):
            sig = b''
        if not who or len(sig) < 5 or '+' in who:
            raise Wrong('a line of signatures is none')
        key = by.get(sig[:4])
        if who == name and key is not None:
            if ed25519_verify(key, signed.encode(), sig[4:]):
                good = True
            else:
                bad = True
    return head, good and not bad


def read_witness(path):
    """Signed heads one behind the other, or events: one a line, or in arrays."""
    with open(path, encoding='utf-8', newline='') as f:
        text = f.read()
    notes = []
    if text.lstrip(' \t\r\n')[:1] in ('{', '['):
        decoder, space = json.JSONDecoder(), re.compile(r'[ \t\r\n]*')
        at = space.match(text).end()
        try:
            while at < len(text):
                value, at = decoder.raw_decode(text, at)
                at = space.match(text, at).end()
                for event in value if isinstance(value, list) else [value]:
                    if event['type'] == 'attendance.checkpoint.v1':
                        notes.append(event['data']['note'].encode())
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise Wrong('%s: neither heads nor events: %s' % (path, e))
    else:
        note, signed = '', False
        for line in text.splitlines(keepends=True):
            if signed and not line.startswith(SIGNER):
                notes.append(note.encode())
                note, signed = '', False
            if not note and not line.strip():
                continue
            signed = signed or line.startswith(SIGNER)
            note += line if line.endswith('\n') else line + '\n'
        if note and not signed:
            raise Wrong('%s: what stands behind %d heads is none: it is not signed' % (path, len(notes)))
        if note:
            notes.append(note.encode())
    if not notes:
        raise Wrong('%s: there is no signed head in it' % path)
    return notes


# ---- The files of a ledger.

BLOCK = 4096
FRAME = 24
MAX_FRAME = FRAME + 1049600
Frame = collections.namedtuple('Frame', 'seq kind flags index count payload leaf')


class Segment:
    def __init__(self, path):
        self.path, self.name = path, os.path.basename(path)
        self.number = int(self.name[:20])
        self.length = os.path.getsize(path)
        self.id = self.salt = None
        self.first, self.durable = self.number, 0
        self.size = max(self.length, 2 * BLOCK)
        self.problems = 0
        with open(path, 'rb') as f:
            head = f.read(BLOCK)
        for at in (2048, 0):  # the first copy, if it is whole, has the last word
            try:
                self.header(head[at:at + 68])
            except Wrong:
                self.problems += 1

    def header(self, b):
        if len(b) < 68 or b[:8] != b'PUNCHLDG' or crc_update(0xFFFFFFFF, b[:64]) ^ 0xFFFFFFFF != struct.unpack_from('<I', b, 64)[0]:
            raise Wrong('damaged')
        version, block = struct.unpack_from('<II', b, 8)
        if version != 1:
            sys.exit('verify.py: %s: format version %d, this program knows 1' % (self.name, version))
        first, durable, size = struct.unpack_from('<QQQ', b, 40)
        if block != BLOCK or size < 2 * BLOCK or size > 1 << 30 or size % BLOCK or first > 1 << 62 or durable > first:
            raise Wrong('impossible')
        self.id, self.salt, self.first, self.durable, self.size = b[16:32], b[32:40], first, durable, size


class Ledger:
    def __init__(self, directory):
        names = sorted(n for n in os.listdir(directory) if re.fullmatch(r'[0-9]{20}\.seg', n) and int(n[:20]) < 1 << 62)
        if not names:
            raise Wrong('%s holds no ledger' % directory)
        every = [Segment(os.path.join(directory, n)) for n in names]
        self.findings = [('header', s.number, s.number) for s in every if s.problems]
        known, lost = [s for s in every if s.id], [s for s in every if not s.id]
        if not known:
            raise Wrong('%s: no segment has a readable header' % directory)
        count, best = collections.Counter(), None
        for s in known:
            count[s.id, s.salt] += 1
            if best is None or count[s.id, s.salt] > count[best]:
                best = s.id, s.salt
        self.id, self.salt = best
        mine = []
        for s in known:
            if (s.id, s.salt) == best:
                mine.append(s)
            else:
                self.findings.append(('foreign', s.number, s.number))
        self.segments = []
        for s in sorted(mine + lost, key=lambda s: s.first):
            if self.segments and self.segments[-1].first == s.first:
                self.findings.append(('foreign', s.number, s.number))
            else:
                self.segments.append(s)
        self.salted = crc_update(0xFFFFFFFF, self.salt)
        self.used = {}

    def valid(self, b, at, end, first):
        """The frame at a place and its size, or None."""
        if end - at < FRAME:
            return None
        n, total, seq, kind, flags, _, index, count = struct.unpack_from('<IIQBBHHH', b, at)
        size = n + 7 & ~7
        if n < FRAME or n > MAX_FRAME or seq < first or seq - first > (at - BLOCK) // FRAME or at + size > end:
            return None
        if kind == 0 or index >= count or index > seq:
            return None
        rest = b[at + 8:at + size]
        head = b[at:at + 4]
        if crc_update(crc_update(self.salted, head), rest) ^ 0xFFFFFFFF != total or rest[n - 8:].strip(b'\0'):
            return None
        return Frame(seq, kind, flags, index, count, rest[16:n - 8], head + rest[:n - 8]), size

    def frames(self, i):
        """The frames of a segment in the order they stand there, with where."""
        s = self.segments[i]
        below = self.segments[i + 1].first if i + 1 < len(self.segments) else 1 << 64
        end = min(s.size, s.length)
        self.used[i] = BLOCK
        if end < BLOCK + 8:
            return
        something = re.compile(rb'[^\0]')
        with open(s.path, 'rb') as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as b:
            at = BLOCK
            while True:
                m = something.search(b, at, end)
                if not m:
                    return
                at += (m.start() - at) // 8 * 8
                if end - at < 8:
                    self.used[i] = m.start() + 1
                    return
                got = self.valid(b, at, end, s.first)
                if got and s.first <= got[0].seq < below:
                    yield got[0], at, got[1]
                at += got[1] if got else 8
                self.used[i] = at

    def read(self, visit, missing):
        """Gives every record in order, and says how many there are, and what is behind.

        Two things go on at once. One finds out how far the ledger goes (FORMAT.md,
        "Reading, and where a ledger ends"); the other takes, of what is proved, for
        each sequence the first frame behind the one before.
        """
        end, queue, wanted = End(), collections.deque(), 0

        def drain(last):
            nonlocal wanted
            while queue and (last or queue[0].seq < end.next):
                f = queue.popleft()
                if f.seq < wanted or f.seq >= end.next:
                    continue
                if f.seq > wanted:
                    missing(wanted, f.seq - 1)
                visit(f)
                wanted = f.seq + 1

        for i, s in enumerate(self.segments):
            end.segment(i, s)
            for f, at, size in self.frames(i):
                end.frame(i, at + size, f)
                queue.append(f)
                drain(False)
        drain(True)
        if wanted < end.next:
            missing(wanted, end.next - 1)
        at, off = end.place
        torn = end.open is not None or self.used[at] > off or self.segments[-1].first > end.next
        return end.next, torn


class End:
    """Where a ledger ends."""

    def __init__(self):
        self.next, self.open, self.place = 0, None, (0, BLOCK)

    def segment(self, i, s):
        self.prove(s.durable)
        if self.open is None and self.next == s.first:
            self.place = (i, BLOCK)

    def frame(self, i, behind, f):
        begin = f.seq - f.index
        if begin < self.next:
            return  # left over
        self.prove(begin)
        if self.open is None:
            self.open = {'count': f.count, 'frames': 0, 'seq': begin, 'place': self.place}
        b = self.open
        if f.count != b['count'] or f.seq < b['seq']:
            return
        b['frames'] += 1
        b['seq'], b['place'] = f.seq + 1, (i, behind)
        if b['frames'] == b['count']:
            self.next, self.place, self.open = b['seq'], b['place'], None

    def prove(self, seq):
        if self.open and self.next < seq:
            self.place = self.open['place']
            self.next = min(seq, self.next + self.open['count'])
            self.open = None
        self.next = max(self.next, seq)


# ---- Records of kind 4.

def varint(b, at):
    value = shift = 0
    while True:
        if at >= len(b) or shift > 63:
            raise Wrong('a number that does not end')
        value |= (b[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not b[at - 1] & 0x80:
            return value, at


def checkpoint(payload):
    """The note and the edge in the payload of a record of kind 4."""
    note, edge, at = b'', [], 0
    if len(payload) > 1 << 20:
        raise Wrong('a record of %d bytes' % len(payload))
    while at < len(payload):
        tag, at = varint(payload, at)
        wire, field, data = tag & 7, tag >> 3, b''
        if field == 0:
            raise Wrong('a field without a number')
        if wire == 0:
            _, at = varint(payload, at)
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        elif wire == 2:
            n, at = varint(payload, at)
            data = payload[at:at + n]
            at += n
        else:
            raise Wrong('a field of type %d' % wire)
        if at > len(payload):
            raise Wrong('a field that does not end')
        if field == 1:
            note = data
        elif field == 2:
            if len(data) % 32 or len(data) > 64 * 32:
                raise Wrong('an edge of %d bytes' % len(data))
            edge = [data[i:i + 32] for i in range(0, len(data), 32)]
    return note, edge


# ---- Checking a ledger.

class Leaves:
    """The hashes of records that are not under the tree yet. What is in none of the runs is missing."""

    def __init__(self):
        self.runs = collections.deque()

    def add(self, seq, leaf):
        if self.runs and self.runs[-1][0] + len(self.runs[-1][1]) // 32 == seq:
            self.runs[-1][1].extend(leaf)
        else:
            self.runs.append((seq, bytearray(leaf)))

    def take(self, first, end):
        """Gives the hash of each from first on and before end, None for one that is missing; forgets all before."""
        for seq in range(first, end):
            while self.runs and self.runs[0][0] + len(self.runs[0][1]) // 32 <= seq:
                self.runs.popleft()
            if self.runs and self.runs[0][0] <= seq:
                at = 32 * (seq - self.runs[0][0])
                yield seq, bytes(self.runs[0][1][at:at + 32])
            else:
                yield seq, None
        if self.runs and self.runs[0][0] < end:
            start, run = self.runs.popleft()
            rest = run[32 * (end - start):]
            if rest:
                self.runs.appendleft((end, rest))


class Check:
    def __init__(self, directory, keys, witness):
        self.ledger = Ledger(directory)
        self.id, self.keys = self.ledger.id.hex(), keys
        self.findings = self.ledger.findings
        self.kept = []
        for i, note in enumerate(witness):
            try:
                head, signed = open_head(note, keys)
            except Wrong:
                signed = False
            if signed and head.ledger == self.id:
                self.kept.append(head)
            else:
                self.findings.append(('witness', i, i))
        self.kept.sort(key=lambda h: h.size)
        self.tree, self.leaves = Tree(), Leaves()
        self.heads = self.last = 0  # signed and in order: how many, and of how many records the last one speaks
        self.behind = []            # those that the last one does not speak of
        self.base, self.missing, self.change = 0, False, None
        self.agreed = self.until = 0
        self.odd = False

    def run(self):
        self.records, self.torn = self.ledger.read(self.visit, self.damaged)
        beyond = [h for h in self.kept if h.size > self.records]
        self.kept = self.kept[:len(self.kept) - len(beyond)]
        self.ask(self.records + 1, self.lost(self.records + 1, []))
        if beyond:
            self.findings.append(('rolled-back', self.records, beyond[-1].size - 1))
        self.unsigned = self.records - self.last - len(self.behind)
        if not self.heads and self.records or self.unsigned > 20000:
            self.findings.append(('unsigned', self.last, self.records - 1))
        self.findings = sorted((f[1], f[2], f[0]) for f in self.findings)

    def damaged(self, first, last):
        if self.findings and self.findings[-1][0] == 'damaged' and self.findings[-1][2] + 1 == first:
            first = self.findings.pop()[1]
        self.findings.append(('damaged', first, last))

    def visit(self, f):
        if f.kind == 4:
            self.look(f)
        self.leaves.add(f.seq, leaf_hash(f.leaf))

    def look(self, f):
        try:
            if f.flags:
                raise Wrong('flags')
            note, edge = checkpoint(f.payload)
            head, signed = open_head(note, self.keys)
        except Wrong:
            return self.findings.append(('head', f.seq, f.seq))
        if not signed:
            self.findings.append(('signature', f.seq, f.seq))
        elif head.ledger != self.id:
            self.findings.append(('ledger', f.seq, f.seq))
        elif head.size > f.seq or head.size <= self.last:
            self.findings.append(('order', f.seq, f.seq))
        else:
            self.heads, self.last = self.heads + 1, head.size
            self.behind = [s for s in self.behind if s >= head.size] + [f.seq]
            self.head(f.seq, head, edge)

    def head(self, seq, head, edge):
        lost = self.lost(head.size + 1, head.lost)
        self.ask(head.size, lost)
        self.advance(head.size, lost)
        fits = len(edge) == bin(head.size).count('1') and Tree(head.size, edge).root() == head.root
        if not fits:
            self.findings.append(('edge', seq, seq))
        self.findings.extend(('lost', first, last) for first, last in head.lost)
        while self.kept and self.kept[0].size == head.size:
            self.judge(head.root)
        if self.tree.root() != head.root:
            if self.change is not None:
                self.findings.remove(self.change)
            kind = self.change[0] if self.change else 'incomplete' if self.missing else 'changed'
            self.change = (kind, self.base, head.size - 1)
            self.findings.append(self.change)
            if not fits:
                return
            self.tree = Tree(head.size, edge)
        self.base, self.missing, self.change = head.size, False, None

    def lost(self, below, own):
        return sorted(own + [span for h in self.kept if h.size < below for span in h.lost])

    def ask(self, below, lost):
        while self.kept and self.kept[0].size < below:
            self.advance(self.kept[0].size, lost)
            self.judge(self.tree.root())

    def judge(self, root):
        head = self.kept.pop(0)
        if head.root == root:
            self.agreed, self.until, self.odd = self.agreed + 1, head.size, False
        elif not self.odd:
            self.odd = True
            last = max(head.size, 1) - 1
            self.findings.append(('contradicted', min(self.until, last), last))

    def advance(self, size, lost):
        for seq, leaf in self.leaves.take(self.tree.size, size):
            said = any(first <= seq <= last for first, last in lost) if lost else False
            if leaf is None or said:
                self.missing = self.missing or not said
                leaf = lost_hash(seq)
            self.tree.add(leaf)


# ---- Checking a proof.

def check_proof(text, keys):
    """The leaf, its sequence and the head of a proof that holds."""
    top, split, note = text.partition(b'\n\n')
    lines = top.decode('ascii', 'replace').split('\n')
    if not split or len(lines) < 3 or lines[0] != 'c2sp.org/tlog-proof@v1' or not lines[1].startswith('extra ') or \
            not re.fullmatch('index (0|[1-9][0-9]{0,14})', lines[2]) or len(lines) > 67:
        raise Wrong('it is no proof')
    index = int(lines[2][6:])
    try:
        leaf = base64.b64decode(lines[1][6:], validate=True)
        path = [base64.b64decode(line, validate=True) for line in lines[3:]]
    except (binascii.Error, ValueError):
        raise Wrong('it is no proof: a line is no base64')
    again = [base64.b64encode(x).decode() for x in [leaf] + path]
    if again != [lines[1][6:]] + lines[3:] or any(len(h) != 32 for h in path):
        raise Wrong('it is no proof: a line is not written as it should be')
    head, signed = open_head(note, keys)
    if not signed:
        raise Wrong('its head is signed by none of the keys')
    if index >= head.size:
        raise Wrong('the record is not under its head')
    at, last, root = index, head.size - 1, leaf_hash(leaf)  # RFC 9162, section 2.1.3.2
    for h in path:
        if last == 0:
            raise Wrong('its path is too long')
        if at & 1 or at == last:
            root = node_hash(h, root)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            root = node_hash(root, h)
        at, last = at >> 1, last >> 1
    if last or root != head.root:
        raise Wrong('the record is not under its head')
    if len(leaf) < 20 or struct.unpack_from('<I', leaf)[0] != len(leaf) + 4 or struct.unpack_from('<Q', leaf, 4)[0] != index:
        raise Wrong('what is proved is not this record')
    return leaf, index, head


def main():
    p = argparse.ArgumentParser(description='Checks a punchd ledger or a proof with the public key alone.')
    p.add_argument('--ledger', help='directory with the segments')
    p.add_argument('--key', action='append', required=True, help='file with the public key; several if it was replaced')
    p.add_argument('--witness', action='append', default=[], help='file with heads that were kept elsewhere')
    p.add_argument('--proof', help='file with a proof')
    p.add_argument('--json', action='store_true')
    o = p.parse_args()
    if (o.ledger is None) == (o.proof is None):
        p.error('give either --ledger or --proof')
    keys = [read_key(path) for path in o.key]
    if o.proof:
        with open(o.proof, 'rb') as f:
            leaf, index, head = check_proof(f.read(2 << 20), keys)
        said = {'ledger': head.ledger, 'seq': index, 'size': head.size, 'signed_at': head.at, 'kind': leaf[12]}
        print(json.dumps(said) if o.json else 'record %d is under the head of %d records of ledger %s, signed at %s' % (index, head.size, head.ledger, head.at))
        return 0
    c = Check(o.ledger, keys, [note for path in o.witness for note in read_witness(path)])
    c.run()
    if o.json:
        print(json.dumps({'ledger': c.id, 'records': c.records, 'heads': c.heads, 'signed': c.last, 'unsigned': c.unsigned, 'agreed': c.agreed,
                          'torn': c.torn, 'findings': [{'kind': k, 'first': a, 'last': b} for a, b, k in c.findings]}))
    else:
        for first, last, kind in c.findings:
            print('! %s: %d to %d' % (kind, first, last))
        print('%d records of ledger %s %s; %d heads, %d records not signed yet' % (
            c.records, c.id, 'are NOT all as they were signed' if c.findings else 'are as they were signed', c.heads, c.unsigned))
    return 1 if c.findings else 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except (Wrong, OSError) as e:
        print('verify.py: %s' % e, file=sys.stderr)
        sys.exit(1)
