# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What earlier passes knew of each key, in a file that a killed run leaves readable.

A record is of one size and only ever appended; the last one of a key counts. A record that says what is about
to be written is in the file before the write, and another one after it, so that nothing that we wrote is ever
taken for the app's, nor anything of the app's for ours. Keys and values are there as digests only.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from struct import Struct

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.model import ABSENT, Base, Entry

FORMAT = "payaid.scaling redis_copy_keys 1"
KEY_BYTES = 16
# Kind, key, and an expiry and a digest for each side.
RECORD = Struct("<B16sq20sq20s")
INTENT, FOUND, COPIED, GONE, KEPT = 1, 2, 3, 4, 5

Note = tuple[int, bytes, Entry, Entry]


def digest_of_key(key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=KEY_BYTES).digest()


class Journal(AbstractContextManager["Journal"]):
    """The journal of one source and one cluster. A check run reads it and leaves no trace."""

    def __init__(self, path: str, *, read_only: bool) -> None:
        self.path = path
        self.known: dict[bytes, Base] = {}
        self.source = ""
        self.node_ids: frozenset[str] = frozenset()
        self._read_only = read_only
        self._file: int | None = None

    def __enter__(self) -> Journal:
        flags = os.O_RDONLY if self._read_only else os.O_RDWR | os.O_CREAT | os.O_APPEND
        try:
            self._file = os.open(self.path, flags | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            if self._read_only and Path(self.path).parent.is_dir():
                return self
            raise Refusal(f"There is no folder for the journal {self.path}: make it first.") from None
        except OSError as error:
            raise Refusal(
                f"The journal {self.path} cannot be opened ({error.strerror}): correct journal."
            ) from error
        try:
            fcntl.flock(self._file, (fcntl.LOCK_SH if self._read_only else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refusal(f"Another run uses the journal {self.path}: wait until it has ended.") from None
        self._load()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._file is not None:
            # A run that was refused before it knew anything leaves nothing.
            if not self._read_only and not os.fstat(self._file).st_size:
                os.unlink(self.path)
            os.close(self._file)
            self._file = None

    def get(self, key: bytes) -> Base | None:
        return self.known.get(digest_of_key(key))

    def belongs(self, source: str, node_ids: Iterable[str]) -> None:
        """Refuse a journal of another copy: it would take that one's keys for deleted in this cluster."""
        ids = frozenset(node_ids)
        if not self.source:
            self.source, self.node_ids = source, ids
            header = json.dumps({"format": FORMAT, "source": source, "nodes": sorted(ids)}) + "\n"
            if not self._read_only:
                self._append(header.encode())
            return
        if self.source != source:
            raise Refusal(
                f"The journal {self.path} is of a copy from {self.source}, not from {source}: give each copy "
                "a "
                "journal of its own."
            )
        if not self.node_ids & ids:
            raise Refusal(
                f"The journal {self.path} is of a copy into another cluster, none of whose nodes is left in "
                "this "
                "one: delete it if that copy is over, or give another path."
            )

    def intend(self, notes: Iterable[tuple[bytes, Entry]]) -> None:
        """Say what is about to be written, or deleted where it is ABSENT."""
        self._note((INTENT, digest_of_key(key), source, ABSENT) for key, source in notes)

    def found(self, notes: Iterable[tuple[bytes, Entry, Entry]]) -> None:
        """Say what was found to be the same on both sides."""
        self._note((FOUND, digest_of_key(key), source, target) for key, source, target in notes)

    def copied(self, notes: Iterable[tuple[bytes, Entry, Entry]]) -> None:
        """Say what was written, and is there."""
        self._note((COPIED, digest_of_key(key), source, target) for key, source, target in notes)

    def kept(self, notes: Iterable[tuple[bytes, Entry, Entry]]) -> None:
        """Say what differs, and is to stay as the cluster holds it: if the app deletes it there, for good."""
        self._note((KEPT, digest_of_key(key), source, target) for key, source, target in notes)

    def gone(self, keys: Iterable[bytes]) -> None:
        """Say what was deleted on both sides."""
        self._note((GONE, digest_of_key(key), ABSENT, ABSENT) for key in keys)

    def sync(self) -> None:
        """Put on the disk what the system still has in memory."""
        if self._file is not None and not self._read_only:
            os.fsync(self._file)

    def _note(self, notes: Iterable[Note]) -> None:
        data = bytearray()
        for kind, name, source, target in notes:
            self._learn(kind, name, source, target)
            data += RECORD.pack(kind, name, source.expiry, source.digest, target.expiry, target.digest)
        if data and not self._read_only:
            self._append(data)

    def _append(self, data: bytes | bytearray) -> None:
        if self._file is None:
            raise Refusal(f"The journal {self.path} is not open.")
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._file, view) :]
            except OSError as error:
                raise Refusal(
                    f"The journal {self.path} cannot be written ({error.strerror}): make room for it, then "
                    "run "
                    "again."
                ) from error

    def _learn(self, kind: int, name: bytes, source: Entry, target: Entry) -> None:
        if kind == GONE:
            self.known.pop(name, None)
        elif kind == INTENT:
            last = self.known.get(name, Base())
            self.known[name] = replace(last, intent=source)
        else:
            self.known[name] = Base(source, target, copied=kind == COPIED, kept=kind == KEPT)

    def _load(self) -> None:
        with open(self.path, "rb") as file:
            header, body = file.readline(), file.read()
        if not header:
            return
        try:
            told = json.loads(header)
            known, source, nodes = told["format"] == FORMAT, told["source"], told["nodes"]
        except (ValueError, KeyError, TypeError):
            known, source, nodes = False, "", ()
        if not known:
            raise Refusal(f"{self.path} is not a journal of this module: give another path.")
        self.source, self.node_ids = source, frozenset(nodes)
        # A run that was killed in the midst of writing leaves part of a record, which says nothing.
        whole = len(body) - len(body) % RECORD.size
        for kind, name, source, target in read(body[:whole]):
            self._learn(kind, name, source, target)
        if self._file is not None and not self._read_only and whole != len(body):
            os.ftruncate(self._file, len(header) + whole)


def read(body: bytes) -> Iterator[Note]:
    """Read records; those of zeros are what a computer that lost its power may leave."""
    for kind, name, source_expiry, source, target_expiry, target in RECORD.iter_unpack(body):
        if kind in (INTENT, FOUND, COPIED, GONE, KEPT):
            yield kind, name, Entry(source, source_expiry), Entry(target, target_expiry)
