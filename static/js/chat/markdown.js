// Markdown to nodes that can do no harm: no HTML in it, no pictures from elsewhere, DOMPurify last.
// Code blocks get their frame here, from a template of the page; colours come later (colour.js).
import { loadMarkdown } from "./libraries.js";
import { maths } from "./maths.js";
import { fill, part, words } from "./words.js";

const MAX_ADDRESS = 300;
const MATHS = ["math", "mrow", "mi", "mn", "mo", "ms", "mtext", "mspace", "mfrac", "msqrt", "mroot", "mstyle", "merror", "mpadded", "mphantom", "msub", "msup", "msubsup", "munder", "mover", "munderover", "mtable", "mtr", "mtd"];
const ATTRIBUTES = ["title", "align", "start", "class", "display", "mathvariant", "stretchy", "fence", "separator", "lspace", "rspace", "width", "height", "depth", "voffset", "scriptlevel", "displaystyle", "columnalign", "rowspacing", "columnspacing", "accent", "accentunder", "movablelimits", "largeop", "symmetric", "minsize", "maxsize", "linethickness", "mathcolor", "mathbackground", "mathsize"];
const RULES = {
  ALLOWED_TAGS: ["p", "br", "strong", "em", "s", "code", "pre", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "table", "thead", "tbody", "tr", "th", "td", "a", "hr", "span", ...MATHS],
  ALLOWED_ATTR: ["href", ...ATTRIBUTES],
  ADD_URI_SAFE_ATTR: ATTRIBUTES,
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};
const TEXT = new Set(["text", "text_special", "softbreak", "hardbreak"]);
let md = null;
let purify = null;

export async function prepare() {
  const loaded = await loadMarkdown();
  purify = loaded.purify;
  md = loaded.markdownit({ html: false, linkify: true, breaks: false, typographer: false });
  md.linkify.set({ fuzzyLink: false, fuzzyEmail: false });
  maths(md);
  own(md);
}

// Where markdown-it's own markup does not suit: headings below the page's, alignment without style, no pictures.
function own(made) {
  const { rules } = made.renderer;
  const plain = made.renderer.renderToken.bind(made.renderer);
  // below the page's own heading, and never more than one step deeper than the last
  const heading = (tokens, i, options, env) => {
    if (tokens[i].nesting === 1) env.level = Math.min(6, Number(tokens[i].tag[1]) + 1, (env.level ?? 1) + 1);
    tokens[i].tag = `h${env.level}`;
    return plain(tokens, i, options);
  };
  const cell = (tokens, i, options) => {
    const side = tokens[i].attrGet("style")?.replace("text-align:", "");
    tokens[i].attrs = side ? [["align", side]] : null;
    return plain(tokens, i, options);
  };
  rules.heading_open = rules.heading_close = heading;
  rules.th_open = rules.td_open = cell;
  rules.image = (tokens, i, options, env) => {
    const alt = made.renderer.renderInlineAsText(tokens[i].children ?? [], options, env);
    const address = shortened(tokens[i].attrGet("src") ?? "");
    return `<span class="away">[${made.utils.escapeHtml(`${words("imageAddress")}: ${alt ? `${alt}, ` : ""}${address}`)}]</span>`;
  };
}

const shortened = (address) => (address.length > MAX_ADDRESS ? `${address.slice(0, MAX_ADDRESS)}…` : address);

// The top-level blocks of a text: where each begins, and what `render` needs of it.
export function blocks(text, env) {
  const tokens = md.parse(text, env);
  const lines = lineStarts(text);
  const found = [];
  for (let i = 0; i < tokens.length; i += 1) {
    const first = i;
    for (let depth = tokens[i].nesting; depth > 0;) {
      i += 1;
      depth += tokens[i].nesting;
    }
    const [start] = tokens[first].map ?? [0];
    const own = tokens.slice(first, i + 1);
    found.push({ from: lines[start], fence: own[0].type === "fence", tokens: own, items: itemsOf(own, lines) });
  }
  return found;
}

// Of a list: its items, each as a list of its own, with where it begins. Null of anything else.
function itemsOf(tokens, lines) {
  const open = tokens[0];
  if (!open.type.endsWith("_list_open")) return null;
  const items = [];
  let first = 0;
  tokens.forEach((token, i) => {
    if (token.level !== 1) return;
    if (token.type === "list_item_open") first = i;
    else if (token.type === "list_item_close") items.push({ from: lines[tokens[first].map[0]], tokens: [open, ...tokens.slice(first, i + 1), tokens.at(-1)] });
  });
  return items;
}

function lineStarts(text) {
  const starts = [0];
  for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return starts;
}

export function render(tokens, env) {
  const fragment = purify.sanitize(md.renderer.render(tokens, md.options, env), RULES);
  decorate(fragment);
  return fragment;
}

// What a paragraph is made of: the markup of each stretch of text, emphasis, code, link, ... Those that are the
// same from one writing to the next need not be written again. Null of any other block.
export function partsOf(tokens, env) {
  if (tokens.length !== 3 || tokens[0].type !== "paragraph_open") return null;
  const parts = [];
  let some = [];
  const cut = () => {
    if (some.length) parts.push(md.renderer.renderInline(some, md.options, env));
    some = [];
  };
  let depth = 0;
  for (const token of tokens[1].children) {
    const isText = TEXT.has(token.type);
    if (depth === 0 && !(isText && some.length && TEXT.has(some.at(-1).type))) cut();
    some.push(token);
    depth += token.nesting;
  }
  cut();
  return parts;
}

// The nodes of each; null where they cannot be told apart.
export function renderParts(parts) {
  const fragment = purify.sanitize(parts.map((part) => `<span>${part}</span>`).join(""), RULES);
  decorate(fragment);
  const made = [...fragment.children].map((span) => [...span.childNodes]);
  return made.length === parts.length ? made : null;
}

function decorate(fragment) {
  for (const link of fragment.querySelectorAll("a")) {
    if (!link.hasAttribute("href")) {
      link.replaceWith(...link.childNodes);
      continue;
    }
    link.rel = "noreferrer noopener";
    link.target = "_blank";
    link.title = shortened(link.href);
  }
  for (const code of fragment.querySelectorAll("pre > code")) {
    const language = /language-([\w+#.-]{1,40})/.exec(code.className)?.[1] ?? "";
    const figure = codeFigure(language);
    figure.querySelector("code").textContent = code.textContent;
    code.parentElement.replaceWith(figure);
  }
  for (const table of fragment.querySelectorAll("table")) {
    const scroller = document.createElement("div");
    scroller.className = "scroller";
    scroller.tabIndex = 0;
    table.replaceWith(scroller);
    scroller.append(table);
  }
  for (const other of fragment.querySelectorAll("[class]")) {
    if (!other.closest(".codeblock") && !["away", "math", "scroller"].includes(other.className)) other.removeAttribute("class");
  }
}

export function codeFigure(language) {
  const figure = part("code");
  figure.dataset.language = language;
  figure.querySelector("span").textContent = language || words("plainCode");
  figure.querySelector("pre").setAttribute("aria-label", language ? fill("code", { language }) : words("plainCode"));
  return figure;
}
