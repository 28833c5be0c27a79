// Says whether the System page is live, and pauses it.
const controls = document.getElementById("live-controls");
const place = () => document.getElementById("live");
const button = controls.querySelector("[data-pause-button]");
let seen = place();
let isPaused = false;

function tell(now) {
  controls.querySelector(".dot").className = `dot ${{ live: "", paused: "idle" }[now] ?? "warn"}`.trim();
  const words = controls.querySelector("[data-state]");
  if (words.textContent !== controls.dataset[now]) words.textContent = controls.dataset[now];
}

button.hidden = false;
button.addEventListener("click", () => {
  isPaused = !isPaused;
  place().toggleAttribute("data-hold", isPaused);
  button.querySelector("[data-label]").textContent = isPaused ? controls.dataset.resume : controls.dataset.pause;
  tell(isPaused ? "paused" : "live");
});
document.addEventListener("polled", (event) => {
  if (event.detail !== "live" || isPaused) return;
  tell(place() === seen ? "reconnecting" : "live");
  seen = place();
});
tell("live");
