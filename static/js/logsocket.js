// Follows an engine's log over a WebSocket: no line lost or twice, however often the connection is cut.
// The server numbers lines; after a cut we ask for those behind the last one that we have.
import { ask } from "./requests.js";

const FIRST_PAUSE_MS = 300;
const LONGEST_PAUSE_MS = 10000;

export class LogSocket {
  // `after` is the last line there is, 0 for none. `take(lines, anew)` gets lines in order, `anew` where
  // they are the first, as after an earlier log was thrown away; `tell(state)` hears "live",
  // "reconnecting" or "paused".
  constructor(path, after, { take, tell }) {
    this.path = path;
    this.last = after;
    this.take = take;
    this.tell = tell;
    this.socket = null;
    this.timer = 0;
    this.pause = FIRST_PAUSE_MS;
    this.wanted = false;
  }

  go() {
    this.wanted = true;
    if (!this.socket) this.connect();
  }

  stop() {
    this.wanted = false;
    clearTimeout(this.timer);
    this.socket?.close();
    this.socket = null;
    this.tell("paused");
  }

  connect() {
    const from = this.last ? `&after=${this.last}` : "";
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}${this.path}?batch=1${from}`);
    let opened = false;
    this.socket = socket;
    socket.addEventListener("open", () => {
      opened = true;
      this.pause = FIRST_PAUSE_MS;
      this.tell("live");
    });
    socket.addEventListener("message", (event) => {
      if (this.socket === socket) this.hear(JSON.parse(event.data));
    });
    socket.addEventListener("close", () => {
      if (this.socket !== socket) return; // stopped, or another one has its place
      this.socket = null;
      this.again(opened);
    });
  }

  hear({ type, lines, line }) {
    const given = lines ?? [line];
    if (!given.length) return;
    const isAnew = type === "initial" && (!this.last || given.at(-1).seq < this.last);
    if (isAnew) this.last = 0;
    const fresh = given.filter(({ seq }) => seq > this.last);
    if (!fresh.length) return;
    this.last = fresh.at(-1).seq;
    this.take(fresh, isAnew);
  }

  again(opened) {
    this.tell("reconnecting");
    clearTimeout(this.timer);
    this.timer = setTimeout(async () => {
      // a handshake says nothing of why it was refused; this asks to sign in again where that is why
      const answer = opened ? null : await ask("/api/auth/me").catch(() => null);
      if (answer?.status === 401) this.stop();
      else if (this.wanted && !this.socket) this.connect();
    }, this.pause);
    this.pause = Math.min(LONGEST_PAUSE_MS, this.pause * 2);
  }
}
