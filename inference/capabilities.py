"""`GET /api/models/capabilities`: which models the caller may pick, and for what. No Django here."""

from typing import Any

import orjson

from core.call import Answer, Call
from core.principal import Principal
from inference import forwarding
from inference.engine_table import EngineTable, Target
from inference.runtime import Runtime

FLAGS = {
    "chat": "FLAG_CHAT",
    "completions": "FLAG_COMPLETION",
    "embeddings": "FLAG_EMBEDDINGS",
    "tokenize": "FLAG_TOKENIZE",
    "rerank": "FLAG_RERANK",
    "image": "FLAG_IMAGE",
    "video": "FLAG_VIDEO",
    "vision": "FLAG_VISION",
    "tts": "FLAG_TTS",
    "transcript": "FLAG_TRANSCRIPT",
    "sound_generation": "FLAG_SOUND_GENERATION",
    "vad": "FLAG_VAD",
    "detection": "FLAG_DETECTION",
}
_OF_REMOTE = frozenset({"chat", "completions", "tokenize"})  # one that does not say


async def serve_capabilities(call: Call, answer: Answer, runtime: Runtime) -> None:
    assert call.principal is not None  # noqa: S101  # the gate came first
    body = orjson.dumps(list_capabilities(runtime.engines, call.principal))
    await answer.json(200, body, [forwarding.overhead(call)])


def list_capabilities(engines: EngineTable, principal: Principal) -> dict[str, Any]:
    """Every model that `principal` may use, loading or not; admins also see what is disabled."""
    found = [target for target in engines.targets.values() if principal.may_use(target.name)]
    return {"data": [_row(each) for each in found if principal.is_admin or not each.disabled]}


def _row(target: Target) -> dict[str, Any]:
    can = target.capabilities or (_OF_REMOTE if target.remote else frozenset())
    return {
        "id": target.name,
        "capabilities": [flag for name, flag in FLAGS.items() if name in can],
        "backend": target.backend,
        "state": target.state,
        "disabled": target.disabled,
        "pinned": target.pinned,
        "aliases": list(target.aliases),
    }
