// One place for all that is painted: a few milliseconds of it per frame, what was asked last first.
const BUDGET_MS = 4;
const HIDDEN_MS = 200;
const jobs = new Set();
let isDue = false;

export function nextFrame(job) {
  jobs.delete(job);
  jobs.add(job);
  due();
}

function due() {
  if (isDue || jobs.size === 0) return;
  isDue = true;
  if (document.hidden) setTimeout(run, HIDDEN_MS); // frames stop there, answers do not
  else requestAnimationFrame(run);
}

// Who changes from seen to hidden in between would wait for its frame until it is seen again.
document.addEventListener("visibilitychange", () => {
  if (document.hidden && isDue) setTimeout(run, HIDDEN_MS);
});

function run() {
  isDue = false;
  const until = performance.now() + BUDGET_MS;
  const round = [...jobs].reverse();
  do {
    const job = round.shift();
    jobs.delete(job);
    job();
  } while (round.length && performance.now() < until);
  due();
}
