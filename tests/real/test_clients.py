"""The official clients against a real vLLM, through a real gunicorn with two workers, on both databases."""

import asyncio

import anthropic
import httpx
import openai
import pytest

from tests.servers import CHAT, EMBEDDINGS

TOKENS = {"prompt_tokens", "completion_tokens", "total_tokens"}
ASK = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key) as made:
        yield made


@pytest.fixture
def claude(server):
    with anthropic.Anthropic(base_url=server.url, api_key=server.key) as made:
        yield made


@pytest.fixture
def books(server):
    """What was added to the books since the test began."""
    before = server.usage()

    def added():
        after = server.usage()
        names = [name for name in after if name.endswith("_count") or name in TOKENS]
        return {name: after[name] - before[name] for name in names}

    return added


def test_a_chat_answer_and_what_it_cost(client, books):
    answer = client.chat.completions.create(model=CHAT, messages=ASK, max_tokens=20, temperature=0)

    assert "Paris" in answer.choices[0].message.content
    assert answer.model == CHAT
    assert books() == {
        "prompt_tokens": answer.usage.prompt_tokens,
        "completion_tokens": answer.usage.completion_tokens,
        "total_tokens": answer.usage.total_tokens,
        "request_count": 1,
        "error_count": 0,
    }


def test_a_streamed_chat_answer_and_what_it_cost(client, books):
    stream = client.chat.completions.create(
        model=CHAT,
        messages=ASK,
        max_tokens=20,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)

    assert "Paris" in "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    usage = chunks[-1].usage
    assert usage.completion_tokens > 3
    assert all(chunk.usage is None for chunk in chunks[:-1])
    found = books()
    assert (found["prompt_tokens"], found["completion_tokens"]) == (
        usage.prompt_tokens,
        usage.completion_tokens,
    )


def test_a_stream_without_usage_costs_the_same(client, books):
    chunks = list(
        client.chat.completions.create(model=CHAT, messages=ASK, max_tokens=9, stream=True, seed=1)
    )

    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    assert 1 <= books()["completion_tokens"] <= 9


def test_completions_plain_and_streamed(client, books):
    plain = client.completions.create(model=CHAT, prompt="One, two,", max_tokens=5, temperature=0)
    streamed = client.completions.create(
        model=CHAT, prompt="One, two,", max_tokens=5, temperature=0, stream=True
    )

    assert plain.choices[0].text == "".join(chunk.choices[0].text for chunk in streamed)
    assert books()["completion_tokens"] == 2 * plain.usage.completion_tokens


def test_embeddings_have_their_dimensions_and_their_cost(client, books):
    answer = client.embeddings.create(model=EMBEDDINGS, input=["a cat", "a kitten", "a tax form"])

    cat, kitten, tax = (item.embedding for item in answer.data)
    assert len(cat) == 384

    def near(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert near(cat, kitten) > near(cat, tax)
    assert books()["prompt_tokens"] == answer.usage.prompt_tokens > 0


def test_anthropic_messages_plain_streamed_and_counted(claude, books):
    plain = claude.messages.create(
        model=CHAT, messages=ASK, max_tokens=20, extra_body={"temperature": 0}
    )
    with claude.messages.stream(
        model=CHAT, messages=ASK, max_tokens=20, extra_body={"temperature": 0}
    ) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    counted = claude.messages.count_tokens(model=CHAT, messages=ASK)

    assert "Paris" in plain.content[0].text == text
    assert plain.id.startswith("msg_")
    assert plain.usage.input_tokens == counted.input_tokens
    assert books()["completion_tokens"] == plain.usage.output_tokens + final.usage.output_tokens


def test_responses_are_stored_for_their_owner_and_go_on(client, server):
    first = client.responses.create(
        model=CHAT, input="What is the capital of France?", temperature=0, max_output_tokens=20
    )
    second = client.responses.create(
        model=CHAT,
        input="And of Spain?",
        previous_response_id=first.id,
        temperature=0,
        max_output_tokens=20,
    )

    assert "Paris" in first.output_text
    assert client.responses.retrieve(first.id).output_text == first.output_text
    assert second.previous_response_id == first.id
    assert second.usage.input_tokens > first.usage.input_tokens
    assert client.responses.cancel(first.id).id == first.id
    with httpx.Client(base_url=server.url) as stranger:
        body = {"email": f"s{first.id[5:]}@example.org", "password": "a long enough pass phrase"}
        stranger.post("/api/auth/register", json=body)
        assert stranger.get(f"/v1/responses/{first.id}").status_code == 401
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model=CHAT, input="x", previous_response_id="resp_unknown")


def test_a_streamed_response_is_stored(client, books):
    events = list(
        client.responses.create(model=CHAT, input="Say hi", stream=True, max_output_tokens=5)
    )

    final = events[-1].response
    assert events[0].type == "response.created"
    assert client.responses.retrieve(final.id).usage.output_tokens == final.usage.output_tokens
    assert books()["completion_tokens"] == final.usage.output_tokens


def test_models_are_listed(client):
    assert {CHAT, EMBEDDINGS} <= {model.id for model in client.models.list()}
    assert client.models.retrieve(CHAT).id == CHAT
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nope")


def test_tokens_there_and_back(server):
    with server.client() as client:
        tokens = client.post("/v1/tokenize", json={"model": CHAT, "content": "Hello world"}).json()[
            "tokens"
        ]
        text = client.post("/v1/detokenize", json={"model": CHAT, "tokens": tokens}).json()

    assert text == {"content": "Hello world"}


def test_every_route_also_without_v1_and_by_engine(server):
    body = {"model": CHAT, "messages": ASK, "max_tokens": 2}
    with server.client() as client:
        assert client.post("/chat/completions", json=body).status_code == 200
        assert client.post("/v1/chat/completions/", json=body).status_code == 200
        answer = client.post(
            f"/v1/engines/{CHAT}/completions", json={"prompt": "x", "max_tokens": 1}
        )
        assert answer.json()["model"] == CHAT
        assert client.post(f"/v1/engines/{CHAT}/embeddings", json={"input": "x"}).status_code == 400
        assert client.get("/models").json()["object"] == "list"


def test_the_asynchronous_clients(server, books):
    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=server.key) as client:
            stream = await client.chat.completions.create(
                model=CHAT, messages=ASK, max_tokens=5, stream=True
            )
            n = len([chunk async for chunk in stream])
        async with anthropic.AsyncAnthropic(base_url=server.url, api_key=server.key) as client:
            await client.messages.create(model=CHAT, messages=ASK, max_tokens=5)
        return n

    assert asyncio.run(ask()) > 1
    assert books()["request_count"] == 2


def test_the_clients_see_errors_of_their_own_kind(client, claude, server):
    with pytest.raises(openai.NotFoundError, match="not found"):
        client.chat.completions.create(model="nope", messages=ASK)
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=CHAT, messages=ASK, temperature=-5)
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(model="nope", messages=ASK, max_tokens=5)
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="lai-wrong").models.list()


def test_a_hang_up_in_mid_stream_is_billed_by_the_engines_count(server, books):
    body = {"model": CHAT, "messages": ASK, "max_tokens": 500, "stream": True, "ignore_eos": True}
    seen = 0
    with (
        server.client() as client,
        client.stream("POST", "/v1/chat/completions", json=body) as answer,
    ):
        for line in answer.iter_lines():
            seen += line.startswith("data: ")
            if seen > 10:
                break

    server.until(lambda: books()["request_count"] == 1, 15)
    found = books()
    assert 9 <= found["completion_tokens"] < 400
    assert found["prompt_tokens"] > 10


def test_a_key_made_a_moment_ago_works_and_a_revoked_one_stops_at_once_in_every_worker(server):
    with httpx.Client(base_url=server.url) as browser:
        browser.post(
            "/api/auth/login", json={"email": "admin@example.org", "password": "correct horse lamp"}
        )
        for _ in range(5):
            made = browser.post("/api/auth/api-keys", json={"name": "short"}).json()
            headers = {"Authorization": f"Bearer {made['key']}"}
            for _ in range(6):
                assert httpx.get(f"{server.url}/v1/models", headers=headers).status_code == 200
            browser.delete(f"/api/auth/api-keys/{made['id']}")
            for _ in range(6):
                assert httpx.get(f"{server.url}/v1/models", headers=headers).status_code == 401
