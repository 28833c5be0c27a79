"""Chunks of a stream by position: the engine's counts read and cut out without parsing (issue 8).

What is expected is what vLLM writes: one choice a chunk, the same head as the chunk before, and the counts
as the last member. Whatever looks different is None here, and the editor parses it.

Why positions are enough. The data of an event is one JSON object, and a quote inside a text of it has a
backslash before it. So `],"usage":{` cannot stand inside a text: its first quote would end that text, with
`usage` after it. What follows is compared to the end of the event and closes two objects: of these the last
is the chunk itself, so this `usage` is the chunk's own.
"""

import re

import orjson

_HEAD = re.compile(rb'data: ?(\{[^\\\n]*?"choices": ?\[\{"index": ?0,)')
_CLOSED = b'"":0}]}'  # makes a head a whole object
_USAGE = b'}],"usage":{"prompt_tokens":'
_NEVER = b"\0%d%d"  # no event ends so
_COUNT = rb"(0|[1-9]\d{0,8})"  # less than MAX_TOKENS
_COUNTS = re.compile(
    rb'\}\],"usage":\{"prompt_tokens":%b,"total_tokens":\d+,"completion_tokens":%b'
    rb'((?:,"prompt_tokens_details":(?:null|\{"cached_tokens":%b\}))?'
    rb'(?:,"completion_tokens_details":(?:null|\{"reasoning_tokens":\d+\}))?\}\}\n\n)'
    % (_COUNT, _COUNT, _COUNT)
)


class RunningCounts:
    """The counts of one choice of a stream, chunk by chunk.

    `head` is what its chunks begin with, `shown` the same with the caller's name of the model; with `keep`
    he sees the counts. `prompt`, `completion` and `cached` are those of the chunk that was cut last.
    """

    __slots__ = ("_expected", "_head", "_keep", "_shown", "cached", "completion", "prompt")

    def __init__(self, head: bytes, shown: bytes, *, keep: bool) -> None:
        self._head, self._shown, self._keep = head, shown, keep
        self.prompt = self.completion = self.cached = 0
        self._expected = _NEVER  # how the next chunk's counts are written, but for two numbers

    def cut(self, event: bytes) -> bytes | None:
        """The chunk as the caller gets it; None where it does not look as expected."""
        head = self._head
        if not event.startswith(head):
            return None
        completion = self.completion + 1
        counts = self._expected % (self.prompt + completion, completion)
        if event.endswith(counts):
            self.completion = completion
            at = len(event) - len(counts)
        elif (at := self._look(event)) < 0:
            return None
        if not self._keep:
            return self._shown + event[len(head) : at] + b"}]}\n\n"
        return event if self._shown is head else self._shown + event[len(head) :]

    def _look(self, event: bytes) -> int:
        """Where the counts of a chunk begin that are not one token more than before; -1 if nowhere."""
        at = event.rfind(_USAGE, len(self._head))
        found = _COUNTS.fullmatch(event, at) if at >= 0 else None
        if found is None:
            return -1
        prompt, completion, rest, cached = found.groups()
        self.prompt, self.completion = int(prompt), int(completion)
        self.cached = min(int(cached or 0), self.prompt)
        self._expected = b'%b%d,"total_tokens":%%d,"completion_tokens":%%d%b' % (
            *(_USAGE, self.prompt, rest),
        )
        return at


def running_counts(event: bytes, model: str, *, keep: bool) -> RunningCounts | None:
    """For the chunks after this one, which was parsed and is fine; None where it looks unusual."""
    found = _HEAD.match(event)
    if found is None:
        return None
    try:
        head = orjson.loads(found[1] + _CLOSED)
    except orjson.JSONDecodeError:  # `choices` of something deeper
        return None
    if head.keys() & {"usage", "error"} or head.pop("choices") != [{"index": 0, "": 0}]:
        return None
    if head.get("model") == model:
        return RunningCounts(found[0], found[0], keep=keep)
    shown = orjson.dumps({**head, "model": model})[:-1] + b',"choices":[{"index":0,'
    return RunningCounts(found[0], b"data: " + shown, keep=keep)
