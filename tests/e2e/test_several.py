"""More than one machine can bear: several formbridges behind HAProxy in TCP mode, each with a spool of its own, delivering to
one mail host. One is killed under load, and nothing that was answered with success is lost."""

import concurrent.futures
import http.client
import os
import re
import shutil
import signal
import ssl
import subprocess
import threading
import time

from bridge import PATIENCE, Bridge, free_port, receipt_in
from mailhosts import Dovecot, listening, wait_until, workdir  # noqa: F401
from test_behind import ROOT, put_in

VISITORS = 6
MOST = 200  # posts of each


class Visitor:
    """Posts again and again, over a new connection each time, and keeps the receipts."""

    def __init__(self, number, port, cert, stop):
        self.number, self.port, self.stop = number, port, stop
        self.context = ssl.create_default_context(cafile=cert)
        self.receipts, self.failures = [], []

    def run(self):
        for n in range(MOST):
            if self.stop.is_set():
                return
            try:
                self.receipts.append((self.post(n), time.monotonic()))
            except (OSError, http.client.HTTPException) as e:
                self.failures.append(repr(e))
            time.sleep(0.01)

    def post(self, n):
        client = http.client.HTTPSConnection("localhost", self.port, timeout=PATIENCE, context=self.context)
        try:
            client.request("POST", "/f/order", f"name=visitor+{self.number}&n={n}",
                           {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"})
            answer = client.getresponse()
            assert answer.status == 200, answer.status
            return receipt_in(answer.read())
        finally:
            client.close()


def waiting(bridge):
    return {re.search(r"[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}", name)[0] for name in bridge.queue() if "state" not in name}


def kill(bridge):
    for pid in [bridge.process.pid, *bridge.roles()]:
        os.kill(pid, signal.SIGKILL)
    bridge.process.wait()
    bridge.process = None
    bridge.log_size = len(bridge.log())


def test_one_of_two_is_killed_and_nothing_answered_is_lost(workdir):  # noqa: F811
    home = workdir / "several"
    home.mkdir()
    home.chmod(0o755)
    mailhost = Dovecot(home)
    ports = [free_port(), free_port()]
    public = free_port()
    keys = {"trusted_proxies": "127.0.0.1", "retry_min": "1s", "retry_max": "1s"}
    form = {"deliver": f"lmtp:{mailhost.lmtp}", "to": "orders@example.com"}
    config = home / "haproxy.cfg"
    config.write_text(put_in((ROOT / "examples" / "haproxy-tcp.cfg").read_text(), ("bind :443", f"bind 127.0.0.1:{public}"),
                             ("server one 10.0.0.11:8443", f"server one 127.0.0.1:{ports[0]}"),
                             ("server two 10.0.0.12:8443", f"server two 127.0.0.1:{ports[1]}")))
    stop = threading.Event()
    with Bridge({"bridge": {"listen": f"proxy:127.0.0.1:{ports[0]}", **keys}, "form order": form}) as one:
        shared = {"certificate": one.dir / "cert.pem", "private_key": one.dir / "key.pem"}
        with Bridge({"bridge": {"listen": f"proxy:127.0.0.1:{ports[1]}", **keys, **shared}, "form order": form}) as two:
            haproxy = subprocess.Popen(["haproxy", "-db", "-f", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                wait_until(lambda: listening(public))
                visitors = [Visitor(n, public, one.dir / "cert.pem", stop) for n in range(VISITORS)]
                with concurrent.futures.ThreadPoolExecutor(VISITORS) as pool:
                    runs = [pool.submit(v.run) for v in visitors]
                    try:
                        wait_until(lambda: sum(len(v.receipts) for v in visitors) >= 40, PATIENCE)
                        kill(one)
                        killed = time.monotonic()
                        wait_until(lambda: sum(t > killed for v in visitors for _, t in list(v.receipts)) >= 40, PATIENCE)
                    finally:
                        stop.set()
                    for run in runs:
                        run.result(2 * PATIENCE)
                answered = {r for v in visitors for r, _ in v.receipts}
                assert len(answered) == sum(len(v.receipts) for v in visitors)
                held = waiting(one) & answered, waiting(two) & answered
                assert held[0] and held[1], "both had a part in it"
                assert held[0] | held[1] == answered, "each is in one of the spools: no mail host was there yet"
                failures = [f for v in visitors for f in v.failures]
                assert len(failures) <= VISITORS, failures  # what was on its way to the killed one, and said so

                one.start()
                with mailhost:
                    def arrived():
                        return {re.search(r"(?m)^Message-ID:\s+<([-0-9A-Z]{14})\.", p.read_text())[1]
                                for p in (mailhost.mail / "orders").glob("new/*")}
                    wait_until(lambda: arrived() >= answered, 2 * PATIENCE)
            finally:
                haproxy.terminate()
                haproxy.wait(PATIENCE)
    shutil.rmtree(home, ignore_errors=True)
