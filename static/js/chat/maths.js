// Formulas: `$…$`, `$$…$$`, `\(…\)`, `\[…\]`, written as MathML. KaTeX comes with the first of them; until
// then, and where it fails, the formula stands there as it was written.
import { loadKatex } from "./libraries.js";

const MAX_CHARS = 4000;
const MAX_KEPT = 500;
const kept = new Map();
const waiting = new Set();
let katex = null;
let asked = false;

export function isReady() {
  return katex !== null;
}

// Calls `then` once when KaTeX has come, for what has formulas that were written without it. `knew`: it was
// there from the beginning, so what is left of formulas cannot be written.
export function whenReady(then, knew) {
  if (knew) return;
  if (katex) setTimeout(then); // once whoever waited for the end has taken the mark away
  else waiting.add(then);
}

function ask() {
  if (asked) return;
  asked = true;
  loadKatex().then((library) => {
    katex = library;
    for (const then of waiting) then();
    waiting.clear();
  }).catch(() => waiting.clear());
}

const escape = (text) => text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);

function render(source, display) {
  ask();
  if (!katex || source.length > MAX_CHARS) return `<code class="math">${escape(source)}</code>`;
  const key = `${display ? "D" : "I"}${source}`;
  if (!kept.has(key)) {
    if (kept.size >= MAX_KEPT) kept.clear();
    kept.set(key, made(source, display));
  }
  return kept.get(key);
}

function made(source, display) {
  try {
    const options = { output: "mathml", displayMode: display, throwOnError: true, strict: "ignore", trust: false, maxSize: 20, maxExpand: 200 };
    const html = katex.renderToString(source, options);
    return html.replace(/<annotation[\s\S]*?<\/annotation>/g, "");
  } catch {
    return `<code class="math">${escape(source)}</code>`;
  }
}

function closing(src, from, end) {
  for (let at = src.indexOf(end, from); at !== -1; at = src.indexOf(end, at + 1)) {
    let slashes = 0;
    while (src[at - 1 - slashes] === "\\") slashes += 1;
    if (slashes % 2 === 0 || end[0] === "\\") return at;
  }
  return -1;
}

function inline(state, silent) {
  const { src, pos } = state;
  const pair = [["$$", "$$", true], ["$", "$", false], ["\\(", "\\)", false], ["\\[", "\\]", true]].find(([begin]) => src.startsWith(begin, pos));
  if (!pair) return false;
  const [begin, end, display] = pair;
  const start = pos + begin.length;
  const at = closing(src, start, end);
  if (at <= start || at >= state.posMax || at - start > MAX_CHARS) return false;
  // `$5 and $10` is money: no space inside, no digit behind
  if (begin === "$" && (/\s/.test(src[start]) || /\s/.test(src[at - 1]) || /[0-9]/.test(src[at + 1] ?? ""))) return false;
  if (!silent) {
    const token = state.push("math", "", 0);
    token.content = src.slice(start, at).trim();
    token.meta = { display };
  }
  state.pos = at + end.length;
  return true;
}

function block(state, startLine, endLine, silent) {
  const start = state.bMarks[startLine] + state.tShift[startLine];
  const pair = [["$$", "$$"], ["\\[", "\\]"]].find(([begin]) => state.src.startsWith(begin, start));
  if (!pair || state.sCount[startLine] - state.blkIndent >= 4) return false;
  const [begin, end] = pair;
  for (let line = startLine; line < endLine; line += 1) {
    const from = line === startLine ? start + begin.length : state.bMarks[line];
    const at = closing(state.src.slice(0, state.eMarks[line]), from, end);
    if (at === -1) {
      if (line > startLine && state.isEmpty(line)) return false;
      continue;
    }
    if (state.src.slice(at + end.length, state.eMarks[line]).trim()) return false;
    if (silent) return true;
    const token = state.push("math", "", 0);
    token.block = true;
    token.content = state.src.slice(start + begin.length, at).trim();
    token.meta = { display: true };
    token.map = [startLine, line + 1];
    state.line = line + 1;
    return true;
  }
  return false;
}

export function maths(md) {
  md.inline.ruler.before("escape", "math", inline);
  md.block.ruler.before("fence", "math", block, { alt: ["paragraph", "list"] });
  md.renderer.rules.math = (tokens, i) => {
    const { content, meta, block: isBlock } = tokens[i];
    const html = render(content, meta.display);
    return isBlock ? `<p>${html}</p>\n` : html;
  };
}
