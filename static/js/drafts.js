// What was typed into `<form data-draft="name">` survives a lost session or a closed page: kept in
// sessionStorage per user and page, until it was sent and the next page of that user came.
const PREFIX = "draft:";
const SENT = "sent:";
const user = document.body.dataset.user ?? "";
const LEFT_OUT = new Set(["password", "file", "hidden", "submit", "button"]);

const keyOf = (form) => `${PREFIX}${user}:${location.pathname}:${form.dataset.draft}`;
// `data-kept`: a hidden field that says what the text was typed over (accounts/meanwhile.py)
const isKept = (each) => "kept" in each.dataset || (!LEFT_OUT.has(each.type) && each.autocomplete !== "off");
const fields = (form) => [...form.elements].filter((each) => each.name && isKept(each));

export function keep(form) {
  const kept = fields(form).map((each) => {
    const isBox = each.type === "checkbox" || each.type === "radio";
    return [each.name, each.value, isBox ? each.checked : null];
  });
  try {
    sessionStorage.setItem(keyOf(form), JSON.stringify(kept));
  } catch {
    // full, or not allowed: then it is not kept
  }
}

export function forget(form) {
  sessionStorage.removeItem(keyOf(form));
  sessionStorage.removeItem(SENT + keyOf(form));
}

function restore(form) {
  const kept = JSON.parse(sessionStorage.getItem(keyOf(form)) ?? "[]");
  for (const [name, value, checked] of kept) {
    const found = fields(form).filter((each) => each.name === name);
    for (const each of found) {
      if (checked === null) each.value = value;
      else if (each.value === value) each.checked = checked;
    }
  }
  if (kept.length) form.dispatchEvent(new Event("input", { bubbles: true }));
}

function settle() {
  for (const mark of Object.keys(sessionStorage).filter((each) => each.startsWith(SENT))) {
    const key = mark.slice(SENT.length);
    sessionStorage.removeItem(mark);
    // without a user this is the sign-in page: it was not taken, so it stays
    if (user && key.startsWith(`${PREFIX}${user}:`)) sessionStorage.removeItem(key);
  }
}

export function start() {
  settle();
  if (!user) return;
  for (const form of document.querySelectorAll("form[data-draft]")) {
    if (!form.querySelector("[aria-invalid=true]")) restore(form);
  }
  document.addEventListener("input", (event) => {
    const form = event.target.closest("form[data-draft]");
    if (form) keep(form);
  });
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.matches("[data-draft]") && !event.defaultPrevented) sessionStorage.setItem(SENT + keyOf(form), "1");
  });
}
