"""What clients were told, held against what is in queue and mailbox afterwards."""

import email
import email.policy
import http.client
import itertools
import json
import mailbox
import re
import threading
import urllib.parse

FILLER = "\n".join(f"line {i} of a note that fills more than one page" for i in range(120))
REF_IN_MAILDIR = re.compile(r"\.R([0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4})\.")


def whole(message):
    """The token of a message that has all that was posted, first field to last byte; None if something is missing."""
    mail = email.message_from_bytes(message, policy=email.policy.default)
    part = mail.get_body(("plain",))
    text = part.get_content() if part is not None else ""
    name, last = re.search(r"^name: (\S+)$", text, re.M | re.I), re.search(r"(\S+) ends here", text)
    complete = name and last and name[1] == last[1] and "line 119 of a note" in text and mail["Message-ID"]
    return name[1] if complete else None


class Ledger:
    def __init__(self):
        self.answered = {}  # token -> receipt, of those that were told "stored"
        self.refused = []  # tokens of those that were told "not stored"
        self.unanswered = []  # tokens of those that were told nothing
        self.refs = {}  # receipt -> token
        self.lock = threading.Lock()
        self.numbers = itertools.count()

    def post(self, bridge, form="order"):
        """Posts one submission with content of its own; the status, or None if the connection broke."""
        with self.lock:
            token = f"token-{next(self.numbers):05d}"
        body = urllib.parse.urlencode([("name", token), ("note", f"{FILLER}\n{token} ends here")]).encode()
        try:
            status, _, answer = bridge.post(body, form, {"Accept": "application/json"})
            ref = json.loads(answer)["id"] if status == 200 else None
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            status = ref = None
        with self.lock:
            if status == 200:
                self.answered[token] = ref
                self.refs[ref] = token
            elif status is None:
                self.unanswered.append(token)
            else:
                self.refused.append(token)
        return status

    def post_together(self, bridge, count, form="order"):
        """count submissions at once; their statuses."""
        statuses = [None] * count

        def one(i):
            statuses[i] = self.post(bridge, form)

        threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        return statuses

    def check_maildir(self, maildir):
        """All that was answered is there, whole, at most twice and then with one Message-ID; returns how many twice."""
        found = {}  # token -> the Message-ID of each copy
        for directory in ("new", "cur"):
            for path in (maildir / directory).iterdir():
                content = path.read_bytes()
                token = whole(content)
                assert token, f"{directory}/{path.name} is not whole: {len(content)} bytes"
                mail = email.message_from_bytes(content, policy=email.policy.default)
                found.setdefault(token, []).append(mail["Message-ID"])
        return self.check(found)

    def check_mbox(self, path):
        """The same of an mbox, which may also hold what a crash cut off."""
        found = {}
        box = mailbox.mbox(path)
        for message in box:
            token = whole(message.as_bytes())
            if token:
                found.setdefault(token, []).append(str(message["Message-ID"]))
        box.close()
        return self.check(found)

    def check(self, found):
        lost = sorted(set(self.answered) - set(found))
        assert not lost, f"answered with success and lost: {[(t, self.answered[t]) for t in lost]}"
        for token, ids in found.items():
            assert len(ids) <= 2 and len(set(ids)) == 1, f"{token} is there {len(ids)} times, as {ids}"
        refused = sorted(set(self.refused) & set(found))
        assert not refused, f"answered with an error and delivered: {refused}"
        return sum(len(ids) - 1 for ids in found.values())
