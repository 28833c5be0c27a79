// One conversation on the page: says things, follows answers, stops them, shows other branches. What it
// needs of the page comes by `page` (main.js): `busy`, `said`, `refused`, `titled`, `announce`, `changed`.
import { Refusal } from "./refusal.js";
import { counted, fill, words } from "./words.js";

const PAUSES_MS = [500, 1000, 2000, 4000, 8000];
const FOOTER_MS = 250;
const wait = (ms, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, ms);
  signal?.addEventListener("abort", () => {
    clearTimeout(timer);
    reject(new DOMException("", "AbortError"));
  });
});

export class Conversation {
  constructor(store, thread, page) {
    this.store = store;
    this.thread = thread;
    this.page = page;
    this.run = null; // {control, made, after, tokens, firstAt, toldAt}
  }

  get isBusy() {
    return this.run !== null;
  }

  // --- what begins an answer ---------------------------------------------------------------------

  // `first`: the fields of a conversation that does not exist yet.
  say(body, first) {
    return this.#begin((signal) => this.store.say(body, signal), { first, parent: body.parent });
  }

  regenerate(id, model) {
    return this.#begin((signal) => this.store.regenerate(id, model, signal), {});
  }

  goOn(id) {
    return this.#begin((signal) => this.store.goOn(id, signal), {});
  }

  async #begin(start, { first = null }) {
    if (this.run) return false;
    const control = new AbortController();
    this.run = { control, made: null, after: "" };
    this.page.busy(true);
    const isNew = !this.store.id;
    try {
      if (isNew) await this.store.create(first);
      await this.#patiently(start, control.signal);
      return true;
    } catch (refusal) {
      const wasBegun = this.run.made !== null;
      if (isNew && !wasBegun && this.store.id) await this.store.takeBack();
      if (refusal.name === "AbortError") await this.#aborted(isNew);
      else this.page.refused(asRefusal(refusal));
      return wasBegun;
    } finally {
      this.run = null;
      this.page.busy(false);
    }
  }

  // A model that loads is asked again when it says so; the person may stop that.
  async #patiently(start, signal) {
    for (;;) {
      try {
        await this.#follow(start(signal), signal);
        return;
      } catch (refusal) {
        if (refusal.reason !== "model_loading" || this.run.made || !refusal.retryAfter) throw refusal;
        this.page.waits(refusal);
        await wait(refusal.retryAfter * 1000, signal);
      }
    }
  }

  async #aborted(isNew) {
    this.page.waits(null);
    if (!isNew && this.store.isKept) await this.reload().catch(() => {});
  }

  // --- an answer under way -------------------------------------------------------------------------

  // Shown already as far as it had come, and written elsewhere.
  async resume(made) {
    if (this.run) return;
    const control = new AbortController();
    const { id, after = "" } = made.message;
    this.run = { control, made, after };
    this.page.busy(true);
    if (!after) this.thread.reset(made);
    try {
      await this.#follow(this.store.follow(id, after, control.signal), control.signal);
    } catch (refusal) {
      if (refusal.name !== "AbortError") this.page.refused(asRefusal(refusal));
    } finally {
      this.run = null;
      this.page.busy(false);
    }
  }

  // Until its end, by however many connections that takes.
  async #follow(events, signal) {
    let failures = 0;
    for (;;) {
      try {
        for await (const event of events) {
          failures = 0;
          if (await this.#take(event)) return;
        }
      } catch (refusal) {
        if (refusal.name === "AbortError" || !this.run.made) throw refusal;
        if (refusal.status === 404) {
          this.page.gone();
          return;
        }
      }
      if (!this.run.made) throw new Refusal("offline", "");
      this.#progress({ isAway: true });
      await wait(PAUSES_MS[Math.min(failures, PAUSES_MS.length - 1)], signal);
      failures += 1;
      events = this.store.follow(this.run.made.message.id, this.run.after, signal);
    }
  }

  // Resolves to whether that was the last one.
  async #take({ name, data, id }) {
    const { run } = this;
    if (id) run.after = id;
    if (name === "begin") this.#begun(data);
    else if (name === "delta") this.#delta(data);
    else if (name === "reset") this.thread.reset(run.made);
    else if (name === "gone") {
      this.page.gone();
      return true;
    } else if (name === "end") {
      await this.thread.finish(run.made, data);
      this.page.ended(run.made.message);
      return true;
    }
    return false;
  }

  #begun({ chat, question, answer }) {
    this.page.waits(null);
    answer.model ||= this.page.model(); // the server knows it at the end
    const continued = this.thread.find(answer.id);
    if (continued) this.#continued(continued, answer);
    else {
      this.thread.trim(question ? question.parent : answer.parent);
      if (question) this.thread.add(question);
      this.run.made = this.thread.add(answer);
    }
    this.thread.end.go();
    this.page.begun(chat, answer, Boolean(question) && !continued);
  }

  #continued(made, answer) {
    this.thread.trim(answer.id);
    Object.assign(made.message, answer);
    this.thread.reset(made);
    made.painter.add(answer.content);
    if (answer.reasoning) this.thread.think(made, answer.reasoning);
    this.run.made = made;
    this.thread.working(made, {});
  }

  #delta({ content, reasoning, tokens }) {
    const { run } = this;
    run.firstAt ??= performance.now();
    run.firstTokens ??= tokens ?? 0;
    run.tokens = tokens;
    if (content) run.made.painter.add(content);
    if (reasoning) this.thread.think(run.made, reasoning);
    const now = performance.now();
    if (now - (run.toldAt ?? 0) < FOOTER_MS) return;
    run.toldAt = now;
    const seconds = (now - run.firstAt) / 1000;
    const perSecond = seconds > 0.5 && tokens ? (tokens - run.firstTokens) / seconds : 0;
    this.#progress({ tokens, perSecond });
  }

  #progress(progress) {
    if (this.run?.made) this.thread.working(this.run.made, progress);
  }

  async stop() {
    const { run } = this;
    if (!run || run.isStopped) return;
    run.isStopped = true;
    if (!run.made) {
      run.control.abort();
      return;
    }
    try {
      await this.store.stop(run.made.message.id);
    } catch (refusal) {
      run.isStopped = false;
      if (refusal.status !== 409) this.page.refused(asRefusal(refusal)); // 409: it has ended
    }
  }

  // --- branches --------------------------------------------------------------------------------------

  async show(fields) {
    if (this.run) return;
    await this.store.change(fields);
    await this.reload();
    this.page.changed();
  }

  async reload() {
    const page = await this.store.page();
    this.thread.show(page.messages, page.before);
    this.before = page.before;
    this.page.shown(page.chat);
    this.pickUp();
  }

  // An answer at the end that is being written is followed.
  pickUp() {
    const last = this.thread.shown.at(-1);
    if (last?.message.status === "streaming") this.resume(last);
  }

  async older() {
    if (!this.before || this.isPaging) return;
    this.isPaging = true;
    try {
      const page = await this.store.page(this.before);
      this.before = page.before;
      this.thread.above(page.messages, page.before);
    } finally {
      this.isPaging = false;
    }
  }
}

function asRefusal(error) {
  if (error instanceof Refusal) return error;
  console.error(error);
  return new Refusal("unavailable", "");
}

export function finishedWords({ completionTokens: n }, source) {
  if (n != null) return counted("finished", n);
  return counted("finishedWords", source.split(/\s+/).filter(Boolean).length);
}

export const answeringWords = (model) => fill("isAnswering", { model: model || words("theModel") });
