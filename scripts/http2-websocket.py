"""A WebSocket over HTTP/2 (RFC 8441) with other people's code at both ends: python's `websockets` serves
HTTP/1.1 behind the gateway, python's `h2` asks in front of it. Used by scripts/http2-clients.

    http2-websocket.py serve PORT      an echo
    http2-websocket.py ask PORT        opens one over TLS, talks, and closes it
"""
import os
import socket
import ssl
import struct
import sys


def serve(port):
    import asyncio
    import websockets

    async def echo(connection, path=None):
        async for message in connection:
            await connection.send(message)

    async def main():
        async with websockets.serve(echo, "127.0.0.1", port):
            await asyncio.Future()

    asyncio.run(main())


def frame(kind, payload):
    """A frame of a client: whole, and masked (RFC 6455, 5.2)."""
    key = os.urandom(4)
    length = len(payload)
    head = struct.pack("!BB", 0x80 | kind, 0x80 | min(length, 126))
    if length > 125:
        head += struct.pack("!H", length)
    return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def ask(port):
    import h2.config
    import h2.connection
    import h2.events
    import h2.settings

    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    wire = context.wrap_socket(socket.create_connection(("127.0.0.1", port), 10), server_hostname="localhost")
    assert wire.selected_alpn_protocol() == "h2"
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    connection.initiate_connection()
    wire.sendall(connection.data_to_send())
    came = bytearray()
    state = {"status": None, "ended": False}

    def step():
        data = wire.recv(65536)
        assert data, "the connection ended"
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                state["status"] = dict(event.headers)[":status"]
            elif isinstance(event, h2.events.DataReceived):
                came.extend(event.data)
                connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                state["ended"] = True
            elif isinstance(event, h2.events.StreamReset):
                raise SystemExit("the stream was reset: %s" % event.error_code)
        wire.sendall(connection.data_to_send())

    while not connection.remote_settings.enable_connect_protocol:
        step()
    stream = connection.get_next_available_stream_id()
    connection.send_headers(stream, [
        (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/ws"),
        (":authority", "localhost:%d" % port), ("sec-websocket-version", "13"),
    ])
    wire.sendall(connection.data_to_send())
    while state["status"] is None:
        step()
    assert state["status"] == "200", state["status"]

    def message():
        """The next message: its kind and its bytes."""
        while True:
            if len(came) >= 4 or len(came) >= 2 and came[1] < 126:
                length, begin = came[1], 2
                if length == 126:
                    length, begin = struct.unpack("!H", came[2:4])[0], 4
                if len(came) >= begin + length:
                    kind, payload = came[0] & 0x0F, bytes(came[begin:begin + length])
                    del came[:begin + length]
                    return kind, payload
            step()

    for text in (b"hello", b"x" * 126, b"y" * 5000):
        connection.send_data(stream, frame(1, text))
        wire.sendall(connection.data_to_send())
        assert message() == (1, text)
    connection.send_data(stream, frame(9, b"ping"))
    wire.sendall(connection.data_to_send())
    assert message() == (10, b"ping")
    connection.send_data(stream, frame(8, struct.pack("!H", 1000) + b"done"))
    wire.sendall(connection.data_to_send())
    kind, payload = message()
    assert kind == 8
    print("closed: %d %s" % (struct.unpack("!H", payload[:2])[0], payload[2:].decode()))
    while not state["ended"]:
        step()


if __name__ == "__main__":
    {"serve": serve, "ask": ask}[sys.argv[1]](int(sys.argv[2]))
