// After a form that failed, the first wrong field has the focus.
export function start() {
  document.querySelector("form [aria-invalid=true]")?.focus();
}
