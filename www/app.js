/** Puts the page together: the phone on one side, the views on the other. */

import { AccountClaim, accountName, chooseAccount, isElks, loadAccounts } from './account.js';
import { AccountView } from './account-view.js';
import { completeAddress } from './address.js';
import { CallView, duration, remoteName } from './call-view.js';
import { DialView } from './dial-view.js';
import { byId } from './dom.js';
import { ErrorView } from './error-view.js';
import { IncomingView } from './incoming-view.js';
import { NumbersView } from './numbers.js';
import { outcome } from './outcome.js';
import { MessagesView } from './messages-view.js';
import { OtherCallsView } from './other-calls-view.js';
import { PeopleView } from './people-view.js';
import { loadModule, Phone } from './phone.js';
import { QuestionView, redirectQuestion, transferQuestion } from './question-view.js';
import { SimulatorView } from './simulator-view.js';
import { StagesView } from './stages-view.js';
import { StatusView } from './status-view.js';
import { Tones } from './tones.js';
import { TraceView } from './trace-view.js';
import { TransferView } from './transfer-view.js';

const phone = new Phone();
const claim = new AccountClaim();
const audio = new AudioContext();
const tones = new Tones(audio);

const errorView = new ErrorView();
const statusView = new StatusView();
const traceView = new TraceView();
const dialView = new DialView(phone, { dial, key: (key) => tones.key(key) });
const callView = new CallView(audio, {
  hangup: () => phone.hangup(),
  toggleMute: () => {
    phone.toggleMute();
    announce(phone.current?.muted ? 'Microphone muted' : 'Microphone on');
  },
  toggleHold: () => phone.toggleHold(),
  addCall: () => phone.putAway(),
  sendTone: (key) => {
    tones.key(key);
    phone.sendTone(key);
  },
});
const transferView = new TransferView((target) => phone.transfer(completeAddress(target, phone.config)));
const otherCallsView = new OtherCallsView({
  switchTo: (call) => phone.switchTo(call),
  merge: () => phone.mergeAll(),
  transferTo: (call) => phone.connectBoth(call),
  hangup: (call) => call.hangup(),
});
const peopleView = new PeopleView({ call: dial, error: (error) => errorView.show(error) });
const messagesView = new MessagesView((to, text) => phone.sendMessage(completeAddress(to, phone.config), text));
const stagesView = new StagesView();
const questionView = new QuestionView();
const simulatorView = new SimulatorView();
const incomingView = new IncomingView({
  answer: () => {
    errorView.clear();
    phone.answer();
  },
  reject: () => phone.reject(),
});
const numbersView = new NumbersView((number) => {
  dialView.value = number;
  if (phone.connection === 'connected' && !phone.current) dial(number);
  else dialView.focus();
});

/** What is shown only here: read out by screen readers too. */
function announce(text) {
  byId('announcement').textContent = text;
}

function render() {
  const { config, connection, registration, server, current, ringing } = phone;
  statusView.show({ config, connection, registration });
  accountView.show({ config, connection, registration, server });
  const wasInCall = dialView.hidden;
  dialView.hidden = current !== null;
  dialView.ready = connection === 'connected' && current === null;
  // Before the call's own view, whose focus would not be taken behind an open dialog.
  incomingView.show(ringing, { busy: current !== null });
  callView.show(current, { sentOn: phone.sentOn(current) });
  transferView.show(current);
  otherCallsView.show(phone.others, { current, conference: phone.inConference });
  stagesView.show(current);
  simulatorView.watch(current !== null);
  if (wasInCall && !current && !ringing) dialView.focus();
  if (ringing && !current) tones.ring('incoming');
  else if (current?.direction === 'outgoing' && current.state === 'ringing') tones.ring('ringback');
  else tones.ring(null);
}

function dial(address) {
  errorView.clear();
  announce('');
  phone.dial(completeAddress(address, phone.config));
}

async function use(config) {
  errorView.clear();
  try {
    await Promise.all([claim.take(config), phone.use(config)]);
    numbersView.show(config, accounts, numbers);
    dialView.suggest(isElks(config) ? '+46700000001' : '600');
    simulatorView.show(isElks(config) ? config : null);
    const social = phone.connection === 'connected' && accounts.some((account) => !isElks(account) && account.uri === config.uri);
    messagesView.show(!isElks(config));
    peopleView.watch(social ? phone.strategy : null, config, accounts.filter((one) => !isElks(one) && one.uri !== config.uri).map(({ uri }) => uri));
  } catch (error) {
    errorView.show(error);
  }
  render();
}

phone.addEventListener('change', render);
phone.addEventListener('log', ({ detail }) => traceView.add(detail));
phone.addEventListener('error', ({ detail }) => errorView.show(detail.error));
phone.addEventListener('message', ({ detail }) => messagesView.received(detail));
phone.addEventListener('transfer', ({ detail: { state } }) => transferView.progress(state));
phone.addEventListener('transferRequest', ({ detail }) => questionView.ask(transferQuestion(detail, remoteName(detail.call))));
phone.addEventListener('redirect', ({ detail }) => questionView.ask(redirectQuestion(detail, remoteName(detail.call))));
phone.addEventListener('stage', ({ detail: { stage } }) => stagesView.reach(stage));
phone.addEventListener('ended', ({ detail: { call, reason } }) => {
  questionView.forget(call);
  const failure = outcome(call, reason);
  if (failure) errorView.show(failure);
  announce(failure ? '' : farewell(call, reason));
  simulatorView.refresh();
});

/** How a call ended, in a sentence. */
function farewell(call, reason) {
  const name = remoteName(call);
  if (call.startedAt !== null) return `Call with ${name} ended after ${duration(Date.now() - call.startedAt)}.`;
  if (call.direction === 'outgoing') return reason.code === 'cancelled' ? `Call to ${name} cancelled.` : '';
  if (reason.code === 'answered_elsewhere') return `The call from ${name} was answered elsewhere.`;
  return reason.by === 'local' ? `Call from ${name} rejected.` : `Missed call from ${name}.`;
}

// Digits typed anywhere but in a field dial, or are tones during a call.
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector('dialog[open]')) return;
  if (event.target.closest('input, textarea, select')) return;
  const taken = phone.current ? callView.type(event.key) : dialView.type(event.key);
  if (taken) event.preventDefault();
});
// A browser lets a page make sounds only after the user has touched it: with a finger, once it is lifted again.
for (const type of ['pointerup', 'click', 'keydown']) {
  document.addEventListener(type, () => audio.resume(), { once: true });
}

let accounts = [];
let numbers;
let accountView;
let unavailable = null;
try {
  ({ accounts, numbers } = await loadAccounts());
} catch (error) {
  unavailable = error;
}
accountView = new AccountView(accounts, {
  choose: use,
  connect: () => {
    errorView.clear();
    phone.connect();
  },
  disconnect: () => phone.disconnect(),
});
render();
try {
  await loadModule();
  if (unavailable) throw unavailable;
  const wanted = new URLSearchParams(location.search).get('account');
  const first = await chooseAccount(accounts, claim, wanted);
  accountView.select(first && accountName(first));
  if (first) await use(first);
} catch (error) {
  accountView.select();
  errorView.show(error);
  render();
}
