// A pressed button says that it works, and cannot be pressed twice. Nothing shows below 150 ms.
const AFTER_MS = 150;
const GIVES_UP_MS = 10000;

export function busy(button) {
  if (!button || button.getAttribute("aria-busy") === "true") return () => {};
  const label = button.querySelector("[data-label]");
  const before = label?.textContent;
  const spin = document.createElement("span");
  spin.className = "spin";
  const timer = setTimeout(() => {
    button.setAttribute("aria-busy", "true");
    button.prepend(spin);
    if (label && button.dataset.busyLabel) label.textContent = button.dataset.busyLabel;
  }, AFTER_MS);
  return () => {
    clearTimeout(timer);
    button.removeAttribute("aria-busy");
    spin.remove();
    if (label) label.textContent = before;
  };
}

export function start() {
  const sent = new Map();
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method === "dialog" || isHtmx(form)) return;
    if (sent.has(form)) {
      event.preventDefault(); // a second click on what is under way
      return;
    }
    const done = busy(event.submitter);
    sent.set(form, done);
    setTimeout(() => { // a download leaves the page where it is
      done();
      sent.delete(form);
    }, GIVES_UP_MS);
  });
  addEventListener("pageshow", () => { // back from the next page
    for (const done of sent.values()) done();
    sent.clear();
  });
}

const isHtmx = (form) => ["hx-get", "hx-post", "hx-put", "hx-patch", "hx-delete"].some((name) => form.hasAttribute(name));
