"""vLLM's server on a port and on a Unix socket too: `python engine_on_both.py SOCKET …vLLM's own words…`.

Run by the engine's Python, which knows nothing of ours. Callers who go to vLLM themselves use the port; the product
uses the socket, as with every engine that it starts. vLLM alone listens on one of them.
"""

import runpy
import socket
import sys

SERVER = "vllm.entrypoints.openai.api_server"


def main() -> None:
    import uvicorn

    place = sys.argv.pop(1)
    serve = uvicorn.Server.serve

    async def on_both(self, sockets=None):
        second = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        second.bind(place)
        await serve(self, [*(sockets or ()), second])

    uvicorn.Server.serve = on_both
    runpy.run_module(SERVER, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
