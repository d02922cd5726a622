"""Pages and messages in the language of the form or of the browser, and nothing else changes with it."""

import json
import re

import pytest

from bridge import Bridge, receipt_in

PREFERS_FRENCH = {"Accept-Language": "ja, fr-CA;q=0.9, en;q=0.5"}


@pytest.fixture(scope="module")
def bridge():
    german = dict(Bridge.FORM, deliver="maildir:/nowhere", language="de")
    with Bridge({"form german": german}, start=False) as b:
        b.config["form german"]["deliver"] = f"maildir:{b.maildir}"
        b.write_config()
        b.start()
        yield b


def get(bridge, path, headers):
    client = bridge.client()
    client.request("GET", path, headers=headers)
    response = client.getresponse()
    answer = response.status, dict(response.getheaders()), response.read()
    client.close()
    return answer


def tag_of(answer):
    """What the page says of itself, which the header must say too."""
    _, headers, body = answer
    (tag,) = re.findall(r'<html lang="(\w+)" dir="ltr">', body.decode())
    assert headers["Content-Language"] == tag
    assert "Accept-Language" in headers["Vary"].split(", ")
    return tag


def test_every_page_is_in_the_language_that_the_browser_prefers(bridge):
    assert tag_of(get(bridge, "/", PREFERS_FRENCH)) == "fr"
    assert tag_of(get(bridge, "/f/order", PREFERS_FRENCH)) == "fr"
    assert tag_of(get(bridge, "/f/nothing", PREFERS_FRENCH)) == "fr"
    receipt = bridge.post([("name", "Ada")], headers=PREFERS_FRENCH)
    assert tag_of(receipt) == "fr" and "<h1>Merci</h1>" in receipt[2].decode()
    bridge.mail(receipt_in(receipt[2]))
    invalid = bridge.post([("name", "")], headers=PREFERS_FRENCH)
    assert invalid[0] == 422 and tag_of(invalid) == "fr" and "Veuillez remplir ce champ." in invalid[2].decode()


def test_a_browser_that_wants_none_of_ours_gets_english(bridge):
    for headers in ({}, {"Accept-Language": "ja"}, {"Accept-Language": "en;q=0"}, {"Accept-Language": ";;;q=,"}):
        assert tag_of(get(bridge, "/", headers)) == "en"


def test_a_form_with_a_language_of_its_own_keeps_it(bridge):
    assert tag_of(get(bridge, "/f/german", PREFERS_FRENCH)) == "de"
    invalid = bridge.post([], form="german", headers=PREFERS_FRENCH)
    assert invalid[0] == 422 and tag_of(invalid) == "de"
    assert tag_of(get(bridge, "/", PREFERS_FRENCH)) == "fr"  # which is of no form


def test_messages_for_scripts_are_translated_and_their_codes_are_not(bridge):
    status, headers, body = bridge.post([], headers={"Accept": "application/json", "Accept-Language": "es"})
    assert status == 422 and headers["Content-Language"] == "es"
    (error,) = json.loads(body)["errors"]
    assert error == {"field": "name", "code": "REQUIRED_FIELD_MISSING", "message": "Por favor, rellene este campo."}


def test_what_a_developer_needs_to_know_is_said_in_english_beside_it(bridge):
    status, _, body = bridge.post(b"name=%4", headers={"Accept-Language": "de"})
    assert status == 400 and "Das war nicht zu lesen" in body.decode()
    assert '<p class="soft" lang="en" dir="ltr">The form ends inside a %XX escape.</p>' in body.decode()
