"""A TCP proxy that holds each request back for some milliseconds: a server far away, on loopback.

Run as a program: ``python delaying_proxy.py UPSTREAM_PORT MILLISECONDS``; it prints the port that it listens on. It is
a process of its own, so that its work does not count as that of the client.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 20):
            # Of HTTP/1.1 without pipelining, whatever arrives from a client is one request.
            if delay:
                await asyncio.sleep(delay)
            writer.write(data)
            await writer.drain()
    writer.close()


async def _main(upstream: int, delay: float) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", upstream, limit=4 << 20)
        await asyncio.gather(_copy(reader, back, delay), _copy(there, writer, 0.0))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=4 << 20, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), float(sys.argv[2]) / 1000))
