"""Quotas and books with a real engine: streams cut to the token, hang-ups exact, cached prompts, costs."""

import time

import openai
import pytest

from tests.servers import CHAT

LONG = [{"role": "user", "content": "Write a long story about a lighthouse and the sea."}]


@pytest.fixture
def limited(server):
    """A key of the admin with a rule of its own: (client, what its window holds)."""
    with server.admin_browser() as browser:
        key = browser.post("/api/auth/api-keys", json={"name": "limited"}).json()
        user_id = browser.get("/api/auth/me").json()["id"]

    def limit(**maxima):
        path = f"/api/auth/admin/users/{user_id}/quotas"
        rule = {"api_key_id": key["id"], "window": "1h", **maxima}
        with server.client() as admin:
            assert admin.put(path, json=rule).status_code == 200
        time.sleep(0.3)

    def standing():
        with server.client() as admin:
            found = admin.get(f"/api/auth/admin/users/{user_id}/quotas").json()["quotas"]
        return next(quota for quota in found if quota["api_key_id"] == key["id"])

    def used():
        with server.client() as admin:
            path = f"/api/auth/admin/usage?period=day&api_key_id={key['id']}"
            return admin.get(path).json()["totals"]

    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key["key"], max_retries=0) as client:
        yield client, limit, standing, used


def stream(client, **more):
    return client.chat.completions.create(
        model=CHAT,
        messages=LONG,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
        **more,
    )


def test_s52_a_stream_ends_at_the_tokens_that_are_left(limited):
    client, limit, standing, used = limited
    limit(max_total_tokens=60)

    chunks = list(stream(client))

    told = chunks[-1].usage
    reasons = [c.choices[0].finish_reason for c in chunks if c.choices]
    assert [reason for reason in reasons if reason] == ["length"]
    assert told.total_tokens <= 61
    assert standing()["current_total_tokens"] == used()["total_tokens"] == told.total_tokens

    def ask_until_refused():  # while anything is left a request is let through
        for _ in range(5):
            client.chat.completions.create(model=CHAT, messages=LONG)

    with pytest.raises(openai.RateLimitError) as caught:
        ask_until_refused()
    assert caught.value.body["reason"] == "quota_exceeded"
    assert int(caught.value.response.headers["retry-after"]) > 3000


def test_s18_a_hang_up_under_a_quota_pays_for_what_was_generated(limited, server):
    client, limit, standing, used = limited
    limit(max_total_tokens=5000)
    seen = 0
    with stream(client, max_tokens=400) as answer:
        for chunk in answer:
            seen += bool(chunk.choices and chunk.choices[0].delta.content)
            if seen == 10:
                break

    server.until(lambda: used()["request_count"] == 1, 10)

    totals = used()
    assert 10 <= totals["completion_tokens"] <= 60
    assert standing()["current_total_tokens"] == totals["total_tokens"]
    assert standing()["current_concurrent"] == 0


def test_s54_costs_of_a_real_answer(limited, server):
    client, limit, standing, used = limited
    limit(max_cost=10**12)
    with server.client() as admin:
        price = {"model": CHAT, "prompt": "0.15", "cached_prompt": "0.05", "completion": "0.6"}
        assert admin.post("/api/auth/admin/prices", json=price).status_code in {201, 409}
    time.sleep(0.3)

    answer = client.chat.completions.create(model=CHAT, messages=LONG, max_tokens=10)

    details = answer.usage.prompt_tokens_details
    cached = details.cached_tokens if details and details.cached_tokens else 0
    fresh = answer.usage.prompt_tokens - cached
    wanted = fresh * 150 + cached * 50 + answer.usage.completion_tokens * 600
    totals = used()
    assert (totals["cost"], totals["cached_tokens"]) == (wanted, cached)
    assert standing()["current_cost"] == wanted


def test_u03_latency_is_measured(limited, server):
    client, _, _, _ = limited
    list(stream(client, max_tokens=5))

    with server.client() as admin:
        rows = admin.get("/api/auth/admin/usage/latency?period=day").json()["latency"]
    row = next(row for row in rows if row["model"] == CHAT)
    assert 0 < row["first_token_ms"]["p50"] <= row["duration_ms"]["p99"]
