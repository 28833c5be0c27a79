// An engine's log, live: lines come in once a frame, the list is bounded, and it follows the end while
// the reader is there. Pause, search and level are here too; without this module they are forms.
import { row } from "./loglines.js";
import { LogSocket } from "./logsocket.js";

const MAX_ROWS = 2000;
const NEAR_PX = 40;
const HIDDEN_MS = 10000;

const log = document.getElementById("log");
const list = log.querySelector("ol");
const state = document.getElementById("log-state");
const pause = document.getElementById("log-pause");
const end = document.getElementById("log-end");
const empty = document.getElementById("log-empty");
const filter = document.querySelector("[data-filter]");
const choose = document.querySelector("[data-choose]");

let waiting = [];
let frame = 0;

function fits(each) {
  const level = filter.elements.level.value;
  if (level === "e" && !each.classList.contains("e")) return false;
  if (level === "w" && !each.className) return false;
  const words = filter.elements.q.value.trim().toLowerCase();
  return !words || each.lastElementChild.textContent.toLowerCase().includes(words);
}

const isAtEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_PX;
const toEnd = () => { log.scrollTop = log.scrollHeight; };

function paint() {
  frame = 0;
  const follows = isAtEnd();
  const made = document.createDocumentFragment();
  for (const line of waiting) {
    const each = row(line);
    each.hidden = !fits(each);
    made.append(each);
  }
  waiting = [];
  list.append(made);
  const over = list.children.length - MAX_ROWS;
  for (let i = 0; i < over; i += 1) list.firstElementChild.remove();
  empty.hidden = list.children.length > 0;
  if (follows) toEnd();
}

function take(lines, anew) {
  if (anew) {
    waiting = [];
    list.replaceChildren();
  }
  waiting.push(...lines);
  if (waiting.length > MAX_ROWS) waiting = waiting.slice(-MAX_ROWS); // no frame comes to a hidden tab
  frame ||= requestAnimationFrame(paint);
}

function tell(now) {
  const dot = state.querySelector(".dot");
  dot.className = `dot ${{ live: "", paused: "idle" }[now] ?? "warn"}`.trim();
  state.querySelector("[data-words]").textContent = state.dataset[now];
  pause.querySelector("[data-label]").textContent = now === "paused" ? state.dataset.resume : state.dataset.pause;
}

function start() {
  const socket = new LogSocket(log.dataset.socket, Number(log.dataset.after), { take, tell });
  pause.hidden = false;
  end.hidden = false;
  for (const each of document.querySelectorAll("[data-hide]")) each.hidden = true;
  pause.addEventListener("click", () => {
    if (socket.wanted) socket.stop();
    else socket.go();
  });
  end.addEventListener("click", toEnd);
  choose.elements.model.addEventListener("change", () => choose.requestSubmit());
  filter.addEventListener("submit", (event) => event.preventDefault());
  filter.addEventListener("input", () => {
    for (const each of list.children) each.hidden = !fits(each);
    toEnd();
  });
  let leaving = 0;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(leaving);
    if (document.hidden && socket.wanted) leaving = setTimeout(() => { socket.stop(); leaving = -1; }, HIDDEN_MS);
    else if (!document.hidden && leaving === -1) socket.go();
    if (!document.hidden) leaving = 0;
  });
  toEnd();
  socket.go();
}

start();
