"""A python-socketio or Flask-SocketIO server in an environment of its own; speaks JSON lines as server.js does.

python python_server.py '{"kind": "aiohttp", "acks": true}'
"""

import asyncio
import json
import sys
import threading
import time

LEVERS = json.loads(sys.argv[1])
PATH = "api/v1/org-socket"
NAMESPACE = LEVERS.get("namespace") or "/"
RECEIVED = []


def say(**value):
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def receive(message):
    RECEIVED.append(message["payload"]["sequence"])


def answer_commands():
    for line in sys.stdin:
        if json.loads(line).get("do") == "report":
            say(at="report", count=len(RECEIVED), ids=RECEIVED)


def options():
    chosen = {
        "ping_interval": LEVERS.get("pingInterval", 25000) / 1000,
        "ping_timeout": LEVERS.get("pingTimeout", 20000) / 1000,
    }
    chosen["max_http_buffer_size"] = LEVERS.get("maxPayload", 1000000)
    return chosen


def allowed(query):
    return "queryToken" not in LEVERS or f"token={LEVERS['queryToken']}" in query


def serve_aiohttp():
    import socketio
    from aiohttp import web

    sio = socketio.AsyncServer(async_mode="aiohttp", async_handlers=False, **options())

    async def connect(_sid, environ, *_auth):
        if not allowed(environ["QUERY_STRING"]):
            raise socketio.exceptions.ConnectionRefusedError("not authorized")

    async def notification(_sid, message, _user):
        receive(message)
        if not LEVERS.get("acks", True):
            raise RuntimeError("this handler acknowledges nothing")

    sio.on("connect", connect, namespace=NAMESPACE)
    sio.on("socket-notification", notification, namespace=NAMESPACE)
    app = web.Application()
    sio.attach(app, socketio_path=PATH)

    async def run():
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", LEVERS.get("port", 0))
        await site.start()
        say(at="listening", port=runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


def serve_flask():
    import socket

    import flask.cli
    from flask import Flask, request
    from flask_socketio import SocketIO

    flask.cli.show_server_banner = lambda *_arguments: None  # standard output carries JSON lines
    app = Flask(__name__)
    sio = SocketIO(app, async_mode="threading", path=PATH, **options())

    def connect(*_auth):
        return allowed(request.query_string.decode())

    def notification(message, _user):
        receive(message)
        if not LEVERS.get("acks", True):
            raise RuntimeError("this handler acknowledges nothing")

    sio.on_event("connect", connect, namespace=NAMESPACE)
    sio.on_event("socket-notification", notification, namespace=NAMESPACE)
    port = LEVERS["port"]

    def say_when_listening():
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.02)
        say(at="listening", port=port)

    threading.Thread(target=say_when_listening, daemon=True).start()
    sio.run(app, host="127.0.0.1", port=port, allow_unsafe_werkzeug=True)


threading.Thread(target=answer_commands, daemon=True).start()
serve_flask() if LEVERS["kind"] == "flask" else serve_aiohttp()
