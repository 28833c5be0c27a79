// The chat page: joins its parts. What the page holds of the conversation stands in #chat-state; the texts of
// its messages in the articles that the server wrote.
import { text } from "../texts.js";
import { toast } from "../toasts.js";
import { Composer } from "./composer.js";
import { answeringWords, Conversation, finishedWords } from "./conversation.js";
import { End } from "./end.js";
import { again, Files, toSend } from "./files.js";
import * as menu from "./menu.js";
import { MemoryStore } from "./memory-store.js";
import * as notes from "./notes.js";
import { ServerStore } from "./server-store.js";
import { pick, Settings } from "./settings.js";
import * as side from "./side.js";
import { Thread } from "./thread.js";
import { clean } from "./clean.js";
import { fill, number, part, words } from "./words.js";

const root = document.getElementById("chat");
const state = JSON.parse(document.getElementById("chat-state").textContent);
const place = document.getElementById("thread");
const heading = document.querySelector("#chat-title bdi");
const status = document.getElementById("chat-status");
const stopButton = document.querySelector('[data-do="stop"]');
const sendButton = document.querySelector("[data-send]");

const isKept = state.history.on || state.chat !== null;
const store = isKept ? new ServerStore(state.chat) : new MemoryStore();
const end = new End(place, document.querySelector('[data-do="to-end"]'));
const thread = new Thread(place, end, state.words.broken);
const channel = "BroadcastChannel" in window ? new BroadcastChannel(`chat:${document.body.dataset.user}`) : null;
const currentId = () => (store.isKept ? store.id : null);
const model = () => composer.model?.value ?? "";
const tell = (kind, more = {}) => channel?.postMessage({ kind, chat: currentId(), ...more });

// --- what a conversation asks of the page -----------------------------------------------------------

const page = {
  model,
  busy(is) {
    if (!stopButton) return;
    stopButton.hidden = !is;
    sendButton.hidden = is;
  },
  said() {
    if (saying.edit) saying.edit.cancel(false);
    else composer.said(saying);
  },
  // It was not, after all: it is there to be said again.
  unsaid() {
    if (!composer.text.value) composer.write(saying.content);
  },
  begun(chat, answer) {
    notes.clear();
    composer.text.placeholder = words("next");
    status.textContent = answeringWords(answer.model || model());
    this.shown(chat);
    side.refresh(currentId());
    tell("changed");
  },
  ended(answer) {
    status.textContent = answer.status === "done" ? finishedWords(answer, thread.source(answer.id)) : "";
    notes.quota(model());
    tell("ended");
  },
  async refused(refusal) {
    if (refusal.reason === "quota_exceeded") {
      await notes.quota(model());
      if (notes.isReached()) {
        notes.clear();
        return; // which one, and until when, stands there
      }
    }
    const [what, more] = notes.isFor(refusal, state.words.refused, model());
    notes.say(what, more);
  },
  waits(refusal) {
    if (!refusal) {
      notes.clear();
      return;
    }
    const [what, more] = notes.isFor(refusal, state.words.refused, model());
    notes.say(what, more, "warn");
  },
  shown(chat) {
    if (!chat) return;
    settings.values = pick(chat);
    heading.textContent = clean(chat.title) || words("untitled");
    document.title = document.title.replace(/^.*(?= · )/, () => heading.textContent);
    if (store.isKept && !location.pathname.endsWith(chat.id)) at(chat.id);
    menu.enable();
  },
  // Deleted elsewhere. What is being written stays, for a new one.
  gone() {
    if (menu.isLeaving()) return;
    if (edited && !composer.text.value) composer.text.value = edited.text();
    edited?.cancel(false);
    store.chat = null;
    thread.show([], null);
    conversation.before = null;
    heading.textContent = words("untitled");
    menu.enable(false);
    at("");
    composer.write(composer.text.value);
    notes.say(words("deleted"), "", "warn");
    side.refresh(null);
  },
  changed: () => tell("changed"),
};
const conversation = new Conversation(store, thread, page);

// The address of what is shown; drafts go by it.
function at(id) {
  history.replaceState(null, "", id ? `${root.dataset.new}/${id}` : root.dataset.new);
  if (composer.form) composer.form.action = location.pathname;
}

// --- saying something -------------------------------------------------------------------------------

const files = new Files({
  place: document.getElementById("chat-files") ?? document.createElement("ul"),
  limits: state.limits,
  takesImages: () => ({ model: model(), images: state.models[model()]?.images ?? false }),
  complain: (text) => notes.say(text, "", "warn"),
});
const composer = new Composer({ send, editLast, files });
const settings = new Settings({ chat: state.chat, root, emptied: () => tell("emptied"), save: async (fields) => { if (store.id) await store.change(fields); } });

let saying = null; // {content, files, edit}: what goes out, and where it stands

function send() {
  const content = composer.text.value;
  if (conversation.isBusy || notes.isReached() || (!content.trim() && !files.list.length)) return;
  const last = thread.last;
  const parent = last?.role === "user" ? undefined : (last?.id ?? null); // under what is seen here
  say({ content, files: files.list, edit: null }, parent);
}

function say(what, parent) {
  if (conversation.isBusy) return;
  if (what.content.length > state.limits.textChars) {
    notes.say(fill("messageTooLong", { n: number(state.limits.textChars) }), "", "warn");
    return;
  }
  saying = what;
  const given = store.isKept ? toSend(what.files) : what.files;
  const body = { content: what.content, files: given, parent, model: model() };
  conversation.say(body, { model: model(), ...pick(settings.values) });
}

// --- editing what was said ---------------------------------------------------------------------------

let edited = null;

function edit(made) {
  if (conversation.isBusy) return;
  edited?.cancel(false);
  const { node, message } = made;
  const form = part("edit");
  const area = form.querySelector("textarea");
  const id = `edit-${message.id}`;
  area.id = id;
  form.querySelector("label").htmlFor = id;
  area.value = message.content;
  const [body, footer] = [node.querySelector(".grow"), node.querySelector("footer")];
  body.hidden = footer.hidden = true;
  node.append(form);
  const mine = {
    text: () => area.value,
    cancel(isFocused = true) {
      form.remove();
      body.hidden = footer.hidden = false;
      if (edited === mine) edited = null;
      if (!isFocused) return;
      composer.text.focus();
      lookAgain();
    },
  };
  edited = mine;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!area.value.trim() && !message.files?.length) return;
    try {
      const kept = await again(message.files ?? []);
      say({ content: area.value, files: kept, edit: mine }, message.parent);
    } catch (refusal) {
      page.refused(refusal);
    }
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      edited?.cancel();
    } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  form.querySelector('[data-do="edit-cancel"]').addEventListener("click", () => edited?.cancel());
  area.focus();
  area.setSelectionRange(area.value.length, area.value.length);
}

function editLast() {
  const made = thread.shown.findLast((each) => each.message.role === "user");
  if (made) edit(made);
  return Boolean(made);
}

// --- buttons of the thread -----------------------------------------------------------------------------

const doing = {
  copy: (id, button) => copy(thread.source(id), button),
  "copy-code": (id, button) => copy(button.closest("figure").querySelector("code").textContent, button),
  regenerate: (id) => conversation.regenerate(id, model()),
  continue: (id) => conversation.goOn(id),
  branch: async (id) => {
    await conversation.show({ leaf: id });
    composer.text.focus();
  },
  edit: (id) => edit(thread.find(id)),
  "older-version": (id, button) => version(id, -1, button),
  "newer-version": (id, button) => version(id, 1, button),
  older: () => conversation.older(),
};

async function version(id, step, button) {
  const { siblings } = thread.find(id).message;
  const wanted = siblings[siblings.indexOf(id) + step];
  const action = button.dataset.do;
  await conversation.show({ show: wanted });
  const shown = thread.find(wanted)?.node;
  (shown?.querySelector(`[data-do="${action}"]:not(:disabled)`) ?? shown?.querySelector(".versions button:not(:disabled)"))?.focus();
  thread.find(wanted)?.node.scrollIntoView({ block: "nearest" });
}

async function copy(source, button) {
  const label = button.querySelector("[data-label]");
  const before = button.dataset.before ?? label?.textContent ?? button.title;
  button.dataset.before = before; // of one that is pressed again meanwhile
  const show = (said) => {
    if (label) label.textContent = said;
    else button.title = said;
  };
  try {
    await navigator.clipboard.writeText(clean(source));
    show(words("copied"));
    status.textContent = words("copied");
  } catch {
    toast(text("copyFailed"), "bad");
  }
  setTimeout(() => show(before), 1600);
}

place.addEventListener("click", async (event) => {
  const chip = event.target.closest("[data-start]");
  if (chip) composer.fill(chip.dataset.start);
  const button = event.target.closest("[data-do]");
  const run = button && doing[button.dataset.do];
  if (!run) return;
  const id = button.closest("[data-id]")?.dataset.id;
  try {
    await run(id, button);
  } catch (refusal) {
    page.refused(refusal);
  }
});
document.getElementById("chat-note").addEventListener("click", (event) => {
  if (event.target.closest('[data-do="dismiss"]')) {
    notes.clear();
    composer.text?.focus();
  }
});

// --- keys, tabs, the model -------------------------------------------------------------------------------

const stop = () => conversation.stop().then(() => composer.text.focus());
stopButton?.addEventListener("click", stop);
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !conversation.isBusy || event.defaultPrevented) return;
  if (document.querySelector("dialog[open]") || document.querySelector(":popover-open:not(#hist)")) return;
  stop();
});
composer.model?.addEventListener("change", async () => {
  notes.clear();
  notes.quota(model());
  if (store.isKept && store.id) await store.change({ model: model() }).catch(() => {});
});
// What other tabs did: not while an answer comes here, or something is being edited.
const lookAgain = () => conversation.lookAgain(() => conversation.isBusy || edited !== null);
channel?.addEventListener("message", ({ data }) => {
  side.refresh(currentId());
  if (data.chat !== currentId() && data.kind !== "emptied") return;
  if (data.title && store.chat) page.shown(Object.assign(store.chat, { title: data.title }));
  lookAgain();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) lookAgain();
});

// --- the beginning ---------------------------------------------------------------------------------------

const written = new Map([...place.querySelectorAll("article[data-id]")].map((node) => [node.dataset.id, node.querySelector(".md").textContent]));
thread.show(state.messages.map((head) => ({ ...head, content: written.get(head.id) ?? "" })), state.before);
conversation.before = state.before;
conversation.pickUp();
side.start(currentId);
menu.start({ root, conversation, titled: (chat) => {
  page.shown(chat);
  side.retitle(chat.id, chat.title);
  tell("changed", { title: chat.title });
}, deleted: () => tell("changed") });
notes.settle(model());
composer.text?.dispatchEvent(new Event("input"));
place.addEventListener("scroll", () => {
  if (place.scrollTop < 200 && conversation.before) conversation.older().catch(() => {});
}, { passive: true });
