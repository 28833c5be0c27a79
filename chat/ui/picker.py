"""Which models the page offers: those that the caller may talk to, ready or not."""

from dataclasses import dataclass

from accounts.runtime import env
from chat.desk import desk
from core.principal import Principal
from inference.api.adapter import remote_engines
from inference.engine_rows import local_targets
from inference.engine_table import Target, names_of
from inference.remote_engines import all_targets


@dataclass(frozen=True, slots=True)
class Choice:
    """One line of the picker. `state` is `ready`, `loading`, `failed` or `stopped` (it loads when asked)."""

    name: str
    state: str
    takes_images: bool
    is_default: bool


def choices(principal: Principal) -> list[Choice]:
    """In the order of the server's own list."""
    return [
        Choice(each.name, each.state, "vision" in each.capabilities, each.is_default)
        for each in known_targets()
        if principal.may_use(each.name) and not each.disabled and talks(each)
    ]


def talks(target: Target) -> bool:
    """A remote engine that does not say what it can is taken at its word when it is asked."""
    return "chat" in target.capabilities or (target.remote and not target.capabilities)


def known_targets() -> list[Target]:
    """What this process knows of engines; read anew where no lane keeps it, as under a test client."""
    table = desk().engines
    if table is not None:
        return list(table.targets.values())
    local = local_targets(env().local_models)
    remote = remote_engines()
    found = [*local, *all_targets(remote, known=names_of(local))]
    for engine in remote:
        engine.close()
    return found


def chosen(offered: list[Choice], *wanted: str) -> str:
    """The first of the `wanted` that is offered, else the default, else the first; empty for none."""
    names = {each.name for each in offered}
    for name in wanted:
        if name in names:
            return name
    default = next((each.name for each in offered if each.is_default), "")
    return default or next((each.name for each in offered), "")
