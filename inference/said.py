"""What operations and engines say of themselves, in the reader's language.

They store English sentences, which programs read too; pages translate them when they show them. Those
that are ours are listed here (a test holds them against the sources). Others' words stay as they are:
the lines of an engine, of pip, of another server.
"""

import re
from functools import lru_cache

from django.utils.translation import get_language, gettext, gettext_noop

_MAX_CHARS = 600
# The more particular ones stand before the more general. `why` and `what` are such sentences themselves.
SENTENCES = (
    # operations, on their way
    gettext_noop("waiting"),
    gettext_noop("starting"),
    gettext_noop("cancelled"),
    gettext_noop("going on after an interruption"),
    gettext_noop("downloading"),
    gettext_noop("converting"),
    gettext_noop("making an environment"),
    gettext_noop("letting go of it"),
    gettext_noop("stopping its engine"),
    gettext_noop("removing its files"),
    gettext_noop("downloading %(name)s"),
    gettext_noop("unpacking %(name)s"),
    gettext_noop("reading %(name)s"),
    gettext_noop("step %(at)s of %(steps)s: %(name)s"),
    gettext_noop("downloaded, not prepared: waits for backend %(name)s"),
    # operations that failed
    gettext_noop("The installer ended unexpectedly."),
    gettext_noop("It failed; the server's log says why."),
    gettext_noop("The disk is full. Free some space, then start again."),
    gettext_noop("The disk has no room for it. Free some space, then start again."),
    gettext_noop("A file could not be written: %(why)s"),
    gettext_noop("the disk is full; free some space and start again, it goes on where it stopped"),
    gettext_noop("a folder cannot be written; check who owns it and start again"),
    gettext_noop("the package registry cannot be reached; check the network and start again"),
    gettext_noop("a package differs from the one that was pinned; nothing of it was installed"),
    gettext_noop("the installer stopped"),
    gettext_noop("A virtual environment cannot be made; on Debian, install python3.11-venv."),
    gettext_noop("The engine of this model did not stop; it stays as it was."),
    gettext_noop("no model found with name %(name)s"),
    gettext_noop("no backend found with name %(name)s"),
    gettext_noop("no backend %(name)s for this machine"),
    gettext_noop("The recipe is not at this address any more."),
    gettext_noop("There is another model %(name)s already; delete it first."),
    gettext_noop("A folder %(name)s that is not ours is in the way."),
    gettext_noop("There is no folder %(name)s below the models path."),
    gettext_noop("The folder %(name)s is another model's."),
    gettext_noop("The folder holds more than %(n)s files."),
    gettext_noop("The folder is empty."),
    gettext_noop("The hub has no %(name)s at %(revision)s."),
    gettext_noop("The hub's answer is not understood."),
    gettext_noop("The repository holds no safetensors; other formats may run code."),
    gettext_noop("The file is not the one that was announced (sha256)."),
    gettext_noop("The file that arrived is not the one that was announced (sha256)."),
    gettext_noop("The way to the file leads over a link."),
    gettext_noop("The package did not arrive as one wheel."),
    gettext_noop("The package holds a name that leads out of it."),
    gettext_noop("There is no .gguf file to convert."),
    gettext_noop("Converting %(name)s failed: %(why)s"),
    gettext_noop("%(name)s: its source cannot be one file of several."),
    gettext_noop("%(name)s is not a plain file of at most %(n)s bytes."),
    gettext_noop("%(name)s is not a plain file."),
    gettext_noop("%(name)s is not text."),
    gettext_noop("%(name)s cannot be read: %(why)s."),
    gettext_noop("%(name)s wants the backend %(backend)s, which nobody offers."),
    gettext_noop("%(name)s wants %(hardware)s, which this machine does not have."),
    gettext_noop("%(name)s is its own name already."),
    gettext_noop("%(name)s is %(what)s already."),
    gettext_noop("a model that is being installed"),
    gettext_noop("a model"),
    gettext_noop("an alias of %(name)s"),
    gettext_noop("%(name)s has no option %(options)s"),
    # fetching
    gettext_noop("The server is too slow."),
    gettext_noop("The server broke off in the middle."),
    gettext_noop("The server broke off again and again."),
    gettext_noop("There is nothing at this address (404)."),
    gettext_noop("The server refuses it (%(status)s); it may want a token."),
    gettext_noop("The server answers %(status)s."),
    gettext_noop("The server sends it compressed, which was not asked for."),
    gettext_noop("It is larger than the %(n)s bytes that are taken."),
    gettext_noop("The address is not a valid one."),
    gettext_noop("The address leads on and on (too many redirects)."),
    gettext_noop("Only http and https addresses are fetched."),
    gettext_noop("%(host)s has no address here."),
    gettext_noop("%(host)s has no certificate that is known here."),
    gettext_noop(
        "%(host)s is an address inside this network; LOCALAI_FETCH_ALLOW can let it through."
    ),
    gettext_noop("%(host)s is an address inside this network."),
    gettext_noop("%(host)s cannot be reached."),
    gettext_noop("%(host)s does not answer as it should."),
    gettext_noop("%(host)s leads nowhere (a redirect without an address)."),
    gettext_noop("%(host)s leads to an address that is none."),
    gettext_noop("%(host)s leads from https to plain http."),
    gettext_noop("The archive is damaged, or not one."),
    gettext_noop("The archive holds the same name twice."),
    gettext_noop("The archive is packed in a way that is not known here."),
    gettext_noop("The archive holds a link or a device."),
    gettext_noop("The archive unpacks to more than is taken."),
    gettext_noop("The archive holds more than %(n)s files."),
    gettext_noop("The archive holds a name that leads out of it."),
    # engines
    gettext_noop("waiting for its start"),
    gettext_noop("waiting for the engine process"),
    gettext_noop("its process cannot be made"),
    gettext_noop("its backend %(name)s is not installed"),
    gettext_noop("its backend is being upgraded"),
    gettext_noop("stopping once its callers are served"),
    gettext_noop("another version has taken over"),
    gettext_noop("not loaded yet"),
    gettext_noop("the model is disabled"),
    gettext_noop("one replica fewer"),
    gettext_noop("there is no room for this replica"),
    gettext_noop("others wait for room before it"),
    gettext_noop("unloaded by an admin"),
    gettext_noop("unloaded to make room for %(name)s"),
    gettext_noop("unloaded: %(why)s"),
    gettext_noop("not loaded: %(why)s"),
    gettext_noop("it was idle"),
    gettext_noop("too many models are loaded"),
    gettext_noop("the memory is nearly full"),
    gettext_noop("%(n)s model may be loaded at once (max_active_backends)"),
    gettext_noop("%(n)s models may be loaded at once (max_active_backends)"),
    gettext_noop(
        "needs %(need)s, %(free)s is free within the budget of %(budget)s (graphics card)"
    ),
    gettext_noop("needs %(need)s, %(free)s is free within the budget of %(budget)s (RAM)"),
    gettext_noop("it was busy for %(n)s s without ending a request"),
    gettext_noop("the engine ended: %(why)s"),
    gettext_noop("it ended without a word"),
    gettext_noop("the engine stopped answering"),
    gettext_noop("the engine did not become ready in time"),
    gettext_noop("version %(version)s of its backend does not start; this is the one before"),
    gettext_noop("the engine does not answer"),
    gettext_noop("%(name)s does not answer"),
    # what is asked of them and refused
    gettext_noop("The engine of %(name)s does not start: %(why)s"),
    gettext_noop("%(name)s is not loaded: %(why)s"),
    gettext_noop("The backend of %(name)s, %(backend)s, is not installed."),
    gettext_noop("backend %(name)s is not currently loaded"),
    gettext_noop("%(name)s is disabled"),
    gettext_noop("%(name)s is up to date"),
    gettext_noop("It has not failed."),
    gettext_noop("The engine process does not answer; is it running?"),
    gettext_noop("The same operation starts and ends all the time; try again."),
    gettext_noop("A recipe of this machine has to lie below the backends path."),
    gettext_noop("id or url is required"),
    gettext_noop("uri is required"),
    gettext_noop("%(name)s is in use: stop these models first: %(models)s"),
)
_THEMSELVES = ("why", "what")
_PLACE = re.compile(r"%\((\w+)\)s")


def said(message: str) -> str:
    """One of our sentences in the language of this moment; anything else as it is."""
    if not message or len(message) > _MAX_CHARS or (get_language() or "en").startswith("en"):
        return message
    sentence, parts = _recognised(message)
    if not sentence:
        return message
    told = {name: said(part) if name in _THEMSELVES else part for name, part in parts}
    return gettext(sentence) % told


def as_sentence(message: str) -> str:
    """`said`, with a full stop, and a capital letter unless a name stands first; "" if none of ours."""
    pattern, _parts = _recognised(message) if len(message) <= _MAX_CHARS else ("", ())
    if not pattern:
        return ""
    told = said(message)
    if not gettext(pattern).startswith("%("):
        told = told[:1].upper() + told[1:]
    return told.rstrip(".") + "."


@lru_cache(maxsize=256)
def _recognised(message: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """(the sentence, what stands in its places); an empty one where it is none of ours."""
    for sentence, pattern in _patterns():
        if (found := pattern.fullmatch(message)) is not None:
            return sentence, tuple(found.groupdict().items())
    return "", ()


@lru_cache(maxsize=1)
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    return [(each, _pattern(each)) for each in SENTENCES]


def _pattern(sentence: str) -> re.Pattern[str]:
    pieces = _PLACE.split(sentence)
    texts = [re.escape(piece) for piece in pieces[::2]]
    places = [f"(?P<{name}>.+?)" for name in pieces[1::2]]
    joined = [part for pair in zip(texts, [*places, ""], strict=True) for part in pair]
    return re.compile("".join(joined), re.DOTALL)
