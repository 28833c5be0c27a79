// A conversation that the server keeps (docs/chat.md). Everything raises a `Refusal` where it was refused.
import { ask } from "../requests.js";
import { refusalOf, Refusal } from "./refusal.js";
import { eventsOf } from "./sse.js";

const ALL = "/api/chats";

async function call(address, method = "GET", body = undefined, signal = undefined) {
  const options = { method, signal };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers = { "Content-Type": "application/json" };
  }
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

const json = async (...given) => (await call(...given)).json();

export class ServerStore {
  isKept = true;

  constructor(chat) {
    this.chat = chat;
  }

  get id() {
    return this.chat?.id ?? null;
  }

  get #own() {
    return `${ALL}/${this.id}`;
  }

  async create(fields) {
    this.chat = await json(ALL, "POST", fields);
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
    const response = await call(`${this.#own}/${path}`, "POST", { ...body, stream: true }, signal);
    for await (const event of eventsOf(response)) {
      if (event.name === "begin") this.chat = event.data.chat;
      yield event;
    }
  }

  async *follow(id, after, signal) {
    const address = `${this.#own}/messages/${id}/stream?after=${encodeURIComponent(after)}`;
    yield* eventsOf(await call(address, "GET", undefined, signal));
  }

  message(id) {
    return json(`${this.#own}/messages/${id}`);
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
