// Menus are popovers and open by themselves; here are the arrow keys and the way back to the opener.
const rows = (menu) => [...menu.querySelectorAll("a, button:not(:disabled)")].filter((each) => each.checkVisibility());
const opener = (menu) => document.querySelector(`[popovertarget="${CSS.escape(menu.id)}"]`);

export function start() {
  document.addEventListener("toggle", (event) => {
    const menu = event.target;
    if (!menu.matches?.("[data-menu]")) return;
    if (event.newState === "open") rows(menu)[0]?.focus();
    else if (menu.contains(document.activeElement)) opener(menu)?.focus();
  }, true);
  document.addEventListener("click", (event) => {
    const menu = event.target.closest("[data-menu]");
    if (menu && event.target.closest("a, button")) menu.hidePopover();
  });
  document.addEventListener("keydown", (event) => {
    const button = event.target.closest("[popovertarget]");
    const owned = button && document.getElementById(button.getAttribute("popovertarget"));
    if (owned?.matches("[data-menu]") && event.key === "ArrowDown") {
      event.preventDefault();
      owned.showPopover();
      return;
    }
    const menu = event.target.closest("[data-menu]");
    if (menu) move(menu, event);
  });
}

function move(menu, event) {
  const all = rows(menu);
  const at = all.indexOf(document.activeElement);
  const wanted = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
  if (wanted === undefined) return;
  event.preventDefault();
  all[(wanted + all.length) % all.length]?.focus();
}
