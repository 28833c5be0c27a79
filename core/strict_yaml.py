"""YAML from people we do not know: plain data, no key twice, no aliases, and a line for every fault."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MAX_CHARS = 4 * 1024 * 1024
MAX_DEPTH = 20
MAX_NUMBER_CHARS = 100  # `1:59:59…` is a number to YAML, worked out in quadratic time
_LOOSE = "tag:yaml.org,2002:"
_PLAIN = {_LOOSE + name for name in ("str", "int", "float", "bool", "null", "map", "seq")}
Place = tuple[int | str, ...]
_constructor = yaml.constructor.SafeConstructor()  # of which single values keep nothing
_VALUES: dict[str, Callable[[ScalarNode], Any]] = {
    "int": _constructor.construct_yaml_int,
    "float": _constructor.construct_yaml_float,
    "bool": _constructor.construct_yaml_bool,
    "null": _constructor.construct_yaml_null,
}
_Loader = yaml.CSafeLoader  # libyaml: ten times as fast as the one in Python


class YamlError(ValueError):
    """What is wrong; `line` counts from 1 and is 0 where the whole is meant."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


@dataclass(frozen=True, slots=True)
class Document:
    """The data, and the line of every place in it: `(0, "files", 1)` is the second file of the first."""

    data: Any
    lines: dict[Place, int]

    def line_of(self, place: Place) -> int:
        """The line of a place, or of the nearest one around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def read_yaml(text: str) -> Document:
    """Raises YamlError."""
    if len(text) > MAX_CHARS:
        raise YamlError(f"longer than {MAX_CHARS} characters")
    try:
        _refuse_aliases(text)
        root = yaml.compose(text, Loader=_Loader)
    except YamlError:
        raise
    except yaml.MarkedYAMLError as exc:
        last = text.count("\n") + 1  # libyaml names the line after it where the end came too early
        line = min(exc.problem_mark.line + 1, last) if exc.problem_mark else 0
        raise YamlError(exc.problem or "not YAML", line) from exc
    except yaml.YAMLError as exc:  # a character that YAML does not have
        raise YamlError("not YAML: it holds a character that may not be there") from exc
    except RecursionError as exc:
        raise YamlError("nested too deeply") from exc
    except ValueError as exc:  # PyYAML's own way over an escape that is no character
        raise YamlError("not YAML: it holds a character that may not be there") from exc
    lines: dict[Place, int] = {}
    if root is None:
        return Document(None, lines)
    return Document(_build(root, (), lines), lines)


def _refuse_aliases(text: str) -> None:
    """Before anything is built: a few aliases of aliases make more data than there is memory."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent):
            raise YamlError("aliases (*name) are not taken", line)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise YamlError("nested too deeply", line)


def _build(node: Node, place: Place, lines: dict[Place, int]) -> Any:
    line = lines[place] = node.start_mark.line + 1
    if node.tag not in _PLAIN and node.tag != _LOOSE + "timestamp":
        raise YamlError(f"the tag {node.tag[:60]} is not taken", line)
    if isinstance(node, MappingNode):
        return _mapping(node, place, lines)
    if isinstance(node, SequenceNode):
        return [_build(each, (*place, i), lines) for i, each in enumerate(node.value)]
    assert isinstance(node, ScalarNode)  # noqa: S101  # there are no others
    if node.tag in {_LOOSE + "str", _LOOSE + "timestamp"}:
        return node.value  # a date stays the text it is
    try:
        if len(node.value) > MAX_NUMBER_CHARS:
            raise ValueError
        return _VALUES[node.tag.removeprefix(_LOOSE)](node)
    except (ValueError, ArithmeticError, LookupError, yaml.YAMLError) as exc:
        raise YamlError(f"not a value: {node.value[:60]}", line) from exc  # an empty one, too


def _mapping(node: MappingNode, place: Place, lines: dict[Place, int]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, ScalarNode):
            raise YamlError("a key has to be a word", line)
        key = str(key_node.value)
        if key in found:
            raise YamlError(f"the key {key[:60]} is there twice", line)
        found[key] = _build(value_node, (*place, key), lines)
        lines[*place, key] = line
    return found
