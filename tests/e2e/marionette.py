"""Firefox and Thunderbird, driven by the protocol they have built in (Marionette): frames of LENGTH:JSON over loopback."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import time

from bridge import PATIENCE

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # how WebDriver says that a value is an element (W3C WebDriver, 12)
SHADOW = "shadow-6066-11e4-a52e-4f735466cecf"


class Keys:
    """What WebDriver has for keys without a character (W3C WebDriver, 17.4.2)."""

    TAB, ENTER, SHIFT, SPACE, HOME = "\ue004", "\ue007", "\ue008", "\ue00d", "\ue011"
    ARROW_UP, ARROW_DOWN = "\ue013", "\ue015"


# A fresh profile that asks nothing, updates nothing and reaches nothing but this machine.
PREFS = {
    "marionette.port": 0, "app.update.disabledForTesting": True, "app.normandy.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False, "datareporting.healthreport.uploadEnabled": False,
    "toolkit.telemetry.enabled": False, "extensions.update.enabled": False, "browser.chrome.site_icons": False,
    "browser.shell.checkDefaultBrowser": False,
    "network.captive-portal-service.enabled": False, "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1", "intl.accept_languages": "en",
    "network.proxy.type": 1, "network.proxy.http": "127.0.0.1", "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1", "network.proxy.ssl_port": 9, "network.proxy.no_proxies_on": "localhost, 127.0.0.1",
}


class Failed(Exception):
    """What the program said to a command: error, message."""


class Element:
    def __init__(self, driver, reference):
        self.driver, self.reference = driver, reference

    def __eq__(self, other):
        return isinstance(other, Element) and self.reference == other.reference

    def _ask(self, command, /, **parameters):
        return self.driver.command(f"WebDriver:{command}", id=self.reference, **parameters)

    @property
    def text(self):
        return self._ask("GetElementText")

    def property(self, name):
        return self._ask("GetElementProperty", name=name)

    def attribute(self, name):
        return self._ask("GetElementAttribute", name=name)

    def send_keys(self, text):
        self._ask("ElementSendKeys", text=text)

    def click(self):
        self._ask("ElementClick")


class Marionette:
    """One program with a profile of its own. It is ended by close()."""

    def __init__(self, program, profile, prefs=None, wait=6 * PATIENCE):
        self.profile = pathlib.Path(profile)
        self.profile.mkdir(parents=True, exist_ok=True)
        lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in {**PREFS, **(prefs or {})}.items()]
        (self.profile / "user.js").write_text("".join(lines))
        environment = {**os.environ, "HOME": str(self.profile), "MOZ_CRASHREPORTER_DISABLE": "1", "MOZ_REMOTE_ALLOW_SYSTEM_ACCESS": "1",
                       "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        self.said = open(self.profile / "output", "wb")
        self.process = subprocess.Popen(
            [program, "--marionette", "--headless", "--no-remote", "--remote-allow-system-access", "--profile", str(self.profile)],
            stdin=subprocess.DEVNULL, stdout=self.said, stderr=self.said, env=environment)
        try:
            self.connect(wait)
        except BaseException:
            self.close()
            raise

    def connect(self, wait):
        """The port stands in a file of the profile once it is open."""
        end, port = time.monotonic() + wait, self.profile / "MarionetteActivePort"
        while not (port.exists() and port.read_text().strip()):
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"it does not start:\n{(self.profile / 'output').read_text(errors='replace')[-4000:]}")
            time.sleep(0.05)
        self.socket = socket.create_connection(("127.0.0.1", int(port.read_text())), wait)
        self.stream, self.number = self.socket.makefile("rb"), 0
        self.hello = self.receive()
        self.session = self.command("WebDriver:NewSession", acceptInsecureCerts=True)
        self.command("WebDriver:SetTimeouts", script=int(PATIENCE * 2000), pageLoad=int(PATIENCE * 2000))

    def receive(self):
        digits = b""
        while (c := self.stream.read(1)) != b":":
            assert c.isdigit() and len(digits) < 10, "a length"
            digits += c
        return json.loads(self.stream.read(int(digits)))

    def command(self, name, /, **parameters):
        """A command is [0, number, name, parameters], its answer [1, number, error, result]."""
        self.number += 1
        frame = json.dumps([0, self.number, name, parameters]).encode()
        self.socket.sendall(str(len(frame)).encode() + b":" + frame)
        kind, number, error, result = self.receive()
        assert (kind, number) == (1, self.number), "answers come in order"
        if error:
            raise Failed(error["error"], error["message"], error.get("stacktrace", "")[:2000])
        return result["value"] if isinstance(result, dict) and set(result) == {"value"} else result

    def close(self):
        with contextlib.suppress(OSError, AttributeError, AssertionError, Failed):
            self.command("Marionette:Quit", flags=["eForceQuit"])
        with contextlib.suppress(AttributeError):
            self.socket.close()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.said.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # -- a page

    def get(self, url):
        self.command("WebDriver:Navigate", url=url)

    def back(self):
        self.command("WebDriver:Back")

    @property
    def url(self):
        return self.command("WebDriver:GetCurrentURL")

    @property
    def title(self):
        return self.command("WebDriver:GetTitle")

    def script(self, text, *arguments, wait=False):
        """What it returns; with wait, what it gives to the function that is its last argument."""
        name = "WebDriver:ExecuteAsyncScript" if wait else "WebDriver:ExecuteScript"
        return self.command(name, script=text, args=list(arguments))

    @contextlib.contextmanager
    def chrome(self):
        """The program itself instead of the page."""
        self.command("Marionette:SetContext", value="chrome")
        try:
            yield self
        finally:
            self.command("Marionette:SetContext", value="content")

    def all(self, selector):
        return [Element(self, e[ELEMENT]) for e in self.command("WebDriver:FindElements", using="css selector", value=selector)]

    def find(self, selector):
        """The one element, or None."""
        found = self.all(selector)
        assert len(found) <= 1, f"{len(found)} times {selector}"
        return found[0] if found else None

    def focused(self):
        return Element(self, self.command("WebDriver:GetActiveElement")[ELEMENT])

    def press(self, *keys, held=None):
        strokes = [{"type": kind, "value": key} for key in "".join(keys) for kind in ("keyDown", "keyUp")]
        if held:
            strokes = [{"type": "keyDown", "value": held}, *strokes, {"type": "keyUp", "value": held}]
        self.command("WebDriver:PerformActions", actions=[{"type": "key", "id": "keyboard", "actions": strokes}])

    def tab_to(self, name):
        """Goes on with the Tab key until the control of this name, or the button, has the focus."""
        for _ in range(30):
            self.press(Keys.TAB)
            focused = self.focused()
            if (focused.attribute("name") or focused.property("localName")) == name:
                return focused
        raise AssertionError(f"the Tab key does not lead to {name}")

    def wait_for(self, condition, what="what was awaited", seconds=PATIENCE):
        """condition's result once it is something; a page that is just being replaced is asked again."""
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(Failed):
                if result := condition(self):
                    return result
            assert time.monotonic() < end, f"no {what} within {seconds} s"
            time.sleep(0.05)
