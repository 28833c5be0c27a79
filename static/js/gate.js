// For the pages before sign-in, and error pages.
import { start as busy } from "./busy.js";
import { start as copy } from "./copy.js";
import { start as drafts } from "./drafts.js";
import { start as invalid } from "./invalid.js";
import { start as toasts } from "./toasts.js";

for (const start of [toasts, copy, drafts, busy, invalid]) start();

const back = document.querySelector("[data-back]");
if (back && history.length > 1) {
  back.hidden = false;
  back.addEventListener("click", () => history.back());
}
