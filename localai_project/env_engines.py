"""The part of the settings that is about engines and their models."""

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode

from core.addresses import engine_item
from core.memory_budget import check_budget

DEFAULT_CHAT_MODEL = "smollm2-135m-instruct"
CommaList = Annotated[list[str], NoDecode]


class EngineEnv(BaseSettings):
    """Where engines are, what they may take, and which models are here."""

    engines: CommaList = []
    engines_key: str = ""
    engine_concurrency: int = Field(256, ge=1, le=65536)
    fairness: Literal["user", "arrival"] = "user"
    models: CommaList | None = None
    vram_budget: str = ""
    ram_budget: str = ""

    @field_validator("engines", "models", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        if isinstance(value, str):
            return [item.strip() for item in value.split(",") if item.strip()]
        return value

    @field_validator("engines")
    @classmethod
    def _engine_urls(cls, value: list[str]) -> list[str]:
        for item in value:
            parts = urlsplit(engine_item(item)[1])
            if parts.username is not None or parts.password is not None:
                raise ValueError(
                    "wants addresses without a password; LOCALAI_ENGINES_KEY is the key"
                )
            on_socket = parts.scheme == "unix" and parts.path.startswith("/")
            if not on_socket and (parts.scheme not in {"http", "https"} or not parts.hostname):
                raise ValueError("wants name=http://host:port or http://host:port, comma-separated")
        return value

    @field_validator("vram_budget", "ram_budget")
    @classmethod
    def _budgets(cls, value: str) -> str:
        return check_budget(value)

    @property
    def engine_items(self) -> list[tuple[str, str]]:
        """The remote engines as (name or empty, url); a name may be there several times."""
        return [engine_item(item) for item in self.engines]

    @property
    def local_models(self) -> list[str]:
        """Models to install and load here; none by default where all engines are remote."""
        if self.models is not None:
            return self.models
        return [] if self.engines else [DEFAULT_CHAT_MODEL]
