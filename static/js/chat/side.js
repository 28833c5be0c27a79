// The list of conversations beside: searched, continued, and asked again when something changed.
import { ask } from "../requests.js";

const PAUSE_MS = 250;
const root = document.getElementById("chat");
const place = document.getElementById("chat-list");
const form = document.querySelector("[data-search-form]");
let asked = 0;

// In the reader's time zone, from the next page on.
function tellZone() {
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  if (timeZone) document.cookie = `tz=${timeZone}; path=/app/chat; max-age=31536000; samesite=lax`;
}

async function fetchList(address) {
  const response = await ask(address).catch(() => null);
  return response?.ok ? response.text() : null;
}

const nodes = (html) => [...new DOMParser().parseFromString(html, "text/html").body.childNodes];

// `at` is the conversation that is open.
export async function refresh(at) {
  asked += 1;
  const mine = asked;
  const query = new URLSearchParams({ q: form.elements.q.value.trim(), at: at ?? "" });
  const html = await fetchList(`${root.dataset.list}?${query}`);
  if (html === null || mine !== asked) return;
  const top = place.parentElement.scrollTop;
  place.replaceChildren(...nodes(html));
  place.parentElement.scrollTop = top;
}

async function more(link) {
  const html = await fetchList(link.href);
  if (html === null) return;
  const made = nodes(html);
  link.remove();
  for (const node of made) join(node);
  place.querySelector("a:last-of-type")?.focus({ preventScroll: true });
}

// A day that goes on over two pages has one heading.
function join(node) {
  const headings = [...place.querySelectorAll("h3")];
  const same = node.nodeName === "H3" && headings.at(-1)?.textContent === node.textContent;
  if (same) return;
  const lists = place.querySelectorAll("ul");
  const before = node.previousElementSibling;
  if (node.nodeName === "UL" && place.lastElementChild?.nodeName === "UL" && !before) lists[lists.length - 1].append(...node.children);
  else place.append(node);
}

export function retitle(id, title) {
  const link = place.querySelector(`[data-chat="${CSS.escape(id)}"] bdi`);
  if (link) link.textContent = title;
}

export function start(current) {
  tellZone();
  let timer = 0;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    refresh(current());
  });
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => refresh(current()), PAUSE_MS);
  });
  place.addEventListener("click", (event) => {
    const link = event.target.closest("[data-more]");
    if (!link) return;
    event.preventDefault();
    more(link);
  });
}
