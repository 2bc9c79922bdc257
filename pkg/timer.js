// The timer of a phone whose page is hidden, in a worker: browsers throttle those of the page.
let timer;

onmessage = ({ data: delay }) => {
  clearTimeout(timer);
  if (delay >= 0) timer = setTimeout(() => postMessage(null), delay);
};
