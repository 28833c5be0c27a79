"""Conversations with a real engine (R-39): exact counts, an answer that is stopped, one that goes on."""

import pytest

from tests.servers import CHAT

STORY = "Write a long story about a lighthouse and the sea."


@pytest.fixture
def person(server):
    """A browser of the admin's, and what its usage grew by."""
    with server.admin_browser() as browser:

        def used():
            return browser.get("/api/auth/usage?period=day").json()["totals"]

        before = used()
        yield browser, lambda: {name: used()[name] - before[name] for name in before}


def begin(browser, content=STORY, **fields):
    made = browser.post("/api/chats", json={"model": CHAT, "temperature": 0, **fields})
    path = f"/api/chats/{made.json()['id']}/messages"
    begun = browser.post(path, json={"content": content})
    assert begun.status_code == 202, begun.text
    return f"{path}/{begun.json()['answer']['id']}"


def ended(server, browser, path):
    def found():
        answer = browser.get(path).json()
        return answer if answer["status"] != "streaming" else None

    return server.until(found, 240)


def test_r39_a_chat_is_in_the_books_as_it_is_shown(server, person):
    browser, grown = person

    answer = ended(server, browser, begin(browser, maxTokens=24))

    assert (answer["status"], answer["finishReason"]) == ("done", "length")
    assert answer["completionTokens"] == 24
    assert answer["content"].strip()
    assert grown()["completion_tokens"] == 24
    assert grown()["prompt_tokens"] == answer["promptTokens"]
    assert grown()["request_count"] == 1


def test_r39_an_answer_that_came_to_its_limit_goes_on_in_mid_sentence(server, person):
    browser, grown = person
    path = begin(browser, maxTokens=16)
    first = ended(server, browser, path)

    again = browser.post(f"{path}/continue", json={})
    whole = ended(server, browser, path)

    assert again.status_code == 202, again.text
    assert (whole["status"], whole["finishReason"]) == ("done", "length"), whole
    assert whole["id"] == first["id"]
    assert whole["content"].startswith(first["content"])
    assert len(whole["content"]) > len(first["content"])
    assert whole["completionTokens"] == 32
    assert whole["promptTokens"] > first["promptTokens"]  # what there was came along
    assert grown()["request_count"] == 2
    assert grown()["completion_tokens"] == 32
    # the template did not begin a new answer
    one = ended(server, browser, begin(browser, maxTokens=32))
    assert whole["content"][:60] == one["content"][:60]


def test_r39_stop_ends_the_engines_work_and_bills_what_came(server, person):
    browser, grown = person
    path = begin(browser, maxTokens=1500)
    server.until(lambda: browser.get(path).json()["content"], 240)

    assert browser.post(f"{path}/stop").status_code in {200, 202}

    stopped = ended(server, browser, path)
    assert stopped["status"] == "stopped"
    assert 0 < stopped["completionTokens"] < 1500
    assert grown()["completion_tokens"] == stopped["completionTokens"]
