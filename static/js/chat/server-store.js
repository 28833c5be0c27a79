// A conversation that the server keeps (docs/chat.md). Everything raises a `Refusal` where it was refused.
import { ask } from "../requests.js";
import { refusalOf, Refusal } from "./refusal.js";
import { eventsOf } from "./sse.js";

const ALL = "/api/chats";
const SILENT_MS = 40000; // the server says every 15 s that it is still there

async function call(address, method = "GET", body = undefined, signal = undefined, key = "") {
  const options = { method, signal };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers = { "Content-Type": "application/json" };
  }
  // Browsers send again what a reset connection took along: the server knows it by this.
  if (key || body?.stream) options.headers["Idempotency-Key"] = key || fresh();
  let response;
  try {
    response = await ask(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("offline", "");
  }
  if (!response.ok) throw await refusalOf(response);
  return response;
}

const fresh = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const json = async (...given) => (await call(...given)).json();

// A stream. A line on which nothing comes any more is given up, as if it had broken. (What is sent up may
// take as long as it takes: nobody can hear that.)
async function* events(address, method, body, signal) {
  const line = new AbortController();
  let timer = 0;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => line.abort(), SILENT_MS);
  };
  if (method === "GET") heard();
  try {
    yield* eventsOf(await call(address, method, body, AbortSignal.any([line.signal, signal])), heard);
  } catch (error) {
    if (line.signal.aborted && !signal.aborted) throw new Refusal("offline", "");
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

export class ServerStore {
  isKept = true;
  #asked = null;

  constructor(chat) {
    this.chat = chat;
  }

  get id() {
    return this.chat?.id ?? null;
  }

  get #own() {
    return `${ALL}/${this.id}`;
  }

  // Who tries again gets the same one: it may be there although nobody heard of it.
  async create(fields) {
    const wanted = JSON.stringify(fields);
    if (this.#asked?.wanted !== wanted) this.#asked = { wanted, key: fresh() };
    this.chat = await json(ALL, "POST", fields, undefined, this.#asked.key);
    this.#asked = null;
  }

  // Where nothing was said in it: it leaves no trace in the list.
  async takeBack() {
    const address = this.#own;
    this.chat = null;
    await call(address, "DELETE").catch(() => {});
  }

  async page(before = null) {
    const page = await json(before ? `${this.#own}?before=${before}` : this.#own);
    this.chat = page.chat;
    return page;
  }

  async change(fields) {
    this.chat = await json(this.#own, "PATCH", fields);
  }

  async remove() {
    await call(this.#own, "DELETE");
  }

  async *say(body, signal) {
    yield* this.#begin("messages", body, signal);
  }

  async *regenerate(id, model, signal) {
    yield* this.#begin(`messages/${id}/regenerate`, { model }, signal);
  }

  async *goOn(id, signal) {
    yield* this.#begin(`messages/${id}/continue`, {}, signal);
  }

  async *#begin(path, body, signal) {
    for await (const event of events(`${this.#own}/${path}`, "POST", { ...body, stream: true }, signal)) {
      if (event.name === "begin") this.chat = event.data.chat;
      yield event;
    }
  }

  follow(id, after, signal) {
    return events(`${this.#own}/messages/${id}/stream?after=${encodeURIComponent(after)}`, "GET", undefined, signal);
  }

  stop(id) {
    return call(`${this.#own}/messages/${id}/stop`, "POST", {});
  }

  exportAddress(format) {
    return `${this.#own}/export?format=${format}`;
  }
}

export const keepHistory = (history) => json(`${ALL}/preferences`, "PUT", { history });
export const deleteAll = () => json(ALL, "DELETE");
