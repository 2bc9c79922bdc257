// The timer of a phone whose page is hidden, where the browser has no `Atomics.waitAsync`: browsers throttle the timers
// of a page, and not those of a worker.
let timer;

onmessage = ({ data: delay }) => {
  clearTimeout(timer);
  if (delay >= 0) timer = setTimeout(() => postMessage(null), delay);
};
