"""Starting the process of one engine: its command line and its environment."""

from pathlib import Path

from accounts.runtime import env
from accounts.runtime_settings.in_force import value
from inference.engine_defaults import added_environment, options_in_force, threads_in_force
from inference.engine_output import EngineOutput
from inference.guarded import Guarded
from inference.hardware import host_environment
from inference.log_files import LogWriter
from inference.models import Model
from inference.recipes import Recipe, command_line, engine_environment, placeholders
from inference.sockets import At


def start_engine(
    model: Model,
    recipe: Recipe,
    socket: Path,
    at: At,
    *,
    card: int | None,
    writer: LogWriter,
    replica: int,
) -> Guarded:
    """The running process, which will listen `at` the socket or a port.

    Raises RecipeError for an option that the recipe does not have, OSError and ValueError for what
    is no process, such as an argument that is too long.
    """
    private = socket.parent
    for folder in (private / "home", private / "tmp"):
        folder.mkdir(exist_ok=True, mode=0o700)
    socket.unlink(missing_ok=True)
    options = options_in_force(model, recipe)
    values = placeholders(
        recipe,
        python=recipe.python(env().backends_path),
        model=Path(model.directory),
        name=model.name,
        socket=socket,
        port=at if isinstance(at, int) else 0,
        options=options,
        threads=threads_in_force(),
    )
    line = command_line(recipe, values, options)
    environment = engine_environment(recipe, host_environment(), private, values, card=card)
    environment |= added_environment()
    output = EngineOutput(
        writer, keeps=lambda: bool(value("enable_backend_logging")), replica=replica
    )
    return Guarded(line, environment=environment, log=output)
