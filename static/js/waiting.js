// Looks every 30 seconds whether the account was let in; "Check now" looks at once.
import { busy } from "./busy.js";

const EVERY_MS = 30000;
const button = document.querySelector("[data-check]");

async function look() {
  const room = document.getElementById("room");
  try {
    const answer = await fetch(location.href);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const now = page.getElementById("room");
    if (now && now.dataset.state !== room.dataset.state) location.reload();
  } catch {
    // away for a moment: the next look is soon
  }
}

button.addEventListener("click", async (event) => {
  event.preventDefault();
  const done = busy(button);
  await look();
  setTimeout(done, 400);
});
setInterval(() => { if (!document.hidden) look(); }, EVERY_MS);
