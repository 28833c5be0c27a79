"""A backend of our own making: a wheel on a loopback index, whose engine is the stub, and its recipe."""

import hashlib
import os
import site
import time
import zipfile
from io import BytesIO

from core.tests.hostile_server import Hostile, answer, says
from tests.stub import ROOT

SITES = [str(ROOT), *site.getsitepackages()]
# The engine says in its log which version it is; 9.9 is one that does not start.
PROGRAM = f"""
import asyncio, sys
sys.path[:0] = {SITES!r}
from bench.stub_engine import main
print("this is version VERSION", flush=True)
if "VERSION" == "9.9":
    sys.exit("ValueError: this version does not start")
asyncio.run(main(sys.argv[1]))
"""


def wheel(version, name="gatehouse_stub"):
    """The bytes of a wheel; nothing in it but one module."""
    info = f"{name}-{version}.dist-info"
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(f"{name}.py", PROGRAM.replace("VERSION", version))
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        archive.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{info}/RECORD", "")
    return out.getvalue()


class Index(Hostile):
    """A package index on loopback with several versions of the stub; `slow` ones come by the byte."""

    def __init__(self, *versions, slow=()):
        super().__init__()
        links = []
        for version in (*versions, *slow):
            name, body = f"gatehouse_stub-{version}-py3-none-any.whl", wheel(version)
            links.append(f'<a href="/wheels/{name}">{name}</a>')
            self.serve[f"/wheels/{name}"] = (
                slowly(body) if version in slow else says(200, body, connection="close")
            )
        page = f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()
        self.serve["/simple/gatehouse-stub/"] = says(
            200, page, content_type="text/html", connection="close"
        )
        self.simple = f"{self.url}/simple"

    def offer(self, path, *recipes):
        """Serve these recipes as a file; its address, and its sha256."""
        body = "\n".join(recipes).encode()
        self.serve[path] = says(200, body)
        return f"{self.url}{path}", hashlib.sha256(body).hexdigest()

    @property
    def for_pip(self):
        """The environment in which pip asks this index alone."""
        return {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": self.simple,
            "PIP_EXTRA_INDEX_URL": "",
            "PIP_FIND_LINKS": "",
            "PIP_NO_CACHE_DIR": "1",
            "PIP_RETRIES": "3",
        }


def slowly(body):
    def serve(connection, _head):
        whole = answer(200, body)
        connection.sendall(whole[: len(whole) - len(body)])
        for at in range(0, len(body), 16):
            connection.sendall(body[at : at + 16])
            time.sleep(0.25)

    return serve


def recipe(version, /, **changes):
    """The YAML of one list entry."""
    fields = {
        "name": "stub",
        "description": "A stub",
        "license": "MIT",
        "version": f'"{version}"',
        "tags": "[stubs]",
        "hardware": "[cpu]",
        "install": f'[{{requirements: ["gatehouse-stub=={version}"]}}]',
        "command": '["{python}", "-m", "gatehouse_stub", "{socket}", "{options}"]',
        "environment": '{STUB_THREADS: "{threads}"}',
        "options": '{max_num_seqs: {type: integer, default: 4, flag: "--seats", help: places}}',
        "health": "/health",
        "serves": "[chat-completions, completions]",
        **changes,
    }
    lines = [f"{key}: {value}" for key, value in fields.items() if value is not None]
    return "- " + "\n  ".join(lines) + "\n"
