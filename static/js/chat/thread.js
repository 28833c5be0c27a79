// The messages that are shown, as articles: made, painted, added above and below, taken away.
import { broken, answering, ended } from "./footers.js";
import { clean, Cleaner } from "./clean.js";
import { Painter } from "./painter.js";
import { Pieces } from "./pieces.js";
import { fill, number, part, words } from "./words.js";

const LONG_FROM = 60;
const PIECES_FROM = 4096; // characters, from which on a message comes in parts

export class Thread {
  constructor(place, end, brokenWords) {
    this.place = place;
    this.end = end;
    this.brokenWords = brokenWords;
    this.shown = []; // {message, node, painter, reasoning}
  }

  get last() {
    return this.shown.at(-1)?.message ?? null;
  }

  find(id) {
    return this.shown.find((each) => each.message.id === id);
  }

  // All of it anew. `before` is the id to page upwards with.
  show(messages, before) {
    this.place.replaceChildren();
    this.shown = [];
    if (!messages.length) this.place.append(part("empty"));
    this.#older(before);
    for (const message of messages) this.add(message);
    this.end.go();
  }

  add(message) {
    this.place.querySelector("#chat-empty")?.remove();
    this.#unbroken();
    const made = this.#make(message);
    this.shown.push(made);
    this.place.append(made.node);
    this.#paint(made);
    this.#breaks();
    this.end.watch(made.node);
    this.end.keep();
    this.place.classList.toggle("long", this.shown.length > LONG_FROM);
    return made;
  }

  // A page from above; what the reader looks at stays where it is.
  above(messages, before) {
    const first = this.shown[0]?.node;
    const top = first?.getBoundingClientRect().top ?? 0;
    this.place.style.overflowAnchor = "none";
    this.place.querySelector("#older")?.remove();
    const made = messages.map((message) => this.#make(message));
    this.shown.unshift(...made);
    this.place.prepend(...made.map((each) => each.node));
    this.#older(before);
    for (const each of made) this.#paint(each);
    if (first) this.place.scrollTop += first.getBoundingClientRect().top - top;
    requestAnimationFrame(() => { this.place.style.overflowAnchor = ""; });
    this.place.classList.toggle("long", this.shown.length > LONG_FROM);
  }

  // Everything below a message goes; null: everything.
  trim(id) {
    const at = id === null ? -1 : this.shown.findIndex((each) => each.message.id === id);
    for (const each of this.shown.splice(at + 1)) each.node.remove();
    this.#unbroken();
  }

  #older(before) {
    if (before) this.place.prepend(part("older"));
  }

  #make(message) {
    const isUser = message.role === "user";
    const node = part(isUser ? "user" : "answer");
    node.dataset.id = message.id;
    node.setAttribute("aria-label", isUser ? words("you") : message.model || words("theModel"));
    if (!isUser) node.querySelector("header bdi").textContent = message.model;
    this.#versions(node, message);
    return { message, node, painter: null, reasoning: null };
  }

  #versions(node, { id, siblings }) {
    const place = node.querySelector(".versions");
    place.hidden = !siblings || siblings.length < 2;
    if (place.hidden) return;
    const at = siblings.indexOf(id);
    place.replaceChildren(...document.getElementById("part-versions").content.cloneNode(true).childNodes);
    place.querySelector("span").textContent = fill("version", { n: number(at + 1), all: number(siblings.length) });
    place.querySelector('[data-do="older-version"]').disabled = at === 0;
    place.querySelector('[data-do="newer-version"]').disabled = at === siblings.length - 1;
  }

  #paint(made) {
    const { message, node } = made;
    if (message.role === "user") {
      said(node.querySelector(".md"), clean(message.content));
      files(node.querySelector(".files"), message.files ?? []);
      return;
    }
    const hooks = { after: () => this.end.keep() };
    made.painter = new Painter(node.querySelector(":scope > .md"), hooks);
    if (message.reasoning) this.think(made, message.reasoning);
    if (message.status === "streaming") {
      if (message.content) made.painter.add(message.content);
      this.working(made, {});
    } else {
      made.painter.whole(message.content);
      this.#ended(made);
    }
  }

  // --- an answer under way ---------------------------------------------------------------------

  think(made, text) {
    const details = made.node.querySelector(".reasoning");
    details.hidden = false;
    made.reasoning ??= { cleaner: new Cleaner(), pieces: new Pieces(details.querySelector(".md")) };
    made.reasoning.pieces.add(made.reasoning.cleaner.push(text));
  }

  working(made, progress) {
    made.node.setAttribute("aria-busy", "true");
    made.node.querySelector(".acts").hidden = true;
    made.painter.caret = true;
    answering(made.node.querySelector("footer"), progress);
  }

  reset(made) {
    made.painter.begin();
    made.reasoning = null;
    made.node.querySelector(".reasoning .md").textContent = "";
  }

  // What became of it: `end` is the message without its text.
  async finish(made, end) {
    Object.assign(made.message, end, { hasContent: made.painter.source !== "" });
    made.node.querySelector("header bdi").textContent = made.message.model;
    made.node.setAttribute("aria-label", made.message.model || words("theModel"));
    await made.painter.end();
    this.#ended(made);
    this.#breaks();
    this.end.keep();
  }

  // It goes on elsewhere, and is not followed here any more.
  leave(made) {
    made.message.status = "";
    this.#ended(made);
  }

  #ended(made) {
    made.painter.caret = false;
    made.node.removeAttribute("aria-busy");
    made.node.querySelector(".acts").hidden = false;
    ended(made.node.querySelector("footer"), made.message);
  }

  // The last answer, where it broke off, says why and how to go on.
  #breaks() {
    this.#unbroken();
    const { last } = this;
    if (last?.status !== "cut" && last?.status !== "failed") return;
    this.place.append(broken(last, this.brokenWords));
  }

  #unbroken() {
    for (const note of this.place.querySelectorAll(".broken")) note.remove();
  }

  source(id) {
    const made = this.find(id);
    return made.painter ? made.painter.source : made.message.content;
  }

  loading() {
    this.place.replaceChildren(part("skeleton"));
    this.shown = [];
  }
}

function said(place, text) {
  if (text.length < PIECES_FROM) place.textContent = text;
  else new Pieces(place).add(text);
}

export function files(place, list) {
  place.hidden = list.length === 0;
  place.setAttribute("aria-label", words("filesOf"));
  place.replaceChildren(...list.map((file) => {
    const chip = part("file");
    chip.querySelector("button").remove();
    chip.querySelector(".cut").append(named(file));
    return chip;
  }));
}

function named({ name, url, kind }) {
  const text = document.createElement("bdi");
  text.textContent = clean(name);
  if (!url) return text;
  if (kind === "image") {
    const image = document.createElement("img");
    image.src = url;
    image.alt = clean(name);
    image.loading = "lazy";
    return image;
  }
  const link = document.createElement("a");
  link.href = url;
  link.target = "_blank";
  link.rel = "noopener";
  link.append(text);
  return link;
}
