"""Chromium under a driver, and a static site for it, of another origin than the bridge."""

import base64
import contextlib
import http.server
import os
import pathlib
import threading

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from bridge import PATIENCE, ROOT

PHONE, DESKTOP = (375, 667), (1280, 900)


@contextlib.contextmanager
def chromium(profile, languages="en"):
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    options.accept_insecure_certs = True
    options.add_experimental_option("prefs", {"intl.accept_languages": languages})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in (
        "headless=new no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update "
        f"disable-sync user-data-dir={profile}"
    ).split():
        options.add_argument("--" + argument)
    with webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options) as chrome:
        screen(chrome)
        yield chrome


def screen(browser, size=PHONE, dark=False):
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                            {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 600})
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


@contextlib.contextmanager
def without_javascript(browser):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        yield
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@contextlib.contextmanager
def slow_upload(browser, bytes_per_second):
    conditions = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_per_second}
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)
    try:
        yield
    finally:
        browser.execute_cdp_cmd("Network.emulateNetworkConditions", {**conditions, "uploadThroughput": -1})


def press(browser, *keys):
    ActionChains(browser).send_keys(*keys).perform()


def tab_to(browser, name):
    """Goes on with the Tab key until the control of this name, or the button, has the focus."""
    for _ in range(20):
        press(browser, Keys.TAB)
        focused = browser.switch_to.active_element
        if (focused.get_attribute("name") or focused.tag_name) == name:
            return focused
    raise AssertionError(f"the Tab key does not lead to {name}")


def wait_for(browser, condition):
    return WebDriverWait(browser, PATIENCE, poll_frequency=0.05).until(lambda b: condition(b))


def find(browser, selector):
    """The one element, or None."""
    found = browser.find_elements("css selector", selector)
    assert len(found) <= 1, f"{len(found)} times {selector}"
    return found[0] if found else None


def appears(browser, selector):
    return wait_for(browser, lambda b: find(b, selector))


def heading(browser):
    return browser.find_element("css selector", "h1").text


def picture_folder():
    """Where people look at what the tests saw; another one in SCREENSHOTS."""
    folder = pathlib.Path(os.environ.get("SCREENSHOTS", ROOT / "build" / "screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def shot(browser, name):
    """A picture of the whole page for a person to look at."""
    width, height = browser.execute_script("const d = document.documentElement; return [innerWidth, Math.max(innerHeight, d.scrollHeight)]")
    picture = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": {
        "x": 0, "y": 0, "width": width, "height": height, "scale": 1}})
    path = picture_folder() / f"{name}.png"
    path.write_bytes(base64.b64decode(picture["data"]))
    return path


class Site(http.server.ThreadingHTTPServer):
    """Somebody's static site. pages: {path: html}; with a policy if `csp` is set."""

    daemon_threads = True

    def __init__(self, handler=None):
        super().__init__(("127.0.0.1", 0), handler or Page)
        self.pages = {"/thanks.html": "<title>thanks</title><h1>We thank you</h1>"}
        self.kinds = {}
        self.csp = None
        self.origin = f"http://127.0.0.1:{self.server_address[1]}"

    def page(self, text, path="/form.html"):
        self.pages[path] = f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>our site</title>{text}'
        return self.origin + path

    def form(self, action, inside, attributes="", script=True):
        """A page with a form that uses the script of its action."""
        return self.page(f'{f"<script src={action}.js defer></script>" if script else ""}<h1>Order</h1>'
                         f'<form action="{action}" method="post" {attributes}>{inside}<button>Send</button></form>')


class Page(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, status, text, kind="text/html; charset=utf-8"):
        content = text if isinstance(text, bytes) else text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Access-Control-Allow-Origin", "*")
        if self.server.csp:
            self.send_header("Content-Security-Policy", self.server.csp)
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        text = self.server.pages.get(self.path)
        kind = self.server.kinds.get(self.path, "text/html; charset=utf-8")
        self.answer(404 if text is None else 200, text or "", kind)


@contextlib.contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
