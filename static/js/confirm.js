// `data-confirm="Question?"` on a button or form (with `data-confirm-text`, `data-confirm-action`), and
// htmx's `hx-confirm`, ask in a dialog of ours before anything is sent.
import { ask } from "./dialogs.js";

const agreed = new WeakSet();

export function start() {
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    const asked = event.submitter?.dataset.confirm ? event.submitter : form;
    if (!asked.dataset.confirm || agreed.has(form)) {
      agreed.delete(form);
      return;
    }
    event.preventDefault();
    event.stopImmediatePropagation();
    const submitter = event.submitter;
    const { confirm, confirmText, confirmAction } = asked.dataset;
    const action = confirmAction || submitter?.textContent.trim() || "";
    if (await ask(confirm, confirmText, action)) {
      agreed.add(form);
      form.requestSubmit(submitter);
    }
  }, true);
  document.addEventListener("htmx:confirm", async (event) => {
    const { ctx, issueRequest, dropRequest } = event.detail;
    if (!ctx.confirm) return;
    event.preventDefault();
    const { confirmText, confirmAction } = ctx.sourceElement.dataset;
    const action = confirmAction || ctx.sourceElement.textContent.trim();
    if (await ask(ctx.confirm, confirmText, action)) issueRequest();
    else dropRequest();
  });
}
