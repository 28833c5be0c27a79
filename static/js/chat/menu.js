// What the menu of a conversation does: rename, export, delete.
import { ask as confirm, close, open } from "../dialogs.js";
import { toast } from "../toasts.js";
import { plainly } from "./refusal.js";
import { words } from "./words.js";

const dialog = document.getElementById("chat-rename");
const form = document.getElementById("chat-rename-form");
let leaving = false;

export function start({ root, conversation, titled, deleted }) {
  const { store } = conversation;
  const opener = document.querySelector('[data-do="rename"]').closest("header").querySelector("[popovertarget]:not(.hist-btn)");
  const doing = {
    rename: () => {
      form.elements.title.value = store.chat.title;
      open(dialog, opener);
      form.elements.title.select();
    },
    "export-markdown": () => save(store, "markdown", "md"),
    "export-json": () => save(store, "json", "json"),
    delete: async () => {
      if (!(await confirm(words("deleteAsk"), words("deleteMore"), words("delete")))) return;
      leaving = true;
      const isGone = await attempt(() => store.remove());
      leaving = isGone;
      if (!isGone) return;
      deleted();
      location.assign(root.dataset.new);
    },
  };
  for (const [name, run] of Object.entries(doing)) document.querySelector(`[data-do="${name}"]`).addEventListener("click", run);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const title = form.elements.title.value.trim();
    if (!title) return;
    await attempt(async () => {
      await store.change({ title });
      close(dialog);
      titled(store.chat);
      toast(words("renamed"), "ok");
    });
  });
}

// Resolves to whether it was done; what was wrong is said.
async function attempt(work) {
  try {
    await work();
    return true;
  } catch (refusal) {
    toast(plainly(refusal), "bad");
    return false;
  }
}

function save(store, format, extension) {
  const link = document.createElement("a");
  if (store.isKept) link.href = store.exportAddress(format);
  else {
    const type = format === "json" ? "application/json" : "text/markdown";
    link.href = URL.createObjectURL(new Blob([store.exportFile(format)], { type }));
  }
  link.download = store.isKept ? "" : `chat.${extension}`;
  document.body.append(link);
  link.click();
  link.remove();
}

// Whether the page goes because its conversation was deleted here.
export const isLeaving = () => leaving;

export function enable(is = true) {
  for (const name of ["rename", "export-markdown", "export-json", "delete"]) document.querySelector(`[data-do="${name}"]`).disabled = !is;
}
