// Shows one text, whole or as it comes: once per frame, a bounded piece at a time. Blocks of markdown that
// are complete are written once; only the last one is written again. Long code, long blocks and everything
// past 200 KB come as plain pieces, which cost the same however long the whole has become.
import { Cleaner } from "./clean.js";
import { colour } from "./colour.js";
import { blocks, codeFigure, prepare, render } from "./markdown.js";
import { whenReady } from "./maths.js";

const PLAIN_FROM = 200 * 1024; // of all of it
const LONG_BLOCK = 3 * 1024; // a last block that is not written again for every frame
const LONGEST_BLOCK = 12 * 1024; // and one that is never written as markdown
const A_FRAME = 6 * 1024;
const A_PIECE = 3 * 1024;
const LOOK_AGAIN_MS = 500;
const FENCE = /^ {0,3}(`{3,}(?!.*`)|~{3,})[ \t]*([^\s`]*)[^\n]*\n/;

const ready = prepare().then(() => true, () => false);

export class Painter {
  // `moved` is called before and after each painting, for whoever holds the end in view.
  constructor(place, { before = () => {}, after = () => {} } = {}) {
    this.place = place;
    this.before = before;
    this.after = after;
    this.begin();
  }

  begin() {
    this.cleaner = new Cleaner();
    this.pending = "";
    this.length = 0; // of what was painted
    this.tail = ""; // what belongs to the last block
    this.last = []; // its nodes
    this.env = {};
    this.fence = null;
    this.pieces = null;
    this.rest = null; // what comes plain to the end
    this.looked = 0;
    this.isOver = false;
    this.place.classList.remove("plain");
    this.place.replaceChildren();
    this.source = "";
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
    const run = () => {
      this.isDue = false;
      this.#paint(canMark);
    };
    if (document.hidden) setTimeout(run, 200);
    else requestAnimationFrame(run);
  }

  #paint(canMark) {
    this.before();
    const text = this.pending.slice(0, A_FRAME);
    this.pending = this.pending.slice(text.length);
    this.length += text.length;
    if (!canMark || (this.length > PLAIN_FROM && !this.fence)) this.#plain(text);
    else this.#write(text);
    if (this.isOver && !this.pending) this.#finish(canMark);
    if (this.isMarked) this.#moveCaret();
    this.after();
    if (this.pending) this.#soon();
  }

  #write(text) {
    if (this.fence) {
      this.#code(text);
      return;
    }
    this.tail += text;
    if (this.tail.length > LONG_BLOCK && this.pieces && performance.now() - this.looked < LOOK_AGAIN_MS) {
      this.pieces.add(text);
      return;
    }
    this.#blocks(text);
  }

  #blocks(text) {
    const found = blocks(this.tail, this.env);
    for (const block of found.slice(0, -1)) this.#settle(block);
    const end = found.at(-1);
    if (!end) return;
    this.tail = this.tail.slice(end.from);
    if (found.length > 1) {
      text = this.tail;
      this.pieces = null;
    }
    const opened = end.fence && FENCE.exec(this.tail);
    if (opened && !closes(this.tail, opened)) {
      this.#openFence(opened);
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
    this.#drop();
    this.#append(render(block.tokens, this.env), true);
  }

  #drop() {
    for (const node of this.last) node.remove();
    this.last = [];
  }

  #append(fragment, isFinal) {
    const nodes = [...fragment.childNodes];
    const figures = isFinal ? fragment.querySelectorAll(".codeblock") : [];
    this.place.append(fragment);
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
    this.place.append(div);
    this.last = [div];
    this.pieces = new Pieces(div);
    this.pieces.add(text);
  }

  #openFence(opened) {
    this.#drop();
    const figure = codeFigure(opened[2].slice(0, 40));
    this.place.append(figure);
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
      this.#drop();
      for (const block of blocks(this.tail, this.env)) this.#append(render(block.tokens, this.env), true);
    }
    for (const figure of this.place.querySelectorAll(".codeblock:not([data-coloured])")) colour(figure);
    this.resolve?.();
    whenReady(() => this.repaint());
  }

  // All of it anew, as after KaTeX came.
  async repaint() {
    const { source } = this;
    const box = this.place.getBoundingClientRect();
    this.place.style.minHeight = `${box.height}px`;
    this.begin();
    this.add(source);
    await this.end();
    this.place.style.minHeight = "";
  }

  #moveCaret() {
    let place = this.place.lastElementChild ?? this.place;
    if (place === this.mark) place = this.mark.previousElementSibling ?? this.place;
    while (place.lastElementChild && place.lastElementChild !== this.mark && !place.matches("p, h2, h3, h4, h5, h6, code, .piece, .plain")) place = place.lastElementChild;
    if (place.matches("math, svg, button")) place = this.place;
    place.append(this.mark);
  }
}

function closes(tail, opened) {
  const end = new RegExp(`\\n {0,3}${opened[1][0]}{${opened[1].length},}[ \\t]*(\\n|$)`);
  return end.test(tail.slice(opened[0].length - 1));
}

// Plain text in blocks of a few KB, so that a browser lays out only the last one again.
class Pieces {
  constructor(place) {
    this.place = place;
    this.size = Infinity;
  }

  add(text) {
    for (let at = 0; at < text.length;) {
      if (this.size >= A_PIECE) this.#next();
      let end = Math.min(text.length, at + A_PIECE - this.size);
      const line = text.lastIndexOf("\n", end - 1);
      if (end < text.length && line >= at) end = line + 1;
      this.node.appendData(text.slice(at, end));
      this.size = end < text.length ? A_PIECE : this.size + end - at;
      if (this.size >= A_PIECE * 0.8 && text[end - 1] === "\n") this.size = A_PIECE;
      at = end;
    }
  }

  #next() {
    const span = document.createElement("span");
    span.className = "piece";
    this.node = document.createTextNode("");
    span.append(this.node);
    this.place.append(span);
    this.size = 0;
  }
}
