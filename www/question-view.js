/** What only the user can decide: a transfer that the other side asks for, and where to call who has moved. */

import { userOf } from './address.js';
import { byId, element, settle } from './dom.js';

export class QuestionView {
  #dialog = byId('question');
  #choices = byId('question-choices');
  #refuse = byId('question-refuse');
  #waiting = [];

  constructor() {
    this.#refuse.addEventListener('click', () => this.#decide((question) => question.refuse()));
    // Escape closes a dialog by itself, and would leave the other side without an answer.
    this.#dialog.addEventListener('cancel', (event) => {
      event.preventDefault();
      this.#decide((question) => question.refuse());
    });
  }

  /**
   * Asks, when what was asked before is decided.
   * @param question `{ call, kind, heading, detail, choices: [{ label, address, take() }], refusal, refuse() }`
   */
  ask(question) {
    this.#waiting.push(question);
    if (this.#waiting.length === 1) this.#show();
  }

  /** The call is over: there is nothing left to decide about it. */
  forget(call) {
    const shown = this.#waiting[0];
    this.#waiting = this.#waiting.filter((question) => question.call !== call);
    if (shown && shown !== this.#waiting[0]) this.#show();
  }

  #decide(act) {
    const question = this.#waiting.shift();
    this.#show();
    if (question) act(question);
  }

  #show() {
    const [question] = this.#waiting;
    if (!question) {
      this.#dialog.close();
      return;
    }
    byId('question-kind').textContent = question.kind;
    byId('question-heading').textContent = question.heading;
    byId('question-detail').textContent = question.detail;
    this.#choices.replaceChildren(...question.choices.map((choice) => {
      const button = element('button', { type: 'button', class: 'button primary' }, choice.label);
      button.addEventListener('click', () => this.#decide(() => choice.take()));
      return element('li', {}, button, element('span', { class: 'note' }, choice.address));
    }));
    this.#refuse.textContent = question.refusal;
    settle(this.#dialog);
    // Somebody who is typing must not decide with the Enter that was meant for the field.
    const typing = document.activeElement?.matches('input');
    if (!this.#dialog.open) this.#dialog.showModal();
    if (typing) this.#dialog.focus();
    else this.#refuse.focus();
  }
}

/** The question of a `transferRequest`. */
export function transferQuestion({ call, target, referredBy, accept, reject }, name) {
  return {
    call,
    kind: 'Transfer',
    heading: `Call ${userOf(target)} instead?`,
    detail: `${name} wants to hand you over.${referredBy ? ` Asked for by ${referredBy}.` : ''}`,
    choices: [{ label: `Call ${userOf(target)}`, address: target, take: accept }],
    refusal: 'Stay in this call',
    refuse: reject,
  };
}

/** The question of a `redirect`. */
export function redirectQuestion({ call, targets, follow, decline }, name) {
  return {
    call,
    kind: 'Moved',
    heading: `${name} is to be reached elsewhere`,
    detail: 'Where to call instead? Whoever answered for the address says so; it may be anybody, and may cost.',
    choices: targets.map((target, index) => ({ label: `Call ${userOf(target)}`, address: target, take: () => follow(index) })),
    refusal: 'Do not call',
    refuse: decline,
  };
}
