// A conversation that nobody keeps: history is off, or there is no account. The same as server-store.js to
// its caller, with the tree in memory and the answers from `POST /v1/chat/completions`.
import { ask } from "../requests.js";
import { refusalOf, Refusal } from "./refusal.js";
import { eventsOf } from "./sse.js";

const ANSWERS = "/v1/chat/completions";
const TITLE_CHARS = 60;
const FIELDS = { temperature: "temperature", topP: "top_p", maxTokens: "max_tokens", seed: "seed" };
const fresh = () => crypto.randomUUID?.() ?? `m${Math.random().toString(16).slice(2)}`;

export class MemoryStore {
  isKept = false;

  constructor() {
    this.chat = null;
    this.all = new Map();
    this.running = new Map();
  }

  get id() {
    return this.chat?.id ?? null;
  }

  async create(fields) {
    this.chat = { id: fresh(), title: "", system: "", leaf: null, ...fields };
  }

  async takeBack() {
    if (this.all.size === 0) this.chat = null;
  }

  async page() {
    return { chat: this.chat, messages: this.#branch(this.chat?.leaf), before: null };
  }

  async change({ leaf, show, ...fields }) {
    Object.assign(this.chat, fields);
    if (leaf) this.chat.leaf = leaf;
    if (show) this.chat.leaf = this.#newestEnd(show);
  }

  async remove() {
    for (const control of this.running.values()) control.abort();
    this.all.clear();
    this.chat = null;
  }

  async *say({ content, files = [], parent, model }, signal) {
    const above = parent === undefined ? this.chat.leaf : parent;
    const shown = files.map((file, number) => ({ number, kind: file.data ? "image" : "text", name: file.name, size: file.size, url: file.url ?? "", given: file }));
    const question = { id: fresh(), parent: above, role: "user", content, files: shown };
    yield* this.#answer(question, model, signal, question);
  }

  async *regenerate(id, model, signal) {
    const found = this.all.get(id);
    const question = found.role === "user" ? found : this.all.get(found.parent);
    yield* this.#answer(question, model, signal, null);
  }

  async *goOn(id, signal) {
    const answer = this.all.get(id);
    yield* this.#stream(answer, this.#body(answer, answer.model, true), null, signal);
  }

  async *follow() {
    throw new Refusal("offline", "");
  }

  stop(id) {
    const control = this.running.get(id);
    if (control) control.stopped = true;
    control?.abort();
  }

  exportFile(format) {
    const messages = this.#branch(this.chat.leaf);
    if (format === "json") return JSON.stringify({ chat: this.chat, messages }, null, 2);
    const who = (each) => (each.role === "user" ? "You" : each.model);
    return [`# ${this.chat.title}`, ...messages.map((each) => `## ${who(each)}\n\n${each.content}`)].join("\n\n");
  }

  async *#answer(question, model, signal, added) {
    const answer = { id: fresh(), parent: question.id, role: "assistant", content: "", reasoning: "", model: model ?? this.chat.model, status: "streaming", reason: "", error: "", finishReason: "" };
    if (added) this.all.set(question.id, question);
    this.all.set(answer.id, answer);
    try {
      yield* this.#stream(answer, this.#body(question, answer.model, false), added, signal);
    } catch (error) {
      this.all.delete(answer.id);
      if (added) this.all.delete(question.id);
      throw error;
    }
  }

  async *#stream(answer, body, added, signal) {
    const control = new AbortController();
    signal?.addEventListener("abort", () => control.abort());
    const began = performance.now();
    const before = { tokens: answer.completionTokens ?? 0, ms: answer.durationMs ?? 0 };
    const response = await this.#ask(body, control.signal);
    this.running.set(answer.id, control);
    this.chat.leaf = answer.id;
    this.chat.title ||= (added?.content ?? "").replace(/\s+/g, " ").slice(0, TITLE_CHARS);
    Object.assign(answer, { status: "streaming", reason: "", finishReason: "" });
    yield { name: "begin", data: { chat: this.chat, question: added && this.#shown(added), answer: this.#shown(answer) } };
    try {
      for await (const { data } of eventsOf(response)) {
        if (!data) continue;
        yield* this.#take(answer, data, before, began);
      }
      answer.status = answer.finishReason ? "done" : "cut";
    } catch {
      answer.status = control.stopped ? "stopped" : "cut";
    }
    this.running.delete(answer.id);
    answer.durationMs = before.ms + performance.now() - began;
    const { content, reasoning, ...end } = answer;
    yield { name: "end", data: { ...end, tokensPerSecond: speedOf(answer) } };
  }

  async #ask(body, signal) {
    const options = { method: "POST", signal, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
    let response;
    try {
      response = await ask(ANSWERS, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refusal("offline", "");
    }
    if (!response.ok) throw await refusalOf(response);
    return response;
  }

  *#take(answer, data, before, began) {
    if (data.error) {
      answer.reason = data.error.reason ?? "";
      return;
    }
    const [choice] = data.choices ?? [];
    const content = choice?.delta?.content ?? "";
    const reasoning = choice?.delta?.reasoning ?? choice?.delta?.reasoning_content ?? "";
    if (content || reasoning) answer.firstTokenMs ??= performance.now() - began;
    if (data.usage) {
      answer.promptTokens = data.usage.prompt_tokens;
      answer.completionTokens = before.tokens + data.usage.completion_tokens;
    }
    if (choice?.finish_reason) answer.finishReason = choice.finish_reason;
    answer.content += content;
    answer.reasoning += reasoning;
    if (content || reasoning) yield { name: "delta", id: "", data: { content, reasoning, tokens: answer.completionTokens ?? null } };
  }

  #body(last, model, continues) {
    const messages = this.#branch(last.id).map(toSend);
    if (this.chat.system) messages.unshift({ role: "system", content: this.chat.system });
    const body = { model, messages, stream: true, stream_options: { include_usage: true, continuous_usage_stats: true } };
    for (const [name, field] of Object.entries(FIELDS)) {
      if (this.chat[name] != null) body[field] = this.chat[name];
    }
    return continues ? { ...body, continue_final_message: true, add_generation_prompt: false } : body;
  }

  #branch(id) {
    const found = [];
    for (let each = this.all.get(id); each; each = this.all.get(each.parent)) found.push(this.#shown(each));
    return found.reverse();
  }

  #shown(message) {
    const siblings = [...this.all.values()].filter((each) => each.parent === message.parent).map((each) => each.id);
    const speed = message.role === "assistant" ? { tokensPerSecond: speedOf(message) } : {};
    return { ...message, ...speed, siblings };
  }

  #newestEnd(id) {
    for (;;) {
      const below = [...this.all.values()].filter((each) => each.parent === id).at(-1);
      if (!below) return id;
      id = below.id;
    }
  }
}

function speedOf({ completionTokens, durationMs, firstTokenMs }) {
  const ms = durationMs - firstTokenMs;
  return completionTokens > 1 && ms > 0 ? (completionTokens - 1) / (ms / 1000) : null;
}

function toSend({ role, content, files = [] }) {
  const texts = files.filter((file) => file.kind === "text").map((file) => `${file.name}:\n\`\`\`\n${file.given.text}\n\`\`\``);
  const text = [...texts, content].filter(Boolean).join("\n\n");
  const images = files.filter((file) => file.kind === "image");
  if (!images.length) return { role, content: text };
  const parts = images.map((file) => ({ type: "image_url", image_url: { url: `data:${file.given.type};base64,${file.given.data}` } }));
  return { role, content: text ? [{ type: "text", text }, ...parts] : parts };
}
