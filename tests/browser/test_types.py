"""The TypeScript types of the browser modules and of the hub's messages, checked by the compiler with a program."""

import json
import subprocess
from pathlib import Path

from tests.support.js import INTEROP, node_or_skip

STATIC = Path(__file__).parents[2] / "worker" / "api" / "static"
OPTIONS = {
    "strict": True,
    "noEmit": True,
    "target": "es2022",
    "lib": ["es2022", "dom"],
    "module": "esnext",
    "moduleResolution": "bundler",
    "types": [],
}
PROGRAM = """
import { io, type Socket } from "socket.io-client";
import type { EventsFromHub, EventsToHub, FromHub, ToHub } from "STATIC/hub-messages.js";
import { ResilientWebSocket } from "STATIC/resilient-websocket.js";
import { ResilientWebSocket as Compatible, createReconnectingWebSocket } from "STATIC/resilient-websocket-compat.js";
import * as react from "STATIC/react-hooks.js";
import * as vue from "STATIC/vue-composables.js";

const socket: Socket<EventsFromHub, EventsToHub> = io("/", { auth: { token: "t" } });
socket.on("socket-notification", ({ payload }, user) => user.seq?.toFixed() ?? payload.jobId?.trim());
socket.emit("join-room", { room: "line-1" }, (answer) => (answer.ok ? answer.type : answer.error));
const ask: ToHub = { type: "subscribe", data: { jobId: "j" } };
export const text = (message: FromHub): string => {
  switch (message.type) {
    case "notification": return message.data.message;
    case "progress": return `${message.data.percent ?? "?"} %`;
    case "error": return message.data.code;
    default: return message.type;
  }
};
const own = new ResilientWebSocket("/ws", { token: () => "t", debug: true });
own.send(ask.type, ask.data);
const other = new Compatible("/ws", { maxReconnectAttempts: 3 });
other.connect().then(() => other.getStatus().stats.totalMessages.toFixed());
createReconnectingWebSocket("job", { onMessage: ({ type }) => type.trim() }, { token: "t" }).disconnect();
export const hook = () => react.useJob("j", () => "t").progress?.percent;
export const composable = () => vue.useNotifications(() => "t", (one) => one.payload.jobId.trim()).state.value;
// @ts-expect-error there is no such command
socket.emit("join-rom", { room: "line-1" });
// @ts-expect-error a room has a name
export const wrong: ToHub = { type: "join-room", data: {} };
// @ts-expect-error there is no such option
new ResilientWebSocket({ maxReconnectAttempts: 3 });
"""


def test_types_compile_and_reject_what_they_do_not_describe(tmp_path: Path) -> None:
    node_or_skip()
    (tmp_path / "program.ts").write_text(PROGRAM.replace("STATIC", str(STATIC)), encoding="utf-8")
    (tmp_path / "node_modules").symlink_to(INTEROP / "node_modules")
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": OPTIONS, "files": ["program.ts"]}))
    command = [str(INTEROP / "node_modules/.bin/tsc"), "--project", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=180, check=False)
    assert (done.returncode, done.stdout) == (0, "")
