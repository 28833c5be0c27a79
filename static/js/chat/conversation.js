// One conversation on the page: says things, follows answers, stops them, shows other branches. What it
// needs of the page comes by `page` (main.js): `busy`, `said`, `unsaid`, `begun`, `ended`, `refused`, `waits`, ….
import { Refusal } from "./refusal.js";
import { counted, fill, words } from "./words.js";

const PAUSES_MS = [500, 1000, 2000, 4000, 8000];
const FOOTER_MS = 250;
const LOST = new Set(["offline", "unavailable"]); // who knows whether the server heard of it
const AGAIN = new Set([408, 429]);
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
    this.run = null; // {control, made, after, body, tokens, firstAt, toldAt}
    this.isUnsure = false; // whether what was sent last did arrive
  }

  get isBusy() {
    return this.run !== null;
  }

  // --- what begins an answer ---------------------------------------------------------------------

  // `first`: the fields of a conversation that does not exist yet.
  say(body, first) {
    return this.#begin((signal) => this.store.say(body, signal), { first, body });
  }

  regenerate(id, model) {
    return this.#begin((signal) => this.store.regenerate(id, model, signal));
  }

  goOn(id) {
    return this.#begin((signal) => this.store.goOn(id, signal));
  }

  async #begin(start, { first = null, body = null } = {}) {
    if (this.run) return;
    const control = new AbortController();
    const run = { control, made: null, after: "", body };
    this.run = run;
    this.page.busy(true);
    const isNew = !this.store.id;
    let found = null;
    try {
      if (isNew) await this.store.create(first);
      if (this.isUnsure) found = await this.#arrived();
      if (this.isUnsure) throw new Refusal("offline", "");
      if (!found) await this.#patiently(start, control.signal);
    } catch (error) {
      run.error = error;
      if (!run.made && !this.isUnsure && mayHaveArrived(error)) found = await this.#arrived();
      if (!found) await this.#refused(error, isNew && !run.made && !this.isUnsure);
    } finally {
      this.run = null;
      this.page.busy(false);
    }
    if (found) await this.#pickUpWhatArrived(found, run);
    else this.pickUp();
  }

  async #refused(error, isToTakeBack) {
    if (isToTakeBack && this.store.id) await this.store.takeBack();
    if (error.name === "AbortError") this.page.waits(null);
    else this.page.refused(asRefusal(error));
  }

  // Whether a request whose answer was lost, or was not waited for, did arrive: then what the server shows
  // has an end that is not shown here. Asked again before the next one, where nobody can say.
  async #arrived() {
    if (!this.store.isKept || !this.store.id) return null;
    const page = await this.store.page().catch(() => null);
    this.isUnsure = page === null;
    const last = page?.messages.at(-1);
    return last && last.correlationId !== this.thread.find(last.id)?.message.correlationId ? page : null;
  }

  async #pickUpWhatArrived(page, { body, isStopped, error }) {
    const question = page.messages.at(-2);
    const isOurs = body && question?.content === body.content && !this.thread.find(question.id);
    this.page.waits(null);
    this.#shows(page);
    if (isOurs) this.page.said();
    else if (body && error) this.page.refused(asRefusal(error));
    this.page.changed();
    if (this.run) this.run.body = isOurs ? body : null;
    if (isStopped) await this.stop();
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
      this.page.refused(asRefusal(refusal));
    } finally {
      this.run = null;
      this.page.busy(false);
    }
    this.pickUp();
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
        if (!this.run.made) throw refusal;
        if (refusal.status === 404) {
          await this.#isAway();
          return;
        }
        if (refusal.status >= 400 && refusal.status < 500 && !AGAIN.has(refusal.status)) {
          this.thread.leave(this.run.made);
          throw refusal;
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
      await this.#isAway();
      return true;
    } else if (name === "end") {
      await this.thread.finish(run.made, data);
      this.page.ended(run.made.message);
      return true;
    }
    return false;
  }

  // The answer is not there any more: all of it was deleted, or what was said was refused after all.
  async #isAway() {
    const { body } = this.run;
    try {
      this.#shows(await this.store.page());
      if (body) this.page.unsaid();
    } catch (refusal) {
      if (refusal.status !== 404) throw refusal;
      this.page.gone();
    }
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
    if (question && !continued) this.page.said();
    this.page.begun(chat, answer);
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
    this.#shows(await this.store.page());
  }

  #shows(page) {
    this.thread.show(page.messages, page.before);
    this.before = page.before;
    this.page.shown(page.chat);
    this.pickUp();
  }

  // What other tabs did to it, unless `isBusy()` says that something goes on here that must not be disturbed.
  async lookAgain(isBusy) {
    if (!this.store.isKept || !this.store.id || isBusy()) return;
    let page;
    try {
      page = await this.store.page();
    } catch (refusal) {
      if (refusal.status === 404) this.page.gone();
      return;
    }
    if (isBusy()) return;
    const [now, before] = [page.messages.at(-1), this.thread.last];
    if (now?.id === before?.id && now?.correlationId === before?.correlationId && now?.status === before?.status) this.page.shown(page.chat);
    else this.#shows(page);
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
      const { before } = this;
      const page = await this.store.page(before);
      if (this.before !== before) return; // another branch is shown meanwhile
      this.before = page.before;
      this.thread.above(page.messages, page.before);
    } finally {
      this.isPaging = false;
    }
  }
}

const mayHaveArrived = ({ name, reason }) => name === "AbortError" || LOST.has(reason);

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
