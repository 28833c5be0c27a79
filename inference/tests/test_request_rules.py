"""What a caller may not decide never reaches an engine (peers.md, families 11 and 12)."""

import pytest

from core.errors import GatehouseError, NotSupportedError
from inference.families import RULES
from inference.families.base import Asked

USER = {"role": "user", "content": "hi"}
DATA_URL = "data:image/png;base64,AAAA"


def prepared(rules="chat", **body):
    data = {"messages": [USER], **body}
    if rules == "messages":
        data.setdefault("max_tokens", 5)
    if rules == "responses":
        data.setdefault("input", data.pop("messages"))
    if rules == "completions":
        data.pop("messages")
        data.setdefault("prompt", "x")
    asked = Asked(data, "m", "m", stream=bool(data.get("stream")))
    RULES[rules].prepare(asked)
    return asked


@pytest.mark.parametrize("rules", ["chat", "messages", "responses", "completions"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("chat_template", "{{ ''.__class__ }}"),
        ("prompt_embeds", "AAAA"),
        ("logits_processors", ["os.system"]),
        ("mm_processor_kwargs", {"x": 1}),
        ("media_io_kwargs", {"video": {}}),
        ("kv_transfer_params", {"remote_host": "10.0.0.1"}),
        ("mcp_servers", [{"url": "http://10.0.0.1"}]),
        ("vllm_xargs", {"plugin": "x"}),
        ("api_base", "http://evil.example"),
        ("chat_template_kwargs", {"chat_template": "{{ 1 }}"}),
        ("chat_template_kwargs", {"tokenize": False}),
        ("chat_template_kwargs", {"x": {"y": 1}}),
        ("chat_template_kwargs", "x"),
    ],
)
def test_templates_tensors_plugins_and_addresses_are_refused(rules, name, value):
    with pytest.raises(NotSupportedError):
        prepared(rules, **{name: value})


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "http://169.254.169.254/x"}},
        {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}},
        {"type": "image_url", "image_url": "https://x.org/a.png"},
        {"type": "input_image", "image_url": "https://x.org/a.png"},
        {"type": "video_url", "video_url": {"url": "https://x.org/a.mp4"}},
        {"type": "audio_url", "audio_url": {"url": "https://x.org/a.wav"}},
        {"type": "text", "text": "x", "image_url": {"url": "https://x.org/a.png"}},
        {"type": "image", "source": {"type": "url", "url": "https://x.org/a.png"}},
        {"type": "document", "source": {"type": "url", "url": "https://x.org/a.pdf"}},
        {"type": "image", "source": {"type": "file", "file_id": "f"}},
        {"type": "input_file", "file_id": "f-1"},
        {"type": "input_file", "file_url": "https://x.org"},
        {"type": "file", "file": {"file_id": "f-1"}},
        {
            "type": "tool_result",
            "content": [{"type": "image", "source": {"type": "url", "url": "http://x"}}],
        },
        {"type": "image_url", "image_url": {"url": 5}},
        {
            "type": "tool_result",
            "content": {"type": "image", "source": {"type": "url", "url": "http://x"}},
        },
        {
            "type": "document",
            "source": {
                "type": "content",
                "content": [{"type": "image_url", "image_url": "http://x"}],
            },
        },
        {"type": "image_embeds", "image_embeds": "AAAA"},
        {"type": ["image"], "source": "x"},
        {"type": "image", "source": {"type": []}},
        5,
    ],
)
@pytest.mark.parametrize("rules", ["chat", "messages", "responses"])
def test_media_by_address_and_files_by_reference_are_refused(rules, part):
    with pytest.raises(GatehouseError) as caught:
        prepared(
            rules,
            **{
                "input" if rules == "responses" else "messages": [
                    {"role": "user", "content": [part]}
                ]
            },
        )

    assert caught.value.http_status == 400


def test_media_inline_passes():
    parts = [
        {"type": "image_url", "image_url": {"url": DATA_URL}},
        {"type": "text", "text": "what?"},
    ]

    prepared(messages=[{"role": "user", "content": parts}])
    prepared(
        "messages",
        messages=[
            {
                "role": "user",
                "content": [{"type": "image", "source": {"type": "base64", "data": "A"}}],
            }
        ],
    )


@pytest.mark.parametrize(
    "messages",
    [
        [USER] * 2049,
        [{"role": "user", "content": [{"type": "text", "text": "x"}] * 65}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": DATA_URL}}] * 9}]
        * 2,
        [],
        "x",
        [5],
        None,
    ],
)
def test_counts_are_bounded(messages):
    with pytest.raises(GatehouseError):
        prepared(messages=messages)


def test_bounds_themselves_pass():
    prepared(messages=[USER] * 2048)
    prepared(
        messages=[
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": DATA_URL}}] * 16,
            }
        ]
    )


def test_unknown_keys_pass_and_scheduling_is_taken_out():
    asked = prepared(min_p=0.1, brand_new_engine_key={"a": 1}, priority=-100, request_id="x")

    assert asked.data["brand_new_engine_key"] == {"a": 1}
    assert "priority" not in asked.data
    assert "request_id" not in asked.data


@pytest.mark.parametrize(
    "body",
    [
        {"n": 0},
        {"n": 129},
        {"n": "2"},
        {"stream": "yes"},
        {"tools": {}},
        {"stream": True, "stream_options": 1},
    ],
)
def test_nonsense_is_refused(body):
    with pytest.raises(GatehouseError):
        prepared(**body)


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "mcp", "server_url": "http://x"},
        {"type": "code_interpreter"},
        {"type": "web_search"},
        "x",
    ],
)
def test_responses_take_function_tools_only(tool):
    with pytest.raises(NotSupportedError):
        prepared("responses", tools=[tool])


def test_a_background_response_is_501():
    with pytest.raises(NotSupportedError) as caught:
        prepared("responses", background=True)

    assert caught.value.http_status == 501


def test_the_engine_is_told_to_store_nothing_and_to_count_in_every_chunk():
    assert prepared("responses").data["store"] is False
    options = prepared(stream=True).data["stream_options"]
    assert options == {"include_usage": True, "continuous_usage_stats": True}


def test_a_tools_answer_in_responses_is_followed_too():
    item = {
        "type": "function_call_output",
        "call_id": "c",
        "output": [{"type": "input_image", "image_url": "http://x"}],
    }

    with pytest.raises(NotSupportedError):
        prepared("responses", input=[item])


def test_content_that_is_an_object_is_refused():
    with pytest.raises(GatehouseError):
        prepared(
            messages=[{"role": "user", "content": {"type": "image_url", "image_url": "http://x"}}]
        )
