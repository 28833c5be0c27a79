// Shows one text, whole or as it comes: once per frame, a bounded piece at a time. Blocks of markdown that
// are complete are written once; only the last one is written again. Long code, long blocks and everything
// past 200 KB come as plain pieces, which cost the same however long the whole has become.
import { Cleaner } from "./clean.js";
import { colour } from "./colour.js";
import { deepest } from "./deepest.js";
import { closes, FENCE } from "./fence.js";
import { nextFrame } from "./frames.js";
import { blocks, codeFigure, prepare, render } from "./markdown.js";
import { isReady, whenReady } from "./maths.js";
import { Paragraph } from "./paragraph.js";
import { Pieces } from "./pieces.js";

const PLAIN_FROM = 200 * 1024; // of all of it
const LONG_BLOCK = 3 * 1024; // a last block that is not written again for every frame
const LONGEST_BLOCK = 12 * 1024; // and one that is never written as markdown
const WHOLE_UP_TO = 30 * 1024; // is made aside and put there at once
const [LEAST, MOST] = [512, 4096]; // characters a frame
const [FAST_MS, SLOW_MS] = [1.5, 3];
const SHARE = 6; // of the time goes by before the last block is written again
const [HEAVY_BLOCK, SELDOM_MS] = [1024, 45]; // a last block that is not painted for every frame: a browser does all of it anew
const LOOK_AGAIN_MS = 500;
const BLOCKS_A_CHUNK = 12;

const ready = prepare().then(() => true, () => false);

export class Painter {
  // `after` is called when all of it is there, or there anew, for whoever holds the end in view.
  constructor(place, { after = () => {} } = {}) {
    this.place = place;
    this.after = after;
    this.aFrame = MOST / 2;
    this.begin();
  }

  begin() {
    this.cleaner = new Cleaner();
    this.pending = "";
    this.length = 0; // of what was painted
    this.tail = ""; // what belongs to the last block
    this.last = []; // its nodes
    this.paragraph = null; // where they are one
    this.loose = null; // text behind it that is not written as markdown yet
    this.wroteAt = this.paintedAt = this.looked = this.cost = 0;
    this.env = {};
    this.fence = null;
    this.list = null; // that is being written
    this.pieces = null;
    this.rest = null; // what comes plain to the end
    this.isOver = false;
    this.knewMaths = isReady();
    this.place.classList.remove("plain");
    this.place.replaceChildren();
    this.#newChunk();
    this.source = "";
  }

  // A text that is complete. It is readable at once, and as markdown as soon as that is made.
  whole(text) {
    if (text.length <= WHOLE_UP_TO) {
      this.real = this.place;
      this.real.classList.add("plain");
      this.real.textContent = text;
      this.place = document.createElement("div");
      this.begin();
    }
    this.add(text);
    return this.end();
  }

  add(text) {
    this.source += text;
    this.pending += this.cleaner.push(text);
    this.#soon();
  }

  // No more comes. Resolves once all of it is there.
  end() {
    this.pending += this.cleaner.end();
    this.isOver = true;
    this.#soon();
    return new Promise((resolve) => { this.resolve = resolve; });
  }

  set caret(on) {
    this.mark ??= Object.assign(document.createElement("span"), { className: "caret" });
    this.mark.setAttribute("aria-hidden", "true");
    this.isMarked = on;
    if (!on) this.mark.remove();
    else this.#moveCaret();
  }

  async #soon() {
    if (this.isDue) return;
    this.isDue = true;
    const canMark = await ready;
    nextFrame(() => {
      this.isDue = false;
      this.#paint(canMark);
    });
  }

  #paint(canMark) {
    const began = performance.now();
    if (this.tail.length > HEAVY_BLOCK && !this.isOver && began - this.paintedAt < SELDOM_MS) {
      this.#soon();
      return;
    }
    this.paintedAt = began;
    const text = this.pending.slice(0, this.aFrame);
    this.pending = this.pending.slice(text.length);
    this.length += text.length;
    if (!canMark || this.rest) this.#plain(text);
    else if (this.length > PLAIN_FROM && !this.fence) this.#fromHereOnPlain(text);
    else this.#write(text);
    if (this.isOver && !this.pending) this.#finish(canMark);
    if (this.isMarked) this.#moveCaret();
    this.#pace(performance.now() - began);
    if (this.pending) this.#soon();
  }

  // Less at a time where that took long.
  #pace(ms) {
    if (ms > SLOW_MS) this.aFrame = Math.max(LEAST, this.aFrame >> 1);
    else if (ms < FAST_MS) this.aFrame = Math.min(MOST, this.aFrame << 1);
  }

  #write(text) {
    if (this.fence) {
      this.#code(text);
      return;
    }
    this.tail += text;
    const now = performance.now();
    if (this.tail.length > LONG_BLOCK && this.pieces && now - this.looked < LOOK_AGAIN_MS) {
      this.pieces.add(text);
    } else if (this.last.length && !this.pieces && !this.isOver && now - this.wroteAt < this.cost * SHARE) {
      this.#loosely(text);
    } else {
      this.#blocks(text);
      this.wroteAt = performance.now();
      this.cost = this.wroteAt - now;
    }
  }

  // Behind the last block, until that is written again.
  #loosely(text) {
    if (!this.loose) {
      this.loose = document.createTextNode("");
      deepest(this.last.at(-1), this.mark).append(this.loose);
    }
    this.loose.appendData(text);
  }

  #blocks(text) {
    const found = blocks(this.tail, this.env);
    for (const block of found.slice(0, -1)) this.#settle(block);
    const end = found.at(-1);
    if (!end) return;
    if (end.items && !this.pieces) {
      this.#list(end);
      return;
    }
    this.tail = this.tail.slice(end.from);
    if (found.length > 1) {
      text = this.tail;
      this.pieces = null;
    }
    const opened = end.fence && FENCE.exec(this.tail);
    if (opened && !closes(this.tail, opened)) {
      this.#openFence(opened);
    } else if (!this.pieces && this.tail.length <= LONGEST_BLOCK && this.#grows(end)) {
      this.last = [this.paragraph.node];
    } else if (this.tail.length > LONG_BLOCK) {
      this.looked = performance.now();
      this.#long(text);
    } else {
      const { level } = this.env; // of headings; this one is written again
      this.#drop();
      this.last = this.#append(render(end.tokens, this.env), false);
      this.env.level = level;
    }
  }

  #settle(block) {
    if (this.paragraph && this.#grows(block)) {
      [this.paragraph, this.last] = [null, []];
      return;
    }
    this.#drop();
    if (this.list && block.items) for (const item of block.items) this.#item(item, true);
    else this.#append(render(block.tokens, this.env), true);
    this.list = null;
  }

  // A paragraph is added to. Whether it is one.
  #grows(block) {
    const paragraph = this.paragraph ?? new Paragraph();
    if (!paragraph.write(block.tokens, this.env)) return false;
    if (this.paragraph) this.#tighten();
    else {
      this.#drop();
      this.list = null;
      this.#put(paragraph.node);
      this.paragraph = paragraph;
    }
    return true;
  }

  // A list grows item by item; only the last is written again. (What makes it loose may come too late.)
  #list(block) {
    const end = block.items.at(-1);
    this.#drop();
    if (!this.list) {
      this.list = render([block.tokens[0], block.tokens.at(-1)], this.env).firstElementChild;
      this.#put(this.list);
    }
    for (const item of block.items.slice(0, -1)) this.#item(item, true);
    this.last = [this.#item(end, false)];
    this.tail = this.tail.slice(end.from);
  }

  #item(item, isFinal) {
    const made = render(item.tokens, this.env).querySelector("li");
    this.list.append(made);
    if (isFinal) for (const figure of made.querySelectorAll(".codeblock")) colour(figure);
    return made;
  }

  #drop() {
    for (const node of this.last) node.remove();
    this.last = [];
    this.paragraph = null;
    this.#tighten();
  }

  #tighten() {
    this.loose = this.loose?.remove() ?? null;
  }

  // Blocks stand in chunks, so that a browser need not look at those that are out of sight.
  #newChunk() {
    this.chunk?.classList.add("done");
    this.chunk = document.createElement("div");
    this.chunk.className = "chunk";
    this.place.append(this.chunk);
  }

  #put(node) {
    if (this.chunk.childElementCount >= BLOCKS_A_CHUNK && !this.last.length) this.#newChunk();
    this.chunk.append(node);
  }

  #append(fragment, isFinal) {
    const nodes = [...fragment.childNodes];
    const figures = isFinal ? fragment.querySelectorAll(".codeblock") : [];
    this.#put(fragment);
    for (const figure of figures) colour(figure);
    return nodes;
  }

  // A last block that has become long is shown as it came, until it is complete.
  #long(text) {
    if (this.tail.length > LONGEST_BLOCK) {
      if (!this.pieces) this.#startPieces(this.tail);
      else this.pieces.add(text);
      this.last = [];
      this.tail = "";
      this.pieces = null;
    } else if (this.pieces) {
      this.pieces.add(text);
    } else {
      this.#startPieces(this.tail);
    }
  }

  #startPieces(text) {
    this.#drop();
    const div = document.createElement("div");
    div.className = "plain";
    this.#put(div);
    this.last = [div];
    this.pieces = new Pieces(div);
    this.pieces.add(text);
  }

  #openFence(opened) {
    this.#drop();
    this.list = null;
    const figure = codeFigure(opened[2].slice(0, 40));
    this.#put(figure);
    const [char] = opened[1];
    this.fence = {
      figure,
      pieces: new Pieces(figure.querySelector("code")),
      line: "", // that may become the end
      isMidLine: false,
      end: new RegExp(`(?:^|\\n)( {0,3}${char}{${opened[1].length},}[ \\t]*)(?:\\n|$)`),
      mayEnd: new RegExp(`^ {0,3}${char}*[ \\t]*$`),
    };
    const rest = this.tail.slice(opened[0].length);
    this.tail = "";
    this.pieces = null;
    this.#code(rest);
  }

  // Into an open code block, line by line: its end may be in each.
  #code(text) {
    const { fence } = this;
    let all = fence.line + text;
    fence.line = "";
    if (fence.isMidLine) {
      const line = all.indexOf("\n") + 1;
      fence.pieces.add(line ? all.slice(0, line) : all);
      if (!line) return;
      fence.isMidLine = false;
      all = all.slice(line);
    }
    const end = fence.end.exec(all);
    if (end && end[0].endsWith("\n") && end[1]) {
      const from = end.index + end[0].indexOf(end[1]);
      fence.pieces.add(all.slice(0, from));
      this.#closeFence();
      const rest = all.slice(end.index + end[0].length);
      if (rest) this.#write(rest);
      return;
    }
    const cut = all.lastIndexOf("\n") + 1;
    if (fence.mayEnd.test(all.slice(cut))) {
      fence.pieces.add(all.slice(0, cut));
      fence.line = all.slice(cut);
    } else {
      fence.pieces.add(all);
      fence.isMidLine = true;
    }
  }

  #closeFence() {
    const { figure } = this.fence;
    this.fence = null;
    this.last = [];
    colour(figure);
  }

  // Between two blocks, so that nothing is torn; in the middle where there is no between.
  #fromHereOnPlain(text) {
    const cut = text.indexOf("\n\n") + 2;
    if (cut > 1 || this.length < PLAIN_FROM + LONGEST_BLOCK) this.#write(cut > 1 ? text.slice(0, cut) : text);
    if (cut > 1) this.#plain(text.slice(cut));
    else if (this.length >= PLAIN_FROM + LONGEST_BLOCK) this.#plain(text);
  }

  #plain(text) {
    if (!this.rest) {
      const div = document.createElement("div");
      div.className = "plain";
      this.place.append(div);
      this.rest = new Pieces(div);
    }
    this.rest.add(text);
  }

  #finish(canMark) {
    this.isOver = false;
    if (this.fence) {
      const { fence } = this;
      if (!fence.end.test(fence.line)) fence.pieces.add(fence.line);
      this.#closeFence();
    } else if (canMark && this.tail && !this.rest) {
      for (const block of blocks(this.tail, this.env)) this.#settle(block);
    }
    if (this.real) {
      this.real.classList.remove("plain");
      this.real.replaceChildren(...this.place.childNodes);
      [this.place, this.real] = [this.real, null];
    }
    for (const figure of this.place.querySelectorAll(".codeblock:not([data-coloured])")) colour(figure);
    this.after();
    this.resolve?.();
    if (this.place.querySelector("code.math")) whenReady(() => this.repaint(), this.knewMaths);
  }

  // All of it anew, as after KaTeX came.
  repaint() {
    if (this.source.length > WHOLE_UP_TO || this.pending || this.isMarked) return;
    const { source, place } = this;
    const made = new Painter(document.createElement("div"));
    made.add(source);
    made.end().then(() => {
      if (this.source !== source) return;
      place.replaceChildren(...made.place.childNodes);
      this.after();
    });
  }

  #moveCaret() {
    const place = deepest(this.chunk.lastElementChild ?? this.chunk, this.mark);
    if (place !== this.mark.parentNode || this.mark.nextSibling) place.append(this.mark);
  }
}
