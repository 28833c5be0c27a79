"""What a request may hold before an engine sees it (peers.md, families 11 and 12).

Unknown keys pass, so that new engine features work at once. What a caller may not decide is
refused by name: templates, tensors, plug-ins, addresses, files; scheduling is taken out silently.
"""

from collections.abc import Iterable
from typing import Any

from core.errors import InvalidRequestError, NotSupportedError

MAX_MESSAGES, MAX_PARTS, MAX_IMAGES, MAX_CHOICES = 2048, 64, 16, 128
MAX_TOOLS, MAX_INPUTS, MAX_DEPTH = 512, 2048, 32

# Rendered or unpickled inside the engine, or naming code, files or peers to talk to.
_REFUSED = {
    "chat_template",
    "prompt_embeds",
    "mm_processor_kwargs",
    "media_io_kwargs",
    "logits_processors",
    "kv_transfer_params",
    "ec_transfer_params",
    "mcp_servers",
    "lora_request",
    "vllm_xargs",
    "api_base",
    "base_url",
}
# The server's to decide; clients send some of them in good faith.
_TAKEN_OUT = {"priority", "request_id", "data_parallel_rank", "cache_salt", "user_id"}
# Arguments of the template that would choose another template or skip it.
_TEMPLATE_KEYS = {"chat_template", "tokenize", "return_dict", "return_tensors", "tools", "messages"}
_MEDIA_PARTS = (
    "image_url",
    "audio_url",
    "video_url",
    "file_url",
    "input_image",
    "image",
    "document",
)
_FILE_KEYS = {"file_id", "file_path", "path", "file"}
# What `check_common` looks at: most requests have none of it.
_JUDGED = _REFUSED | _TAKEN_OUT | {"chat_template_kwargs", "n", "stream", "tools"}


def check_common(data: dict[str, Any]) -> None:
    """Refuse what no caller may decide; take out what is ours. Changes `data` in place."""
    if data.keys().isdisjoint(_JUDGED):
        return
    for name in data.keys() & _REFUSED:
        if data[name] is not None:
            raise NotSupportedError(f"{name} may not be set by a caller.", param=name)
    for name in data.keys() & _TAKEN_OUT:
        del data[name]
    kwargs = data.get("chat_template_kwargs")
    if kwargs is not None:
        _check_template_kwargs(kwargs)
    choices = data.get("n")
    if choices is not None and (not _is_int(choices) or not 1 <= choices <= MAX_CHOICES):
        raise InvalidRequestError(f"n must be between 1 and {MAX_CHOICES}", param="n")
    if not isinstance(data.get("stream", False), bool | None):
        raise InvalidRequestError("stream must be true or false", param="stream")
    tools = data.get("tools")
    if tools is not None and (not isinstance(tools, list) or len(tools) > MAX_TOOLS):
        raise InvalidRequestError(f"tools must be a list of at most {MAX_TOOLS}", param="tools")


def _check_template_kwargs(kwargs: Any) -> None:
    fine = isinstance(kwargs, dict) and all(
        name not in _TEMPLATE_KEYS and isinstance(value, str | int | float | bool | None)
        for name, value in kwargs.items()
    )
    if not fine:
        raise NotSupportedError(
            "chat_template_kwargs takes plain values only.", param="chat_template_kwargs"
        )


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def check_messages(messages: Any, *, param: str = "messages") -> None:
    """A list of objects, within the bounds, whose media is inline."""
    if not isinstance(messages, list) or not messages:
        raise InvalidRequestError(f"{param} must be a list of messages", param=param)
    if len(messages) > MAX_MESSAGES:
        raise InvalidRequestError(f"at most {MAX_MESSAGES} messages", param=param)
    images = 0
    for message in messages:
        if not isinstance(message, dict):
            raise InvalidRequestError("every message must be an object", param=param)
        for key in (
            "content",
            "output",
        ):  # `output` holds the parts of a tool's answer in responses
            content = message.get(key)
            if isinstance(content, list):
                images += check_parts(content, param=param)
            elif content is not None and not isinstance(content, str):
                raise InvalidRequestError(f"{key} must be a text or a list of parts", param=param)
    if images > MAX_IMAGES:
        raise InvalidRequestError(f"at most {MAX_IMAGES} images", param=param)


def check_parts(parts: list[Any], *, param: str) -> int:
    """The parts of one message; how many of them are media."""
    if len(parts) > MAX_PARTS:
        raise InvalidRequestError(f"at most {MAX_PARTS} parts in a message", param=param)
    return sum(_check_part(part, param=param, depth=0) for part in parts)


def _check_part(part: Any, *, param: str, depth: int) -> int:
    """1 for a piece of media, which has to be inline; nested content is followed."""
    if depth > MAX_DEPTH:
        raise InvalidRequestError("the content is nested too deeply", param=param)
    if isinstance(part, str):
        return 0
    if not isinstance(part, dict) or not isinstance(part.get("type", ""), str):
        raise InvalidRequestError("every part must be an object with a type", param=param)
    if any(key.endswith("_embeds") and part[key] is not None for key in part):
        raise NotSupportedError("tensors may not be sent by a caller", param=param)
    found = 0
    for address in _addresses(part):
        if not isinstance(address, str) or not address[:5].lower() == "data:":
            raise NotSupportedError(
                "media by address is not supported; send it inline as a data: URL", param=param
            )
        found = 1
    if any(part.get(key) is not None for key in _FILE_KEYS if key != "file") or _names_file(part):
        raise NotSupportedError("files by reference are not supported", param=param)
    source = part.get("source")
    if isinstance(source, dict) and source.get("type") == "base64":
        found = 1
    inner = source.get("content") if isinstance(source, dict) else None
    for nested in (part.get("content"), part.get("output"), inner):
        if isinstance(nested, list):
            found += sum(_check_part(each, param=param, depth=depth + 1) for each in nested)
        elif isinstance(nested, dict):
            found += _check_part(nested, param=param, depth=depth + 1)
    return found


def _addresses(part: dict[str, Any]) -> Iterable[Any]:
    """Everything in a part that is, or would be taken for, an address."""
    for key in _MEDIA_PARTS:
        value = part.get(key)
        if isinstance(value, dict):
            if value.get("url") is not None:
                yield value["url"]
        elif value is not None:
            yield value
    source = part.get("source")
    if isinstance(source, dict):
        if source.get("type") not in ("base64", "text", "content") or source.get("url") is not None:
            yield source.get("url")
    elif source is not None and part.get("type") in {"image", "document"}:
        yield source


def _names_file(part: dict[str, Any]) -> bool:
    file = part.get("file")
    return isinstance(file, dict) and any(
        file.get(k) is not None for k in ("file_id", "path", "url")
    )


def check_prompt(prompt: Any, *, param: str) -> None:
    """A text, a list of texts, or token ids, for completions and embeddings."""
    if isinstance(prompt, str):
        return
    if not isinstance(prompt, list) or not prompt:
        raise InvalidRequestError(f"{param} must be a text or a list", param=param)
    if all(_is_int(each) for each in prompt):
        return
    if len(prompt) > MAX_INPUTS:
        raise InvalidRequestError(f"at most {MAX_INPUTS} inputs", param=param)
    for each in prompt:
        if isinstance(each, list) and all(_is_int(token) for token in each):
            continue
        if not isinstance(each, str):
            raise InvalidRequestError(f"{param} holds something that is no text", param=param)
