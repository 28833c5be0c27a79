"""What an endpoint takes and gives, said at its method; the OpenAPI document is made of it (R-18, R-26).

    @declares("Sign in", body=bodies.Login, answer=answers.SignedIn, errors=(401,))
    def post(self, request: Request) -> Response:

Shapes are `TypedDict`s (or anything else that pydantic can describe), so one line per field. What the
gate's table says of a route, and the envelopes of its errors, nobody has to write.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from typing_extensions import TypedDict

NAME = "declaration"
JSON = "application/json"
Method = TypeVar("Method", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Content:
    """What is not JSON, or not only: its media type, its shape if it has one, an example."""

    media_type: str
    shape: Any = str
    example: Any = None


@dataclass(frozen=True, slots=True)
class Declaration:
    """One method of one view. A shape of None: there is no body.

    `answer` comes with `status`; `more` has further answers by status. A `Content`, or a list of
    them, stands for what is not JSON. A function in place of a shape is called for it, once the
    whole server is loaded.
    """

    summary: str
    body: Any = None
    answer: Any = None
    status: int = 200
    more: Mapping[int, Any] = field(default_factory=dict)
    query: Any = None
    headers: Any = None
    errors: tuple[int, ...] = ()
    body_example: Any = None
    example: Any = None
    description: str = ""


def declares(summary: str, **what: Any) -> Callable[[Method], Method]:
    """Mark a view's method, or a view that is a function, with its `Declaration`."""
    return declared_as(Declaration(summary, **what))


def declared_as(declaration: Declaration) -> Callable[[Method], Method]:
    """The same with a declaration that stands elsewhere."""

    def mark(method: Method) -> Method:
        setattr(method, NAME, declaration)
        return method

    return mark


def shape(name: str, fields: Mapping[str, Any], *, closed: bool = False) -> Any:
    """A TypedDict whose fields are put together, or are no names of Python; `closed` takes no others."""
    make: Any = TypedDict
    made = make(name, dict(fields))
    if closed:
        made.__pydantic_config__ = {"extra": "forbid"}
    return made


def declaration_of(view: Any, method: str = "") -> Declaration | None:
    """What a view declares of its `method`: at the method, or as `declared` in the class body.

    A view that is a function has no methods.
    """
    at: Any = getattr(view, method.lower(), None) if method else view
    found: Declaration | None = getattr(at, NAME, None) or getattr(view, "declared", None)
    return found
