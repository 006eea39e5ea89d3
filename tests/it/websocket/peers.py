"""Both ends of WebSockets, by the library `websockets`, for the tests of the gateway between them.

    peers.py serve [CERTIFICATE KEY]   a server; prints its port, then a line of JSON for each connection's end
    peers.py talk URL [AUTHORITY]      messages of all kinds, and closes from either side
    peers.py load URL COUNT [AUTHORITY]  COUNT connections that are never silent, until the input ends; prints
                                       "ready" once all have had an answer

A client exits with 1, and says why, when something is not as it should be.
"""

import asyncio
import json
import ssl
import sys

import websockets

# No frame of the tests is larger.
MAX = 8 * 1024 * 1024
WAIT_S = 20


def client_tls(authority):
    if authority is None:
        return None
    context = ssl.create_default_context(cafile=authority)
    context.check_hostname = False
    return context


def connect(url, authority):
    return websockets.connect(
        url, ssl=client_tls(authority), max_size=MAX, open_timeout=WAIT_S, close_timeout=WAIT_S, ping_interval=None
    )


async def serve(certificate=None, key=None):
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)

    async def handle(socket, path=None):
        count = 0
        try:
            async for message in socket:
                count += 1
                if isinstance(message, str) and message.startswith("close "):
                    _, code, reason = message.split(" ", 2)
                    await socket.close(int(code), reason)
                    break
                await socket.send(message)
        except websockets.ConnectionClosed:
            pass
        print(json.dumps({"code": socket.close_code, "reason": socket.close_reason, "count": count}), flush=True)

    async with websockets.serve(handle, "127.0.0.1", 0, ssl=context, max_size=MAX, ping_interval=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        # Until whoever started this is gone.
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def talk(url, authority=None):
    async with connect(url, authority) as socket:
        for message in ["text", "", "äöü €", b"\0\1\2", "x" * 200_000, bytes(range(256)) * 16_000]:
            await socket.send(message)
            assert await socket.recv() == message, f"{len(message)} bytes came back as others"
        # One message in fragments, and two in a row.
        await socket.send(["frag", "men", "ted"])
        await socket.send("next")
        assert await socket.recv() == "fragmented"
        assert await socket.recv() == "next"
        await asyncio.wait_for(await socket.ping(b"are you there"), WAIT_S)
        await socket.close(4001, "our own reason")
    async with connect(url, authority) as socket:
        await socket.send("close 4002 the server's reason")
        try:
            await socket.recv()
            raise AssertionError("the server did not close")
        except websockets.ConnectionClosed as closed:
            assert closed.rcvd is not None and closed.rcvd.code == 4002, closed
            assert closed.rcvd.reason == "the server's reason", closed
    # Both ends of a connection without any message.
    async with connect(url, authority):
        pass


async def load(url, count, authority=None):
    stop = asyncio.Event()
    ready = [asyncio.Event() for _ in range(count)]

    async def one(number):
        sent = 0
        async with connect(url, authority) as socket:
            while not stop.is_set() or sent == 0:
                message = f"{number}.{sent}." + "x" * (number * 100)
                await socket.send(message)
                assert await asyncio.wait_for(socket.recv(), WAIT_S) == message
                sent += 1
                ready[number].set()
                await asyncio.sleep(0.005)
            await socket.close(1000, "done")
        return sent

    async def told():
        for event in ready:
            await event.wait()
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        stop.set()

    watcher = asyncio.create_task(told())
    results = await asyncio.gather(*(one(number) for number in range(count)), return_exceptions=True)
    failed = [repr(result) for result in results if isinstance(result, BaseException)]
    if failed:
        watcher.cancel()
        print(f"{len(failed)} of {count} connections failed: {failed[0]}", file=sys.stderr, flush=True)
        # The thread that reads the input would be waited for.
        sys.stderr.flush()
        import os

        os._exit(1)
    await watcher
    print(sum(results), flush=True)


def main():
    mode, *rest = sys.argv[1:]
    if mode == "serve":
        asyncio.run(serve(*rest))
    elif mode == "talk":
        asyncio.run(talk(*rest))
    elif mode == "load":
        asyncio.run(load(rest[0], int(rest[1]), *rest[2:]))
    else:
        sys.exit(__doc__)


main()
