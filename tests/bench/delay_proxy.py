# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A slow line: a TCP proxy on loopback that holds every byte back for a while, each way."""

from __future__ import annotations

import asyncio
import contextlib
import threading


class DelayProxy:
    """Listens on a free loopback port while the ``with`` block lasts. Twice ``delay_seconds`` is the round trip."""

    def __init__(self, host: str, port: int, delay_seconds: float) -> None:
        self._target = (host, port)
        self._delay = delay_seconds
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> int:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result()
        return self._server.sockets[0].getsockname()[1]

    def __exit__(self, *_error: object) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        await asyncio.gather(self._pump(reader, there_writer), self._pump(there_reader, writer))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Each chunk leaves ``delay`` after it came, without holding up those behind it."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        async def deliver() -> None:
            while True:
                due, chunk = await queue.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                if not chunk:
                    break
                sink.write(chunk)
                await sink.drain()
            sink.close()

        delivery = asyncio.create_task(deliver())
        with contextlib.suppress(ConnectionError):
            while chunk := await source.read(65536):
                queue.put_nowait((loop.time() + self._delay, chunk))
        queue.put_nowait((loop.time() + self._delay, b""))
        with contextlib.suppress(ConnectionError):
            await delivery
